"""The typed side of `step_aside.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["step_aside"]


def step_aside(keys: QueueKeys, worker: str, *, leaving: bool) -> Call[int]:
    """This worker takes no work for now; if it leaves and holds nothing, it is forgotten.

    The reply is 0 where it holds no jobs.
    """
    return Call(load("step_aside"), keys.prefix, (worker, int(leaving)), int)
