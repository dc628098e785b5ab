"""The typed side of `schedule_advance.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys
    from microbatch.common.scripts.schedules import ScheduleView

__all__ = ["TickJob", "schedule_advance"]


class TickJob(NamedTuple):
    """The job of one tick. `expires_ms`: by when it must have been started; None: no deadline."""

    tick_ms: int
    local: str
    headers: bytes = b""
    expires_ms: int | None = None


def schedule_advance(
    keys: QueueKeys,
    seen: ScheduleView,
    *,
    put: Sequence[TickJob],
    take_back: Sequence[TickJob],
    last_ms: int,
    look_ms: int | None,
) -> Call[bool]:
    """Put and take back jobs for a schedule as it was seen; False: it is not as it was seen any more."""
    args: list[Arg] = [
        seen.name,
        seen.fields.get(b"revision", b""),
        seen.fields.get(b"last_ms", b""),
        last_ms,
        "" if look_ms is None else look_ms,
        len(take_back),
    ]
    for job in take_back:
        args += (job.tick_ms, job.local)
    for job in put:
        args += (job.tick_ms, job.local, job.headers, "" if job.expires_ms is None else job.expires_ms)
    return Call(load("schedule_advance"), keys.prefix, args, _parse)


def _parse(reply: Any) -> bool:
    return bool(reply == 1)
