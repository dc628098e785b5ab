"""Ticks: one fixed series for each rule, through gaps and folds of wall clocks, whoever asks."""

from __future__ import annotations

import bisect
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.schedules.ticks import CronRule, IntervalRule, TickRule, rule_of, tick_name

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FROM_MS = round(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)
UPTO_MS = round(datetime(2037, 1, 1, tzinfo=UTC).timestamp() * 1000)

BERLIN_GAP = "2026-03-29T00:00+00:00"  # an hour before 02:00 becomes 03:00
BERLIN_FOLD = "2026-10-25T00:00+00:00"  # an hour before 03:00 becomes 02:00
CHANGES = [  # the second after which the wall clock differs, and where
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    ("America/Havana", datetime(2025, 3, 9, 5, tzinfo=UTC)),  # midnight does not exist
    ("America/Havana", datetime(2025, 11, 2, 5, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # a whole day does not exist
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),  # half an hour
]
FIXED = ["0 2 * * *", "30 2 * * *", "0,30 1-3 * * *", "15 0 * * *", "0 3 * * SUN", "45 2 29 * *"]
RUNNING = ["*/15 * * * *", "5 * * * *", "*/10 * * * * *", "*/20 2 * * *"]
whole_hours = [change for change in CHANGES if change[0] != "Australia/Lord_Howe"]


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def cron(expression: str, timezone: str = "UTC") -> TickRule:
    return rule_of(cron=expression, every_s=None, timezone=timezone)


def local(rule: TickRule, tick_ms: int) -> datetime:
    assert isinstance(rule, CronRule)
    return datetime.fromtimestamp(tick_ms / 1000, ZoneInfo(rule.timezone))


def between(rule: TickRule, after_ms: int, upto_ms: int) -> list[int]:
    return list(takewhile(lambda tick: tick <= upto_ms, rule.after(after_ms)))


def walls(rule: TickRule, after: str, hours: int) -> list[str]:
    found = between(rule, ms(after), ms(after) + hours * HOUR_MS)
    return [f"{local(rule, tick):%H:%M%z}" for tick in found]


rules = st.one_of(
    st.integers(1_000, 90_000_000).map(IntervalRule),
    st.builds(cron, st.sampled_from([*FIXED, *RUNNING]), st.sampled_from([zone for zone, _ in whole_hours])),
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["03:00+0200"]),  # it does not exist: right after the gap
        ("0,30 2 * * *", ["03:00+0200"]),  # two of them: once
        ("0 3 * * *", ["03:00+0200"]),
        ("30 * * * *", ["01:30+0100", "03:30+0200", "04:30+0200"]),
        (
            "*/30 * * * *",
            ["01:30+0100", "03:00+0200", "03:30+0200", "04:00+0200", "04:30+0200", "05:00+0200"],
        ),
    ],
)
def test_where_clocks_are_set_forward(expression: str, expected: list[str]) -> None:
    assert walls(cron(expression, "Europe/Berlin"), BERLIN_GAP, 3) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["02:30+0200"]),  # once, although the wall clock shows it twice
        ("30 * * * *", ["02:30+0200", "02:30+0100", "03:30+0100"]),
        ("0 3 * * *", ["03:00+0100"]),
    ],
)
def test_where_clocks_are_set_back(expression: str, expected: list[str]) -> None:
    assert walls(cron(expression, "Europe/Berlin"), BERLIN_FOLD, 3) == expected


@given(st.sampled_from(FIXED), st.sampled_from(CHANGES), st.integers(-3 * DAY_MS, 3 * DAY_MS))
def test_a_fixed_time_comes_once_a_day_at_that_time_or_right_after_a_gap(
    expression: str, change: tuple[str, datetime], offset_ms: int
) -> None:
    zone, at = change
    rule = cron(expression, zone)
    start = round(at.timestamp() * 1000) + offset_ms
    ticks = list(islice(rule.after(start), 12))
    minutes, hours = map(numbers, expression.split()[:2])
    by_wall = [local(rule, tick).replace(tzinfo=None) for tick in ticks]
    assert len(set(by_wall)) == len(by_wall)
    for tick, wall in zip(ticks, by_wall, strict=True):
        before = (local(rule, tick - 1000)).replace(tzinfo=None)
        right_after_a_gap = wall - before > timedelta(seconds=1)
        assert (wall.minute in minutes and wall.hour in hours) or right_after_a_gap


def numbers(field: str) -> set[int]:
    """What a simple field of an expression names."""
    found: set[int] = set()
    for part in field.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@given(rules, st.integers(FROM_MS, UPTO_MS), st.data())
