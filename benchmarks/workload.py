"""The jobs: what they carry, what their processor costs, what must come back, when they arrive.

Rule: every contender gets the same payloads and calls the same function, and every answer is checked. An
answer tells how many jobs shared its call, so that the mean batch size needs no channel of its own. It never
knows who is measured.
"""

from __future__ import annotations

import random
import threading
import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Answer",
    "Payload",
    "WrongResultError",
    "arrivals_s",
    "check",
    "ideal_jobs_per_s",
    "mean_batch_size",
    "payload",
    "process",
    "process_at_a_cost",
]

CALL_COST_S = 0.005
JOB_COST_S = 0.000_02
_SEED = 7

Payload = dict[str, Any]
Answer = list[int]
"""The job's number plus one, and how many jobs shared the call."""

_device = threading.Lock()


class WrongResultError(Exception):
    """A contender gave a job another result than its own."""


def payload(number: int) -> Payload:
    """The payload of a job: about 200 bytes as JSON, 170 as msgpack."""
    return {
        "id": number,
        "user": f"user-{number:08d}",
        "sent_at": 1_760_000_000.25 + number,
        "tags": ["alpha", "beta"],
        "text": "a short text to be embedded " * 4,
    }


def process(payloads: Sequence[Payload]) -> list[Answer]:
    """The processor: it costs next to nothing, so that what is measured is the system around it."""
    size = len(payloads)
    return [[each["id"] + 1, size] for each in payloads]


def process_at_a_cost(payloads: Sequence[Payload]) -> list[Answer]:
    """The same on a device that takes 5 ms per call plus 0.02 ms per job and serves one call at a time."""
    with _device:
        time.sleep(CALL_COST_S + JOB_COST_S * len(payloads))
    return process(payloads)


def ideal_jobs_per_s(batch_size: int) -> float:
    """What the device could do if every call were that large and followed the last one at once."""
    return batch_size / (CALL_COST_S + JOB_COST_S * batch_size)


def check(answers: Iterable[tuple[int, Any]]) -> None:
    """Look at every answer.

    Args:
        answers: Pairs of a job's number and what came back for it.

    Raises:
        WrongResultError: One of them is not that job's.
    """
    for number, answer in answers:
        if not isinstance(answer, list | tuple) or answer[0] != number + 1:
            raise WrongResultError(f"job {number} was answered {answer!r:.200}")


def mean_batch_size(answers: Sequence[Answer]) -> float:
    """Jobs per call: a call of n jobs is seen by n answers, each of which counts as 1/n of it."""
    return len(answers) / sum(1 / size for _, size in answers)


def arrivals_s(rate: float, seconds: float) -> list[float]:
    """When jobs arrive, from 0: a Poisson process, the same one in every run."""
    source = random.Random(_SEED)
    return list(accumulate(source.expovariate(rate) for _ in range(max(1, round(rate * seconds)))))
