"""The typed side of `schedule_change.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["ScheduleAction", "schedule_change"]

ScheduleAction = Literal["pause", "resume", "remove"]


def schedule_change(keys: QueueKeys, name: str, action: ScheduleAction) -> Call[bool]:
    """Pause, resume or remove a schedule; False: there is none of this name."""
    return Call(load("schedule_change"), keys.prefix, (name, action), _parse)


def _parse(reply: Any) -> bool:
    return bool(reply == 1)