def test_the_series_is_ascending_and_the_same_from_wherever_it_is_asked(
    rule: TickRule, start_ms: int, data: st.DataObject
) -> None:
    series = list(islice(rule.after(start_ms), 20))
    assert series == sorted(set(series))
    assert series[0] > start_ms
    moment = data.draw(st.integers(start_ms, series[-1] - 1))
    assert next(rule.after(moment)) == series[bisect.bisect_right(series, moment)]


@given(
    st.sampled_from([*FIXED, *RUNNING]), st.sampled_from(whole_hours), st.integers(0, 8 * HOUR_MS), st.data()
)
def test_the_series_is_the_same_around_a_change_of_clocks(
    expression: str, change: tuple[str, datetime], ahead_ms: int, data: st.DataObject
) -> None:
    zone, at = change
    rule = cron(expression, zone)
    start_ms = round(at.timestamp() * 1000) - ahead_ms
    series = list(islice(rule.after(start_ms), 12))
    moment = data.draw(st.integers(start_ms, series[-1] - 1))
    assert next(rule.after(moment)) == series[bisect.bisect_right(series, moment)]


@given(rules, st.integers(FROM_MS, UPTO_MS), st.integers(0, 3 * DAY_MS), st.integers(1, 7))
def test_the_latest_of_a_span_are_the_end_of_its_series(
    rule: TickRule, after_ms: int, span_ms: int, limit: int
) -> None:
    if rule == cron("*/10 * * * * *", getattr(rule, "timezone", "UTC")):
        span_ms //= 100  # the comparison walks through all of it
    whole = between(rule, after_ms, after_ms + span_ms)
    found, has_more = rule.latest(after_ms, after_ms + span_ms, limit)
    assert found == whole[-limit:]
    assert has_more is (len(whole) > limit)


def test_the_latest_after_a_year_of_every_second_is_found_at_once() -> None:
    found, has_more = cron("* * * * * *").latest(FROM_MS, FROM_MS + 365 * DAY_MS, 3)
    assert found == [FROM_MS + 365 * DAY_MS - back for back in (2000, 1000, 0)]
    assert has_more


def test_an_interval_counts_from_the_epoch() -> None:
    assert list(islice(IntervalRule(1500).after(3_100), 3)) == [4_500, 6_000, 7_500]
    assert next(IntervalRule(1500).after(3_000)) == 4_500


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"cron": None, "every_s": None}, "either cron or every_s"),
        ({"cron": "* * * * *", "every_s": 5}, "either cron or every_s"),
        ({"cron": "* * * *", "every_s": None}, "no cron expression"),
        ({"cron": "61 * * * *", "every_s": None}, "no cron expression"),
        ({"cron": "0 0 31 2 *", "every_s": None}, "no cron expression"),
        ({"cron": "0 0 30 2 *\n0 0 * * *", "every_s": None}, "no cron expression"),
        ({"cron": 7, "every_s": None}, "are text"),
        ({"cron": "@often", "every_s": None}, "no cron expression"),
        ({"cron": "0 0 * * *", "every_s": None, "timezone": "Mars/Olympus"}, "no time zone"),
        ({"cron": "0 0 * * *", "every_s": None, "timezone": "../../etc/passwd"}, "no time zone"),
        ({"cron": "0 0 * * *", "every_s": None, "timezone": ""}, "no time zone"),
        ({"cron": None, "every_s": 0.5}, "1 to"),
        ({"cron": None, "every_s": float("nan")}, "1 to"),
        ({"cron": None, "every_s": True}, "number of seconds"),
        ({"cron": None, "every_s": "5"}, "number of seconds"),
        ({"cron": None, "every_s": 5, "timezone": "Europe/Berlin"}, "no time zone"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_a_sentence(given_: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        rule_of(**given_)  # type: ignore[arg-type] # that is what is tested


def test_nicknames_and_names_are_understood() -> None:
    assert cron("@daily") == cron("0 0 * * *")
    assert [
        f"{local(cron('0 9 * * mon-FRI'), tick):%a}"
        for tick in islice(cron("0 9 * * MON-FRI").after(FROM_MS), 6)
    ] == [*("Mon", "Tue", "Wed", "Thu", "Fri", "Mon")]


def test_a_tick_has_a_name_that_an_id_can_have() -> None:
    assert tick_name(ms("2026-01-31T08:30:00+00:00")) == "20260131T083000Z"
    assert tick_name(1_500) == "19700101T000001.500Z"


def test_a_rule_reads_as_it_was_written() -> None:
    assert str(cron("0 3 * * *", "Europe/Berlin")) == "0 3 * * * (Europe/Berlin)"
    assert (str(cron("0 3 * * *")), str(IntervalRule(1500))) == ("0 3 * * *", "every 1.5 s")
