"""Memory: nothing may be evicted, and there is room.

Rule: an evicted stream or record is a lost job, so any policy but `noeviction` is an error, whether or not
a limit is set today.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts, ServerFacts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_memory"]

CHECK: Final = "memory"
FULL: Final = 0.8
LISTPACK_BYTES: Final = 1024
MIB: Final = 1 << 20


def check_memory(facts: Facts) -> Iterator[Finding]:
    """Eviction policy, limit, fullness and encoding of each server."""
    for server in facts.servers:
        if server.info:
            yield from _policy(server)
            yield from _limit(server)
            yield from _encoding(server)


def _policy(server: ServerFacts) -> Iterator[Finding]:
    policy = server.info.get("maxmemory_policy", "")
    if policy == "noeviction":
        yield fine(CHECK, "maxmemory-policy is noeviction", subject=server.name)
    elif policy:
        yield error(
            CHECK,
            f"maxmemory-policy is {policy}: a full server deletes jobs and results",
            "CONFIG SET maxmemory-policy noeviction, and in redis.conf; keep caches on another server",
            subject=server.name,
        )
    else:
        yield warn(
            CHECK,
            "the server does not tell its maxmemory-policy",
            "see that it is noeviction",
            subject=server.name,
        )


def _limit(server: ServerFacts) -> Iterator[Finding]:
    used, limit = _bytes(server, "used_memory"), _bytes(server, "maxmemory")
    if limit == 0:
        yield warn(
            CHECK,
            f"maxmemory is not set ({used / MIB:,.0f} MiB are used): where the host has no more, Redis dies",
            "set maxmemory to about half of the host's or container's memory",
            subject=server.name,
        )
        return
    share = used / limit
    told = f"{share:.0%} of maxmemory ({limit / MIB:,.0f} MiB) is used"
    if share >= 1:
        yield error(
            CHECK,
            f"{told}: submits are refused",
            "raise maxmemory, add workers, or shorten result_ttl_s",
            subject=server.name,
        )
    elif share >= FULL:
        yield warn(
            CHECK,
            f"{told}: submits will soon be refused",
            "raise maxmemory, add workers, or shorten result_ttl_s",
            subject=server.name,
        )
    else:
        yield fine(CHECK, told, subject=server.name)


def _encoding(server: ServerFacts) -> Iterator[Finding]:
    # Older servers know the setting by its former name.
    text = server.config.get("hash-max-listpack-value") or server.config.get("hash-max-ziplist-value")
    if text is not None and int(text) < LISTPACK_BYTES:
        yield warn(
            CHECK,
            f"hash-max-listpack-value is {text}: a finished job takes more than twice the memory it could",
            f"CONFIG SET hash-max-listpack-value {LISTPACK_BYTES}, and in redis.conf",
            subject=server.name,
        )


def _bytes(server: ServerFacts, field: str) -> int:
    text = server.info.get(field, "")
    return int(text) if text.isdigit() else 0
