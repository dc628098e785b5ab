"""The judge of unique keys: a pure function from what the records and the submitters say to what was wrong.

Rule: a job has its key from the moment at which it was accepted until it ends; where it succeeded, at least
for as long as its submitter said. All times are Redis's own, but for those of submits, which lie around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.history import ROUNDING_S, What

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tests.chaos.history import Event, Window

__all__ = ["Hold", "rivals"]


@dataclass(frozen=True, slots=True)
class Hold:
    """One job's time with a key.

    Attributes:
        key: Which.
        since_s: When the job was accepted.
        until_s: When the key was free again, at the latest.
        again: Whether the job had another run later, in which it may have the key, but need not.
    """

    key: str
    since_s: float
    until_s: float
    again: bool = False


def rivals(
    keys: Mapping[str, str],
    holds: Mapping[str, Hold],
    events: Iterable[Event],
    failovers: Sequence[Window] = (),
) -> list[str]:
    """Where two jobs had one key at the same time, and where a submit was given a job that had not its key.

    Args:
        keys: The key that each job was submitted with.
        holds: When each job that was accepted had its key.
        events: All that was seen.
        failovers: What was answered within one of these windows may have been undone.
    """
    return [*_overlaps(holds), *_misled(keys, holds, events, failovers)]


def _overlaps(holds: Mapping[str, Hold]) -> Iterator[str]:
    last: dict[str, tuple[str, float]] = {}
    for job, hold in sorted(holds.items(), key=lambda each: each[1].since_s):
        before, until_s = last.get(hold.key, ("", 0.0))
        if hold.since_s < until_s:
            yield f"{before} and {job} had the key {hold.key} together for {until_s - hold.since_s:.3f} s"
        last[hold.key] = max((before, until_s), (job, hold.until_s), key=lambda each: each[1])


def _misled(
    keys: Mapping[str, str], holds: Mapping[str, Hold], events: Iterable[Event], failovers: Sequence[Window]
) -> Iterator[str]:
    asked_s: dict[str, float] = {}
    for event in sorted(events, key=lambda each: each.at_s):
        if event.what is What.SUBMITTED:
            asked_s[event.job] = event.at_s
        if event.what is not What.JOINED or any(each.holds(event) for each in failovers):
            continue
        hold, key = holds.get(event.detail), keys[event.job]
        if hold is None or hold.key != key:
            yield f"{event.job} was given {event.detail}, which never had the key {key}"
        elif hold.since_s > event.at_s + ROUNDING_S:
            yield f"{event.job} was given {event.detail} before that was accepted"
        elif hold.until_s < asked_s[event.job] - ROUNDING_S and not hold.again:
            yield f"{event.job} was given {event.detail}, whose time with the key {key} was over"
