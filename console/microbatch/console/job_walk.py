"""A walk over the jobs of a queue, page by page, wherever they are kept.

Rule: it looks and changes nothing. A page costs at most `MOST_LOOKS` looks, each of a few calls that are
bounded on the server, so that a page may be short although more follows: then it says where that begins. What
stays where it is from the first page to the last is in one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from microbatch.common import scripts
from microbatch.common.jobs.dead_letter import parse_letter
from microbatch.common.jobs.states import FINAL_STATES, JobState
from microbatch.common.scripts import NOWHERE, ScheduledPlace
from microbatch.console.job_filter import DEAD
from microbatch.console.job_place import SIDE_LANE, Place, PlaceElsewhere, Sweep, remaining
from microbatch.console.job_row import row_of_entry, row_of_letter, row_of_record, row_of_scheduled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.connection import Connection
    from microbatch.common.keys import QueueKeys
    from microbatch.common.scripts import LaneJobs, Which
    from microbatch.console.job_filter import JobFilter
    from microbatch.console.job_place import Section
    from microbatch.console.job_row import JobRow

__all__ = ["JobPage", "JobWalk"]

MOST_LOOKS: Final = 64
LOOK: Final = 256
KEYS_A_SCAN: Final = 1_024
"""A scan passes over what is no record, so that it may take larger steps than what reads jobs."""
LANES_A_LOOK: Final = 64
_BASIC: Final = ("solo", "front", "main")
_STATES: Final[dict[Section, tuple[str, ...]]] = {
    "lanes": (JobState.QUEUED, JobState.RUNNING),
    "scheduled": (JobState.SCHEDULED,),
    "dead": (DEAD,),
    "records": tuple(sorted(FINAL_STATES)),
}


@dataclass(frozen=True, slots=True)
class JobPage:
    """A part of a list.

    Attributes:
        jobs: In the order of where they are kept: waiting and running jobs lane by lane, then the scheduled
            ones by their time, then dead letters, the newest first, then records in no order.
        after: Where the next page begins; None: this is the last one.
        now_ms: Redis's time.
    """

    jobs: list[JobRow]
    after: str | None
    now_ms: int


@dataclass(frozen=True, slots=True)
class _Look:
    """What one call told: jobs, each with the place behind it, and where the next look begins."""

    rows: list[tuple[Place, JobRow]]
    next: Place | None
    now_ms: int


class JobWalk:
    """A walk over one queue.

    Args:
        connection: Where it is.
        keys: Its keys.
        wanted: Which jobs are meant.
    """

    def __init__(self, connection: Connection, keys: QueueKeys, wanted: JobFilter) -> None:
        self._connection = connection
        self._keys = keys
        self._wanted = wanted
        self._sections: list[Section] = [name for name, states in _STATES.items() if wanted.looks_at(*states)]

    async def page(self, after: str | None, limit: int) -> JobPage:
        """The jobs behind `after` (None: from the beginning), at most `limit`.

        Raises:
            ValueError: `after` is no place; `PlaceElsewhere`: it is none in this list.
        """
        place = self._first() if after is None else Place.parse(after)
        if place is not None and place.section not in self._sections:
            raise PlaceElsewhere(f"{after!r} is a place in a list of other jobs")
        jobs: list[JobRow] = []
        now_ms = 0
        for _ in range(MOST_LOOKS):
            if place is None:
                break
            look = await self._look(place, LOOK if self._wanted.is_picky else min(LOOK, limit - len(jobs)))
            now_ms, place = look.now_ms or now_ms, look.next or self._first(behind=place.section)
            for number, (behind, row) in enumerate(look.rows, 1):
                if self._wanted.fits(row, look.now_ms):
                    jobs.append(row)
                if len(jobs) == limit:
                    place = place if number == len(look.rows) else behind
                    return JobPage(jobs, None if place is None else str(place), now_ms)
        return JobPage(jobs, None if place is None else str(place), now_ms)

    def _first(self, behind: Section | None = None) -> Place | None:
        """Where the first section, or the one that follows, begins."""
        left = self._sections if behind is None else self._sections[self._sections.index(behind) + 1 :]
        if not left:
            return None
        return Place(left[0], sweep=Sweep() if left[0] == "records" else None)

    async def _look(self, place: Place, count: int) -> _Look:
        if place.section == "lanes":
            return await self._look_into_lanes(place, count)
        if place.section == "scheduled":
            return await self._look_at_schedule(place, count)
        if place.section == "dead":
            return await self._look_at_letters(place, count)
        return await self._look_at_records(place)

    # --- waiting and running ----------------------------------------------------------------------

    async def _look_into_lanes(self, place: Place, count: int) -> _Look:
        if place.sweep is not None:
            return await self._sweep_lanes(place, place.sweep, count)
        names = await self._named_lanes()
        lane = place.at.rpartition(":")[0]
        told = await self._told(names[names.index(lane) if lane in names else 0 :], place.at, count)
        rows = [(Place("lanes", one.token), row_of_entry(self._keys.queue, one)) for one in told.jobs]
        follows = Place("lanes", told.after) if told.after else await self._side_lanes()
        return _Look(rows, follows, told.now_ms)

    async def _named_lanes(self) -> list[str]:
        """Lanes that can be named without a scan: those that every queue has, or all of one batch key."""
        key = self._wanted.batch_key
        if key is None:
            return list(_BASIC)
        ours = await self._is_zset(self._keys.ranks)
        found = await self._connection.execute("ZRANGE", self._keys.ranks, 0, -1) if ours else []
        ranks = {"front", "0", *(rank.decode("utf-8", "replace") for rank in found)}
        return ["solo", *sorted(f"{rank}/{key}" for rank in ranks)]

    async def _side_lanes(self) -> Place | None:
        """Where the side lanes begin, unless they were named, or their index is something else's."""
        if self._wanted.batch_key is not None:
            return None
        return Place("lanes", sweep=Sweep()) if await self._is_zset(self._keys.lanes) else None

    async def _is_zset(self, key: str) -> bool:
        return bool(await self._connection.execute("TYPE", key) == b"zset")

    async def _sweep_lanes(self, place: Place, sweep: Sweep, count: int) -> _Look:
        command = ("ZSCAN", self._keys.lanes, sweep.cursor, "COUNT", LANES_A_LOOK)
        cursor, found = await self._connection.execute(*command)
        until = cursor.decode()
        lanes = [lane for lane in remaining(found[::2], until, sweep) if SIDE_LANE.fullmatch(lane)]
        if place.at:
            lanes = [sweep.name, *(lane for lane in lanes if lane != sweep.name)]
        follows = None if until == "0" else Place("lanes", sweep=Sweep(until))
        if not lanes:
            return _Look([], follows, 0)
        told = await self._told(lanes, place.at, count)
        rows = [(_in(one.token, sweep, until), row_of_entry(self._keys.queue, one)) for one in told.jobs]
        return _Look(rows, _in(told.after, sweep, until) if told.after else follows, told.now_ms)

    async def _told(self, lanes: Sequence[str | bytes], after: str, count: int) -> LaneJobs:
        wanted = self._wanted.looks_at(*_STATES["lanes"])
        which: Which = "" if len(wanted) > 1 else "queued" if JobState.QUEUED in wanted else "running"
        call = scripts.lane_jobs(self._keys, lanes, which=which, after=after, count=count)
        return await self._connection.run(call)

    # --- the others -------------------------------------------------------------------------------

    async def _look_at_schedule(self, place: Place, count: int) -> _Look:
        after = ScheduledPlace(place.at, place.member)
        told = await self._connection.run(scripts.scheduled_jobs(self._keys, after=after, count=count))
        rows = [
            (Place("scheduled", one.score, one.member), row_of_scheduled(self._keys.queue, one))
            for one in told.jobs
        ]
        return _Look(rows, None if told.after == NOWHERE else Place("scheduled", *told.after), told.now_ms)

    async def _look_at_letters(self, place: Place, count: int) -> _Look:
        newest = f"({place.at}" if place.at else "+"
        page = await self._connection.run(scripts.dead_letters(self._keys, newest=newest, count=count))
        now_ms = await self._connection.run(scripts.redis_time(self._keys))
        rows = [
            (Place("dead", letter.letter_id), row_of_letter(parse_letter(self._keys.queue, letter)))
            for letter in page
        ]
        return _Look(rows, rows[-1][0] if rows else None, now_ms)

    async def _look_at_records(self, place: Place) -> _Look:
        sweep = place.sweep or Sweep()
        prefix = self._keys.job("")
        command = ("SCAN", sweep.cursor, "MATCH", f"{prefix}*", "COUNT", KEYS_A_SCAN)
        cursor, found = await self._connection.execute(*command, at=prefix)
        until = cursor.decode()
        names = remaining([key[len(prefix) :] for key in found], until, sweep)
        follows = None if until == "0" else Place("records", sweep=Sweep(until))
        rows: list[tuple[Place, JobRow]] = []
        now_ms = 0
        for start in range(0, len(names), LOOK):
            some = names[start : start + LOOK]
            told = await self._connection.run(scripts.job_records(self._keys, some, self._wanted.states))
            now_ms = told.now_ms
            rows += [
                (Place("records", sweep=replace(sweep, until=until, name=one.local)), row)
                for one in told.records
                if (row := row_of_record(self._keys.queue, one)) is not None
            ]
        return _Look(rows, follows, now_ms)


def _in(token: str, sweep: Sweep, until: str) -> Place:
    """The place behind an entry of a side lane."""
    return Place("lanes", token, sweep=Sweep(sweep.cursor, until, token.rpartition(":")[0].encode()))
