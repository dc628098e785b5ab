"""The typed side of `run_alone.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["run_alone"]


def run_alone(keys: QueueKeys, worker: str, batch: str) -> Call[bool]:
    """Say that nothing but this batch of one runs in this worker from now on; False: it lost the batch."""
    return Call(load("run_alone"), keys.prefix, (worker, batch), bool)
