"""What is going to happen, and when: a pure function of the seed.

Rule: every choice is made here. Whoever carries a deed out may find that it is too late for it (its victim is
down already), but never chooses another one; so the same seed is the same schedule.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WORKERS", "Deed", "Faults", "schedule"]

WORKERS = 3
FIRST_S = 2.0  # the fleet is up by then
GAP_S = (0.1, 0.9)
FAILOVER_WEIGHT = 5
LIMIT_S = 2.0
"""The heartbeat limit of a chaos run."""

_SCRIPTS = ("claim", "settle", "heartbeat", "release", "takeover", "step_aside", "join", "schedule_advance")
_CLIENT_SCRIPTS = ("submit", "await_results", "cancel")
_OPERATOR_SCRIPTS = ("redrive", "purge", "purge_dead", "schedule_put", "schedule_change")
_WORKERS = tuple(f"worker-{number}" for number in range(WORKERS))
_CLIENTS = ("producer", "waiter", "operator")
_UNITS = (*_WORKERS, *_CLIENTS)


@dataclass(frozen=True, slots=True)
class Deed:
    """One fault: when it begins, what it is, whom it meets, how long it lasts."""

    at_s: float
    name: str
    target: str = ""
    lasts_s: float = 0.0
    detail: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        words = [f"{self.at_s:7.2f}", self.name, self.target, *map(str, self.detail)]
        if self.lasts_s:
            words.append(f"for {self.lasts_s:.2f} s")
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Faults:
    """Which kinds of faults a run may have; None: all that cannot lose data.

    Attributes:
        only: Names of deeds; empty for all.
        failover: Whether the primary may be lost for good: what was not replicated then is gone.
    """

    only: frozenset[str] = frozenset()
    failover: bool = False


_Choice = tuple[str, float, tuple[str | int, ...]]


def _worker(chance: random.Random) -> _Choice:
    return chance.choice(_WORKERS), 0.0, ()


def _freeze(chance: random.Random) -> _Choice:
    lasts_s = (
        chance.uniform(1.3, 2.2) * LIMIT_S if chance.random() < 0.7 else chance.uniform(0.1, 0.4) * LIMIT_S
    )
    return chance.choice(_WORKERS), lasts_s, ()


def _client(chance: random.Random) -> _Choice:
    return chance.choice(_CLIENTS), 0.0, ()


def _client_kill(chance: random.Random) -> _Choice:
    return "", 0.0, (chance.choice(("normal", "pubsub")),)


def _client_pause(chance: random.Random) -> _Choice:
    return "", chance.uniform(0.3, 2.5), (chance.choice(("ALL", "WRITE")),)


def _nothing(chance: random.Random) -> _Choice:
    return "", 0.0, ()


def _stall(chance: random.Random) -> _Choice:
    return (
        chance.choice(_UNITS),
        chance.uniform(0.3, 3.0),
        (chance.choice(("to_server", "to_client", "both")),),
    )


def _lasting_link(chance: random.Random) -> _Choice:
    return chance.choice(_UNITS), chance.uniform(0.3, 2.0), ()


def _link(chance: random.Random) -> _Choice:
    return chance.choice(_UNITS), 0.0, ()


def _cut(chance: random.Random) -> _Choice:
    return chance.choice(_UNITS), 0.0, (chance.randrange(4000), chance.choice(("to_server", "to_client")))


def _trap(chance: random.Random) -> _Choice:
    unit = chance.choice(_UNITS)
    scripts = _OPERATOR_SCRIPTS if unit == "operator" else _CLIENT_SCRIPTS
    script = chance.choice(_SCRIPTS if unit in _WORKERS else scripts)
    detail = (chance.choice(("reply", "reply", "request")), script, chance.randrange(1, 4))
    return unit, 0.0, (*detail, chance.choice(("reset", "reset", "silent")))


def _server_down(chance: random.Random) -> _Choice:
    return "", chance.choice((0.05, 0.5, 1.0, 1.5 * LIMIT_S)), ()


def _short_of_memory(chance: random.Random) -> _Choice:
    return "", chance.uniform(0.3, 2.0), ()


def _failover(chance: random.Random) -> _Choice:
    return "", chance.choice((0.0, 0.2, 1.0)), ()


_MENU: dict[str, tuple[int, Callable[[random.Random], _Choice]]] = {
    "kill": (10, _worker),
    "freeze": (7, _freeze),
    "term": (5, _worker),
    "term twice": (2, _worker),
    "kill client": (2, _client),
    "CLIENT KILL": (4, _client_kill),
    "CLIENT PAUSE": (3, _client_pause),
    "SCRIPT FLUSH": (3, _nothing),
    "stall": (6, _stall),
    "reset": (4, _link),
    "refuse": (3, _lasting_link),
    "half-open": (3, _link),
    "slow": (3, _lasting_link),
    "cut": (6, _cut),
    "lose": (14, _trap),
    "server kill": (2, _server_down),
    "memory": (2, _short_of_memory),
}


def schedule(seed: int, seconds: float, faults: Faults) -> list[Deed]:
    """The deeds of a run, in their order.

    Args:
        seed: Makes all choices.
        seconds: How long the run lasts; what lasts longer ends with it.
        faults: What is allowed.
    """
    chance = random.Random(seed)
    names = [name for name in _MENU if not faults.only or name in faults.only]
    weights = [_MENU[name][0] for name in names]
    if faults.failover:
        names.append("failover")
        weights.append(FAILOVER_WEIGHT)
    deeds, at_s = [], FIRST_S
    while at_s < seconds:
        name = chance.choices(names, weights)[0]
        target, lasts_s, detail = _MENU[name][1](chance) if name in _MENU else _failover(chance)
        deeds.append(Deed(at_s, name, target, lasts_s, detail))
        at_s += chance.uniform(*GAP_S)
    return deeds
