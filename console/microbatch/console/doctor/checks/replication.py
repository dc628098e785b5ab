"""Replication: is this the primary, and what would a failover cost?

Rule: no setting makes a failover lossless; what bounds the loss is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts, ServerFacts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_replication"]

CHECK: Final = "replication"
MOST_LAG_S: Final = 10


def check_replication(facts: Facts) -> Iterator[Finding]:
    """Role and replicas of each server."""
    for server in facts.servers:
        if server.info:
            yield from _check(server)


def _check(server: ServerFacts) -> Iterator[Finding]:
    info = server.info
    if info.get("role", "master") != "master":
        yield error(
            CHECK,
            f"this is a replica of {info.get('master_host')}:{info.get('master_port')}: it accepts no jobs",
            "let the URL name the primary, or the sentinels: redis+sentinel://host:port,host:port/service",
            subject=server.name,
        )
        return
    replicas = [_fields(value) for name, value in sorted(info.items()) if _is_replica(name)]
    if not replicas:
        yield fine(CHECK, "primary without replicas: its disk is the only copy", subject=server.name)
        return
    late = [each for each in replicas if each.get("state") != "online" or _lag_s(each) > MOST_LAG_S]
    for each in late:
        where = f"{each.get('ip')}:{each.get('port')}"
        yield warn(
            CHECK,
            f"replica {where} is {each.get('state')}, {_lag_s(each)} s behind: a failover to it loses jobs",
            "see its log and the network between",
            subject=server.name,
        )
    least = server.config.get("min-replicas-to-write")
    if least == "0":
        yield warn(
            CHECK,
            f"replicas: {len(replicas)}, min-replicas-to-write 0: a primary that is cut off goes on "
            "accepting jobs, which the failover loses",
            "CONFIG SET min-replicas-to-write 1 and min-replicas-max-lag 10, and in redis.conf",
            subject=server.name,
        )
    elif not late:
        told = f", min-replicas-to-write {least}" if least else ""
        yield fine(CHECK, f"primary, replicas: {len(replicas)}{told}", subject=server.name)


def _is_replica(field: str) -> bool:
    return field.startswith("slave") and field[5:].isdigit()


def _fields(value: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in value.split(",") if "=" in part)


def _lag_s(replica: dict[str, str]) -> int:
    text = replica.get("lag", "0")
    return int(text) if text.isdigit() else 0
