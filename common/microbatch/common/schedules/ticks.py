"""Ticks: the moments at which a schedule is due, as pure functions of its rule.

Rule: a rule's ticks are one fixed, strictly ascending series in absolute time, whoever asks and from
wherever: that makes the id of each tick's job the same on every host. Where clocks are set forward a cron
rule at a fixed time that does not exist comes right after the gap; where they are set back it comes once. A
rule with a `*` hour goes by elapsed time through both. Intervals count from 1970-01-01T00:00Z.

Nothing here knows Redis, or what time it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CronRule", "IntervalRule", "TickRule", "moment", "rule_of", "tick_name"]

LEAST_INTERVAL_S = 1.0
MOST_INTERVAL_S = 366 * 86_400.0
_FIRST_SPAN_MS = 60_000
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = re.compile(r"[0-9A-Za-z*/,#-]+(?: [0-9A-Za-z*/,#-]+){4,5}\Z")


@dataclass(frozen=True, slots=True)
class IntervalRule:
    """Every `every_ms` milliseconds since 1970."""

    every_ms: int

    def after(self, moment_ms: int) -> Iterator[int]:
        """The ticks that come later than a moment, without end."""
        tick = moment_ms - moment_ms % self.every_ms
        while True:
            tick += self.every_ms
            yield tick

    def latest(self, after_ms: int, upto_ms: int, limit: int) -> tuple[list[int], bool]:
        """The last ticks of a span, ascending, at most `limit`; and whether there are more before them."""
        last = upto_ms - upto_ms % self.every_ms
        first = max(last - (limit - 1) * self.every_ms, next(self.after(after_ms)))
        found = list(range(first, last + 1, self.every_ms))
        return found, bool(found) and found[0] != next(self.after(after_ms))

    def __str__(self) -> str:
        return f"every {self.every_ms / 1000:g} s"


@dataclass(frozen=True, slots=True)
class CronRule:
    """A cron expression of five fields (or six, the first for seconds) in a time zone."""

    expression: str
    timezone: str

    def after(self, moment_ms: int) -> Iterator[int]:
        """The ticks that come later than a moment; ends where none comes within 50 years."""
        from cronsim import CronSim  # noqa: PLC0415 - an extra, and only cron expressions need it

        last = moment_ms
        # Whole seconds: what comes after them comes after the moment, or is it, and is passed over below.
        start = datetime.fromtimestamp(moment_ms // 1000, ZoneInfo(self.timezone))
        for tick in CronSim(self.expression, start):
            tick_ms = round(tick.timestamp()) * 1000
            if tick_ms > last:  # in a repeated hour the wall clock names a tick that is over
                last = tick_ms
                yield tick_ms

    def latest(self, after_ms: int, upto_ms: int, limit: int) -> tuple[list[int], bool]:
        """As `IntervalRule.latest`. Looks back in growing spans, so that a long outage costs no long walk."""
        span_ms = _FIRST_SPAN_MS
        while True:
            start_ms = max(after_ms, upto_ms - span_ms)
            found = list(takewhile(lambda tick: tick <= upto_ms, self.after(start_ms)))
            if len(found) > limit:
                return found[-limit:], True
            if start_ms == after_ms:
                return found, False
            if len(found) == limit:
                return found, next(self.after(after_ms)) < found[0]
            span_ms *= 4

    def __str__(self) -> str:
        return self.expression if self.timezone == "UTC" else f"{self.expression} ({self.timezone})"


TickRule = IntervalRule | CronRule


def rule_of(*, cron: str | None, every_s: float | None, timezone: str = "UTC") -> TickRule:
    """The rule that a caller describes.

    Raises:
        ValueError: It cannot be, or its packages are not installed; the sentence says what to do.
    """
    if (cron is None) == (every_s is None):
        raise ValueError("a schedule has either cron or every_s")
    if cron is not None:
        if not isinstance(cron, str) or not isinstance(timezone, str):  # before the cache, which hashes them
            raise ValueError("cron and timezone are text")
        return _checked_cron(cron, timezone)
    if timezone != "UTC":
        raise ValueError("an interval has no time zone: it counts seconds")
    assert every_s is not None  # noqa: S101 - one of the two is given
    if isinstance(every_s, bool) or not isinstance(every_s, int | float):
        raise ValueError(f"every_s is a number of seconds, not {every_s!r:.80}")  # noqa: TRY004 - as above
    if not LEAST_INTERVAL_S <= every_s <= MOST_INTERVAL_S:
        raise ValueError(f"every_s is {every_s!r}, and may be {LEAST_INTERVAL_S:g} to {MOST_INTERVAL_S:g} s")
    return IntervalRule(round(every_s * 1000))


@lru_cache(maxsize=256)
def _checked_cron(expression: str, timezone: str) -> CronRule:
    fields = " ".join(_NICKNAMES.get(expression.strip().lower(), expression).split())
    if not _FIELDS.match(fields):
        raise ValueError(
            f"{expression!r:.80} is no cron expression: five fields, such as '*/15 8-18 * * MON-FRI'"
        )
    try:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415 - an extra, as above
    except ImportError:
        raise ValueError(
            "cron expressions need the package cronsim: pip install 'microbatch[cron]'"
        ) from None
    try:
        zone = ZoneInfo(timezone)
    except Exception:  # noqa: BLE001 - KeyError, ValueError, OSError, by what the name looks like
        raise ValueError(
            f"no time zone {timezone!r:.80} here: it is a name such as Europe/Berlin; where the system has "
            "no zones, pip install tzdata"
        ) from None
    try:
        next(CronSim(fields, datetime(2000, 1, 1, tzinfo=zone)))
    except CronSimError as error:
        raise ValueError(f"{expression!r:.80} is no cron expression: {error}") from None
    except StopIteration:
        raise ValueError(f"{expression!r:.80} never comes true") from None
    return CronRule(fields, timezone)


def moment(tick_ms: int) -> datetime:
    """A tick as a datetime in UTC."""
    return datetime.fromtimestamp(tick_ms / 1000, UTC)


def tick_name(tick_ms: int) -> str:
    """A tick as part of a job id: `20260131T083000Z`, with milliseconds where it has some."""
    at = moment(tick_ms)
    millis = f".{tick_ms % 1000:03d}" if tick_ms % 1000 else ""
    return f"{at:%Y%m%dT%H%M%S}{millis}Z"
