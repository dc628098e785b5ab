"""The jobs of a chaos run: what each asks its processor to do, and what has to become of it.

Rule: everything follows from the seed, the producer's generation and the job's number, so that a run can be
repeated and every process knows the same. Pure; the doing is in `work.py`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.chaos.history import Wanted
from tests.chaos.processors import digest

__all__ = [
    "GENTLE_VARIABLE",
    "HURRIED",
    "NOT_AGAIN",
    "OPERATED",
    "PLAIN",
    "QUEUES",
    "ROTA",
    "ROTA_EVERY_MS",
    "ROTA_NAME",
    "ROTA_QUEUE",
    "RUN_OFTEN",
    "TICK",
    "TICK_EVERY_MS",
    "TICK_NAME",
    "TICK_QUEUE",
    "Landed",
    "Task",
    "task",
    "wanted",
    "wanted_of_ticks",
]

QUEUES = ("mixed", "raising", "short", "forked", "plain")
"""One for each way to harm a batch: die, raise for all of it, answer too little, die in a child process; and
one whose jobs have no options and wait for no company: submits give them to idle workers themselves."""

PLAIN = "plain"

TICK_QUEUE, TICK_NAME, TICK_EVERY_MS = "mixed", "tick", 1000
TICK = {"n": "tick", "do": "good", "ms": 0}
"""What the recurring job carries."""

ROTA_QUEUE, ROTA_NAME, ROTA_EVERY_MS = "mixed", "rota", 1000
ROTA = {"n": "rota", "do": "good", "ms": 0}
"""The same for the schedule that operators declare."""

GENTLE_VARIABLE = "CHAOS_GENTLE"
"""Where it is set, nobody crashes, hangs or gets orders: a soak watches processes that live through it."""

OPERATED = "tenant-5"
"""The batch key of the jobs that an operator may cancel."""

HURRIED = ("mixed", "good")
"""The queue and the kind of the delayed jobs that an operator may have run at once: none of them fails."""

RUN_OFTEN = ("again", "flaky", "hopeless", "crash", "hang")
"""Kinds of which each job has several runs."""

NOT_AGAIN = ("crash", "hang")
"""Kinds that nobody gives another run: each run costs several workers."""

_KINDS = {
    # queue: kinds and how often they come
    "mixed": {
        "good": 900,
        "slow": 40,
        "fails": 60,
        "crash": 1,
        "again": 20,
        "flaky": 20,
        "hopeless": 10,
        "late": 15,
        "cancel": 25,
        "outage": 30,
    },
    "raising": {"good": 900, "poison": 100, "hang": 3},
    "short": {"good": 900, "short": 100, "hang": 8},
    "forked": {"good": 900, "fails": 50, "crash": 3, "hang": 2},
    PLAIN: {"good": 900, "fails": 50},
}
_OPTIONS: dict[str, dict[str, Any]] = {"flaky": {"max_attempts": 4}, "hopeless": {"max_attempts": 2}}
_PATIENT = {"max_attempts": 5}
"""For good jobs where calls may take too long: one that is frozen does, through no fault of theirs."""
_TIMED_QUEUES = {"raising", "short", "forked"}
DELAYED_SHARE = 0.05
LANE_SHARE = 0.3
LANE_KEYS = (None, None, *(f"tenant-{n}" for n in range(6)))
UNIQUE_SHARE = 0.06
UNIQUE_KINDS = {"good", "fails", "again", "flaky", "cancel"}
UNIQUE_KEYS = 3
_SHARES = {"mixed": 16, "raising": 2, "short": 2, "forked": 1, PLAIN: 3}


@dataclass(frozen=True, slots=True)
class Landed:
    """What the product can do by now: expectations grow with it.

    Attributes:
        bisect: A batch whose processor raised is run again in halves, so that only the culprits fail.
    """

    bisect: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """One job, before it is submitted.

    `options` are those of `submit`, but for `run_in_s`: its `run_at` is so long after the submit.
    """

    queue: str
    local: str
    payload: dict[str, Any]
    options: dict[str, Any]

    @property
    def job_id(self) -> str:
        return f"{self.queue}/{self.local}"


def task(seed: int, generation: int, number: int) -> Task:
    """The job with that number."""
    chance = random.Random(f"{seed} {generation} {number}")
    queue = chance.choices(QUEUES, [_SHARES[queue] for queue in QUEUES])[0]
    kind = chance.choices(list(_KINDS[queue]), list(_KINDS[queue].values()))[0]
    busy_ms = chance.randrange(200, 900) if kind == "slow" else chance.choice((0, 0, 0, 1, 5, 30))
    local = f"{generation}-{number}-{kind}"
    if queue == PLAIN:
        return Task(queue, local, {"n": f"{seed}-{local}", "do": kind, "ms": busy_ms}, {})
    options = dict(_OPTIONS.get(kind, {}))
    if kind == "late":
        options["expires_in_s"] = chance.uniform(0.001, 0.3)
    elif kind == "good":
        options |= _PATIENT if queue in _TIMED_QUEUES else {}
        if chance.random() < DELAYED_SHARE:
            options[chance.choice(("delay_s", "run_in_s"))] = chance.uniform(0.01, 3.0)
    if chance.random() < LANE_SHARE:
        options |= {"batch_key": chance.choice(LANE_KEYS), "priority": chance.choice((-5, 0, 0, 5))}
    if kind in UNIQUE_KINDS and chance.random() < UNIQUE_SHARE:
        options.pop("run_in_s", None)
        options |= {
            "unique_key": f"key {chance.randrange(UNIQUE_KEYS)}",
            "delay_s": chance.uniform(0.01, 0.5),
        }
        options["unique_for_s"] = chance.choice((None, None, 1.0))
    return Task(queue, local, {"n": f"{seed}-{local}", "do": kind, "ms": busy_ms}, options)


def wanted(one: Task, landed: Landed) -> Wanted:
    """What may become of it."""
    mates = {
        "mixed": {"succeeded"},
        "raising": {"succeeded"} if landed.bisect else {"succeeded", "failed:Poison"},
        "short": {"succeeded", "failed:ResultMismatch"},  # nobody can tell whose answer is missing
        "forked": {"succeeded"},
        PLAIN: {"succeeded"},
    }
    own = {
        "fails": {"failed:ValueError"},
        "crash": {"failed:WorkerLost"},
        "hang": {"failed:BatchTimeout", "failed:WorkerLost"},  # it is alone for long enough to be killed
        "poison": {"failed:Poison"},
        "short": {"failed:ResultMismatch"},
        "hopeless": {"failed:ValueError"},
        "outage": {"succeeded", "failed:ConnectionError"},
        "late": {"succeeded", "expired"},
        "cancel": {"succeeded", "cancelled"},
    }
    endings = frozenset(own.get(one.payload["do"], mates[one.queue]))
    if one.options.get("batch_key") == OPERATED:
        endings |= {"cancelled"}
    delay_s = one.options.get("delay_s") or one.options.get("run_in_s") or 0.0
    return Wanted(digest(one.payload), endings, delay_s)


def wanted_of_ticks(payload: dict[str, Any] = TICK) -> Wanted:
    """What has to become of each job of a schedule with that payload."""
    return Wanted(digest(payload))
