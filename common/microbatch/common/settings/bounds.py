"""What values a setting may have, by kind: the one place where a limit is written.

Rule: a process-wide setting and its override for one queue share the type, so that they cannot differ.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

__all__ = [
    "MIB",
    "Attempts",
    "BackoffS",
    "BatchError",
    "BatchSize",
    "BatchTimeoutS",
    "Batching",
    "Concurrency",
    "Cost",
    "Depth",
    "Executor",
    "ManyBatches",
    "ManyBytes",
    "ManyItems",
    "ManyKeys",
    "QueueLength",
    "RssBytes",
    "StarvationS",
    "TargetMs",
    "TtlS",
    "ValueBytes",
    "WaitMs",
]

MIB: Final = 1024 * 1024

BatchSize = Annotated[int, Field(ge=1, le=10_000)]
WaitMs = Annotated[float, Field(ge=0, le=3_600_000)]
Concurrency = Annotated[int, Field(ge=1, le=1_000)]
ValueBytes = Annotated[int, Field(ge=1, le=64 * MIB)]
TtlS = Annotated[float, Field(ge=0, le=315_360_000)]
QueueLength = Annotated[int, Field(ge=1, le=1_000_000_000)]
Attempts = Annotated[int, Field(ge=1, le=1_000)]
BackoffS = Annotated[float, Field(ge=0, le=86_400)]
BatchTimeoutS = Annotated[float, Field(ge=0.01, le=86_400)]
ManyBytes = Annotated[int, Field(ge=1, le=1024 * MIB)]
Cost = Annotated[int, Field(ge=1, le=1_000_000_000)]
Depth = Annotated[int, Field(ge=1, le=100)]
ManyItems = Annotated[int, Field(ge=1, le=64 * MIB)]
ManyKeys = Annotated[int, Field(ge=1, le=10_000_000)]
StarvationS = Annotated[float, Field(ge=0.1, le=86_400)]
TargetMs = Annotated[float, Field(ge=1, le=3_600_000)]
ManyBatches = Annotated[int, Field(ge=1, le=1_000_000_000)]
RssBytes = Annotated[int, Field(ge=MIB, le=1024 * 1024 * MIB)]

Batching = Literal["fixed", "adaptive"]
"""Whether sizes and waits are as set, or found out."""

BatchError = Literal["bisect", "fail", "retry"]
"""What becomes of a batch for which the processor raised."""

Executor = Literal["thread", "process"]
"""Where a processor runs: in the worker's process, or in child processes."""
