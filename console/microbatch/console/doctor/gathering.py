"""Gathering the facts: the one place where the doctor asks.

Rule: every question is one that changes nothing. What is refused is noted with Redis's words and the rest
is asked all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from microbatch.common.keys import KNOWN_QUEUES, QueueKeys
from microbatch.common.scripts import redis_time
from microbatch.console.doctor.examiner import Refusal, pairs, text
from microbatch.console.doctor.facts import ClockFacts, Facts, ServerFacts
from microbatch.console.doctor.key_walk import walk_keys
from microbatch.console.doctor.queue_look import look_at_queue
from microbatch.console.doctor.rights import rights_of
from microbatch.console.doctor.roles import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microbatch.console.doctor.examiner import Examiner

__all__ = ["Scope", "gather"]

ANY_QUEUE: Final = "any"
CONFIG: Final = ("appendfsync", "save", "hash-max-listpack-value", "min-replicas-to-write")
CLOCK_LOOKS: Final = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """What the doctor is asked to look at.

    Attributes:
        queues: These queues; empty: all that are known.
        roles: The roles that the user has to be able to play.
        user: The user whose rights are judged; None: the doctor's own.
        heartbeat_limit_s: After which silence workers call each other dead.
        url: How the programs connect.
    """

    queues: Sequence[str]
    roles: Sequence[str]
    user: str | None
    heartbeat_limit_s: float
    url: str = ""


async def gather(examiner: Examiner, scope: Scope, *, wall_clock_s: Callable[[], float]) -> Facts:
    """Everything that there is to know.

    Args:
        examiner: Asks.
        scope: What about.
        wall_clock_s: This host's time, in seconds since 1970.

    Raises:
        ConnectionFailed: Redis stopped answering.
    """
    listed = await examiner.ask("SMEMBERS", KNOWN_QUEUES)
    names_refusal = listed.words if isinstance(listed, Refusal) else ""
    known = set() if isinstance(listed, Refusal) else {text(name) for name in listed}
    names = list(dict.fromkeys(scope.queues)) or sorted(known)
    servers: dict[str, tuple[str, ServerFacts]] = {}
    for name in names or (ANY_QUEUE,):
        run_id, server = await _look_at_server(examiner, QueueKeys(name), wall_clock_s)
        servers.setdefault(run_id, (QueueKeys(name).prefix, server))
    roles = [role for role in ROLES if role.name in scope.roles]
    return Facts(
        tuple(server if len(servers) > 1 else _nameless(server) for _, server in servers.values()),
        await rights_of(examiner, scope.user, roles, names, scope.url),
        tuple(role.name for role in roles),
        tuple(
            [
                await look_at_queue(
                    examiner,
                    name,
                    known=name in known or bool(names_refusal),
                    heartbeat_limit_s=scope.heartbeat_limit_s,
                )
                for name in names
            ]
        ),
        await walk_keys(examiner, [place for place, _ in servers.values()], known, names_refusal),
        scope.heartbeat_limit_s,
    )


def _nameless(server: ServerFacts) -> ServerFacts:
    """The only server needs no name."""
    return ServerFacts("", server.info, server.config, server.refusals, server.clock, server.script_refusal)


async def _look_at_server(
    examiner: Examiner, keys: QueueKeys, wall_clock_s: Callable[[], float]
) -> tuple[str, ServerFacts]:
    """The server that has a queue's keys, behind its run id."""
    refusals = {}
    reply = await examiner.ask("INFO", at=keys.prefix)
    info: dict[str, str] = {}
    if isinstance(reply, Refusal):
        refusals["INFO"] = reply.words
    else:
        info = dict(re.findall(r"^([^#\s:][^:\r\n]*):([^\r\n]*)", text(reply), re.MULTILINE))
    config: dict[str, str] = {}
    reply = await examiner.ask("CONFIG", "GET", *CONFIG, at=keys.prefix)
    if isinstance(reply, Refusal):
        refusals["CONFIG GET"] = reply.words
    else:
        config = {name: text(value) for name, value in pairs(reply).items()}
    compared = await _compare_clocks(examiner, keys, wall_clock_s)
    clock, words = (None, compared.words) if isinstance(compared, Refusal) else (compared, "")
    name = f"port {info.get('tcp_port', '?')}"
    return info.get("run_id", ""), ServerFacts(name, info, config, refusals, clock, words)


async def _compare_clocks(
    examiner: Examiner, keys: QueueKeys, wall_clock_s: Callable[[], float]
) -> ClockFacts | Refusal:
    best: ClockFacts | None = None
    for _ in range(CLOCK_LOOKS):  # the first may include the loading of the script
        before_s = wall_clock_s()
        redis_ms = await examiner.run(redis_time(keys))
        after_s = wall_clock_s()
        if isinstance(redis_ms, Refusal):
            return redis_ms
        uncertain_s = (after_s - before_s) / 2 + 0.0005  # Redis's answer is cut to milliseconds
        ahead_s = (redis_ms + 0.5) / 1000 - (before_s + after_s) / 2
        if best is None or uncertain_s < best.uncertain_s:
            best = ClockFacts(ahead_s, uncertain_s)
    assert best is not None  # noqa: S101 - there was one look at least
    return best
