"""The settings of lanes and of how batches form: their defaults, and what each means.

Rule: one value for each field of a settings class that has to do with these; `sides.py` says which class
has it, `bounds.py` which values it takes.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

__all__ = [
    "BATCHING",
    "MAX_BATCH_BYTES",
    "MAX_BATCH_COST",
    "MAX_BATCH_KEYS",
    "MAX_JOB_COST",
    "MAX_STARVATION_S",
    "TARGET_P95_MS",
]

MAX_BATCH_KEYS: Final[Any] = Field(
    default=100_000,
    description="Lanes (pairs of batch key and priority) that have jobs before `TooManyBatchKeys`. More "
    "costs Redis about 2 kB for each.",
)
MAX_JOB_COST: Final[Any] = Field(
    default=None,
    description="The highest `cost` of a job; a higher one is `JobTooCostly`. Unset: any, and what is above "
    "the budget of a batch rides alone.",
)
MAX_STARVATION_S: Final[Any] = Field(
    default=30.0,
    description="Jobs of a lower priority that have waited this long go as if they had the highest. Less "
    "bounds their wait, more keeps high priorities undisturbed.",
)
MAX_BATCH_BYTES: Final[Any] = Field(
    default=None,
    description="The most payload bytes per call of the processor; a larger job rides alone. Unset: about "
    "16 MiB.",
)
MAX_BATCH_COST: Final[Any] = Field(
    default=None,
    description="The most cost (`submit(cost=)`) per call of the processor, such as tokens; a larger job "
    "rides alone. Unset: no budget.",
)
BATCHING: Final[Any] = Field(
    default="fixed",
    description="`adaptive`: `max_batch_size` and `max_wait_ms` are limits, idle capacity never waits, and a "
    "wait has to pay.",
)
TARGET_P95_MS: Final[Any] = Field(
    default=None,
    description="With adaptive batching: batches stay small enough for it. Unset: no target.",
)
