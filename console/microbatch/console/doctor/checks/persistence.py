"""Persistence: is an accepted job still there when Redis comes back?

Rule: "never lost while Redis keeps its data" is worth what Redis keeps; docs/guarantees.md says which
setting gives what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts, ServerFacts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_persistence"]

CHECK: Final = "persistence"
TURN_ON: Final = "CONFIG SET appendonly yes, and in redis.conf"
FSYNCS: Final = {
    "always": "nothing that was accepted is lost when the host crashes",
    "everysec": "a crash of the host costs about one second of jobs",
}


def check_persistence(facts: Facts) -> Iterator[Finding]:
    """AOF and RDB of each server."""
    for server in facts.servers:
        if server.info:
            yield from _kept(server)
            yield from _failures(server)


def _kept(server: ServerFacts) -> Iterator[Finding]:
    fsync = server.config.get("appendfsync")
    if server.info.get("aof_enabled") != "1":
        save = server.config.get("save")
        if save:
            yield warn(
                CHECK,
                f"no append-only file, only snapshots (save {save}): a crash loses what came after the last",
                TURN_ON,
                subject=server.name,
            )
        elif save is None:
            yield warn(
                CHECK,
                "no append-only file; whether there are snapshots cannot be told: a crash loses jobs",
                TURN_ON,
                subject=server.name,
            )
        else:
            yield error(
                CHECK,
                "nothing is kept on disk: a restart of Redis loses every job",
                TURN_ON,
                subject=server.name,
            )
    elif fsync is None:
        yield warn(
            CHECK,
            "append-only file; the server does not tell its appendfsync",
            "see that it is everysec or always",
            subject=server.name,
        )
    elif fsync in FSYNCS:
        yield fine(CHECK, f"append-only file, appendfsync {fsync}: {FSYNCS[fsync]}", subject=server.name)
    else:
        yield warn(
            CHECK,
            f"append-only file, appendfsync {fsync}: a crash of the host loses what was not written yet",
            "CONFIG SET appendfsync everysec, and in redis.conf",
            subject=server.name,
        )


def _failures(server: ServerFacts) -> Iterator[Finding]:
    for field, what in (
        ("aof_last_write_status", "the last write of the append-only file failed: writes are refused"),
        ("aof_last_bgrewrite_status", "the last rewrite of the append-only file failed"),
        ("rdb_last_bgsave_status", "the last snapshot failed"),
    ):
        if server.info.get(field, "ok") != "ok":
            yield error(
                CHECK, what, "see Redis's log; most often the disk is full or slow", subject=server.name
            )
