"""The servers' kind and version: can it run our scripts, and is it known to be vulnerable?

Rule: the version says how old a server is and which holes it had when it was released; what it can do is
probed. A distribution may have closed a hole without a new version, so a hole is a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from microbatch.console.doctor.facts import Facts, ServerFacts
    from microbatch.console.doctor.finding import Finding

__all__ = ["HOLES", "Hole", "check_versions"]

CHECK: Final = "server"
LEAST: Final = {"Redis": (7, 0), "Valkey": (7, 2)}

Branch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Hole:
    """A vulnerability: what it allows, since which version, and by branch the patch that closed it.

    A branch later than all of these never had it; another one, from `since` on, was never mended.
    """

    cve: str
    allows: str
    since: tuple[int, int, int]
    closed: Mapping[str, Mapping[Branch, int]]

    def is_in(self, kind: str, version: tuple[int, int, int]) -> bool:
        """Whether that version had it when it was released."""
        closed = self.closed.get(kind)
        if closed is None or version < self.since:
            return False
        branch = version[:2]
        return version[2] < closed[branch] if branch in closed else branch < max(closed)


HOLES: Final = (
    Hole(
        "CVE-2022-35951",
        "code execution by XAUTOCLAIM",
        (7, 0, 0),
        {"Redis": {(7, 0): 5}},
    ),
    Hole(
        "CVE-2024-31449",
        "code execution by Lua scripts",
        (2, 6, 0),
        {"Redis": {(6, 2): 16, (7, 2): 6, (7, 4): 1}, "Valkey": {(7, 2): 7, (8, 0): 1}},
    ),
    Hole(
        "CVE-2024-46981",
        "code execution by Lua scripts",
        (2, 6, 0),
        {"Redis": {(6, 2): 17, (7, 2): 7, (7, 4): 2}, "Valkey": {(7, 2): 8, (8, 0): 2}},
    ),
    Hole(
        "CVE-2025-21605",
        "memory exhaustion without a password",
        (2, 6, 0),
        {"Redis": {(6, 2): 18, (7, 2): 8, (7, 4): 3}, "Valkey": {(7, 2): 9, (8, 0): 3, (8, 1): 1}},
    ),
    Hole(
        "CVE-2025-49844",  # fixed together with CVE-2025-46817, -46818 and -46819
        "code execution by Lua scripts",
        (2, 6, 0),
        {
            "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
            "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
        },
    ),
    Hole(
        "CVE-2026-23479",
        "code execution where blocked clients are evicted",
        (7, 2, 0),
        {
            "Redis": {(7, 4): 9, (8, 2): 6, (8, 4): 3, (8, 6): 3},
            "Valkey": {(7, 2): 13, (8, 0): 9, (8, 1): 7, (9, 0): 4},
        },
    ),
)


def check_versions(facts: Facts) -> Iterator[Finding]:
    """Kind, version and holes of each server."""
    for server in facts.servers:
        yield from _check(server)


def _check(server: ServerFacts) -> Iterator[Finding]:
    if "redis_version" not in server.info:
        yield warn(
            CHECK,
            f"reached, but it does not tell its version ({server.refusals.get('INFO', 'INFO is empty')})",
            "run the doctor as a user who may use INFO",
            subject=server.name,
        )
        return
    kind, text = _kind(server.info)
    version = _parsed(text)
    mode = server.info.get("redis_mode", "standalone")
    if kind not in LEAST:
        yield warn(
            CHECK,
            f"{kind} {text} is not among the servers that microbatch is tested with",
            "use Redis >= 7.0 or Valkey >= 7.2",
            subject=server.name,
        )
        return
    if version[:2] < LEAST[kind]:
        least = ".".join(map(str, LEAST[kind]))
        yield error(
            CHECK, f"{kind} {text} is too old", f"upgrade to {kind} {least} or later", subject=server.name
        )
        return
    yield fine(CHECK, f"{kind} {text}, {mode}", subject=server.name)
    holes = [hole for hole in HOLES if hole.is_in(kind, version)]
    if holes:
        told = "; ".join(
            f"{', '.join(hole.cve for hole in holes if hole.allows == allows)} ({allows})"
            for allows in dict.fromkeys(hole.allows for hole in holes)
        )
        yield warn(
            CHECK,
            f"{kind} {text} as it was released has {told}",
            f"upgrade to {_closed_by(kind, version, holes)} or later, or see that it was patched under this "
            "version, as distributions do",
            subject=server.name,
        )


def _kind(info: Mapping[str, str]) -> tuple[str, str]:
    # Valkey says `redis_version:7.2.4` whatever it is; its own version is another field.
    if "valkey_version" in info:
        return "Valkey", info["valkey_version"]
    for field, kind in (("dragonfly_version", "Dragonfly"), ("garnet_version", "Garnet")):
        if field in info:
            return kind, info[field].lstrip("v")
    name = info.get("server_name", "redis")
    return "Redis" if name == "redis" else name, info["redis_version"]


def _parsed(text: str) -> tuple[int, int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", text)[:3]] + [0, 0, 0]
    return numbers[0], numbers[1], numbers[2]


def _closed_by(kind: str, version: tuple[int, int, int], holes: list[Hole]) -> str:
    """The first version from here on that has none of them: of the same branch if there is one."""
    branches = {branch for hole in holes for branch in hole.closed[kind] if branch >= version[:2]}
    for branch in sorted(branches):
        patch = max(hole.closed[kind].get(branch, 0) for hole in HOLES if kind in hole.closed)
        if not any(hole.is_in(kind, (*branch, patch)) for hole in HOLES):
            return f"{kind} {branch[0]}.{branch[1]}.{patch}"
    return f"a later branch of {kind}"
