"""What an operator may limit a queue to: the names, and which values they take.

Rule: this table is all there is; it decides what may be written to the hash `limits`, and what of it is
heeded. Reading is total: what somebody broke there counts as not said.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["LIMITS", "NO_LIMITS", "BatchLimits", "Limit", "check_limit"]

_KEY: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: what it says, and its least and greatest value."""

    meaning: str
    least: float
    most: float
    whole: bool = False
    per_key: bool = False


_RATE: Final = 1e9
LIMITS: Final = {
    "max_batch_size": Limit("the most jobs per batch, whatever the workers declare", 1, 10_000, whole=True),
    "max_wait_ms": Limit("how long a job may wait for others, likewise", 0, 3_600_000),
    "max_queue_length": Limit("how many jobs it may hold, whatever producers say", 1, 1e9, whole=True),
    "jobs_per_s": Limit("how many jobs the fleet may start in a second", 0, _RATE, per_key=True),
    "batches_per_s": Limit("how many batches the fleet may start in a second", 0, _RATE, per_key=True),
    "cost_per_s": Limit("how much cost the fleet may start in a second", 0, _RATE, per_key=True),
    "burst_s": Limit("how many seconds' worth may start at once after a pause", 0, 86_400),
    "max_concurrent_batches": Limit("how many batches the fleet may run at a time", 1, 1e6, whole=True),
    "weight": Limit("a batch key's share among those that have work", 0.001, 1e6, per_key=True),
}
"""Each limit by its name. Those `per_key` may be said of one batch key, `name@KEY`, or of each, `name@*`."""


def check_limit(name: str, value: str) -> str:
    """The value as it is written, in plain digits.

    Args:
        name: A limit, or `limit@KEY`.
        value: A decimal number, or empty to take the limit away.

    Raises:
        ValueError: No such limit, or not a value for it; the sentence says what would be.
    """
    base, at, key = name.partition("@")
    limit = LIMITS.get(base)
    if limit is None:
        raise ValueError(f"no limit {base!r}; there are {', '.join(LIMITS)}")
    if at and not limit.per_key:
        raise ValueError(f"{base} is the queue's: it cannot be said of a batch key")
    if at and key != "*" and not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no batch key")
    if base == "weight" and not at:
        raise ValueError("weight is said of a batch key: weight@KEY=2")
    if not value:
        return ""
    number = _number(value)
    if number is None or not limit.least <= number <= limit.most or (limit.whole and number % 1):
        kind = "a whole number" if limit.whole else "a number"
        raise ValueError(f"{name}={value}: it takes {kind} from {limit.least:,g} to {limit.most:,.15g}")
    return f"{number:.6f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What an operator says about a queue's batches; None: what the worker declares holds."""

    max_batch_size: int | None = None
    max_wait_ms: float | None = None

    @classmethod
    def parse(cls, max_batch_size: bytes, max_wait_ms: bytes) -> BatchLimits:
        """Read the two fields; one that is empty or broken says nothing."""
        size, wait_ms = (
            _sound(name, raw.decode("utf-8", "replace"))
            for name, raw in (("max_batch_size", max_batch_size), ("max_wait_ms", max_wait_ms))
        )
        return cls(None if size is None else int(size), wait_ms)

    def applied(self, max_batch_size: int, max_wait_ms: float, *, capping: bool = False) -> tuple[int, float]:
        """What holds where a worker wants these: the limits instead, or (`capping`) at most those."""
        size = max_batch_size if self.max_batch_size is None else self.max_batch_size
        wait_ms = max_wait_ms if self.max_wait_ms is None else self.max_wait_ms
        return (min(size, max_batch_size), min(wait_ms, max_wait_ms)) if capping else (size, wait_ms)


def _sound(name: str, text: str) -> float | None:
    try:
        return float(check_limit(name, text)) if text else None
    except ValueError:
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


NO_LIMITS: Final = BatchLimits()
