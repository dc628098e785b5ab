"""The typed side of `schedule_put.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys
    from microbatch.common.schedules.schedule import Definition

__all__ = ["MOST_SCHEDULES", "PutAnswer", "schedule_put"]

MOST_SCHEDULES = 1_000
"""How many schedules one queue may have."""

PutAnswer = Literal["new", "same", "changed", "full"]


def schedule_put(
    keys: QueueKeys, name: str, definition: Definition, *, source: str, limit: int = MOST_SCHEDULES
) -> Call[PutAnswer]:
    """Declare a schedule; where it is known as it is, nothing changes."""
    return Call(load("schedule_put"), keys.prefix, (name, *definition, source, limit), _parse)


def _parse(reply: Any) -> PutAnswer:
    return cast("PutAnswer", reply.decode())
