"""Lists of jobs without a server: filters, places and sweeps, also under changes between two pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch.common.codec import encode, encode_error
from microbatch.common.jobs.states import FINAL_STATES, JobState
from microbatch.common.scripts import BriefRecord, JobSight
from microbatch.console.job_filter import DEAD, STATES, JobFilter
from microbatch.console.job_options import age
from microbatch.console.job_place import Place, Sweep, remaining
from microbatch.console.job_row import JobRow, row_of_entry, row_of_record, row_of_scheduled

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
JUNK = st.dictionaries(st.binary(max_size=20), st.binary(max_size=40), max_size=6)
NAMES = st.binary(min_size=1, max_size=12)
LANE = st.from_regex(r"(solo|front|main|(front|-?[0-9]{1,3})/[A-Za-z0-9_.:-]{0,20})", fullmatch=True)
ENTRY_ID = st.from_regex(r"[0-9]{1,15}-[0-9]{1,3}", fullmatch=True)


def row(**more: Any) -> JobRow:
    return replace(JobRow("q/a", JobState.QUEUED, enqueued_at=NOW - timedelta(seconds=60)), **more)


# --- filters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("wanted", STATES)
def test_a_state_fits_itself_alone(state: JobState, wanted: str) -> None:
    assert JobFilter({wanted}).fits(row(state=state), NOW_MS) == (state == wanted)


def test_a_dead_letter_is_dead_and_no_record_of_a_failed_job() -> None:
    letter = row(state=JobState.FAILED, letter_id="1-1")
    assert JobFilter({DEAD}).fits(letter, NOW_MS)
    assert not JobFilter({"failed"}).fits(letter, NOW_MS)


@pytest.mark.parametrize(
    ("bounds", "fits"),
    [
        ({"older_than_s": 59}, True),
        ({"older_than_s": 60}, False),
        ({"younger_than_s": 61}, True),
        ({"younger_than_s": 60}, False),
        ({"older_than_s": 59, "younger_than_s": 61}, True),
        ({"older_than_s": 61, "younger_than_s": 70}, False),
    ],
)
def test_the_age_of_a_job_is_since_it_was_accepted(bounds: dict[str, Any], fits: bool) -> None:  # noqa: FBT001
    assert JobFilter(**bounds).fits(row(), NOW_MS) is fits
    assert not JobFilter(**bounds).fits(row(enqueued_at=None), NOW_MS)


@pytest.mark.parametrize(
    ("condition", "value", "other"),
    [("batch_key", "k", "l"), ("worker", "w", "v"), ("kind", "sum", "mean"), ("priority", 0, 5)],
)
def test_every_condition_has_to_hold(condition: str, value: object, other: object) -> None:
    wanted = JobFilter(**{condition: value})  # type: ignore[arg-type]
    assert wanted.fits(row(**{condition: value}), NOW_MS)
    assert not wanted.fits(row(**{condition: other}), NOW_MS)
    assert not wanted.fits(row(), NOW_MS)
    assert not JobFilter({"running"}, **{condition: value}).fits(row(**{condition: value}), NOW_MS)  # type: ignore[arg-type]


def test_an_error_is_named_by_its_type() -> None:
    failed = row_of_scheduled("q", JobSight({}, member=b"a", score="5", last_error=encode_error("E", "no")))
    assert JobFilter(error="E").fits(replace(failed, enqueued_at=NOW), NOW_MS)
    assert not JobFilter(error="F").fits(failed, NOW_MS)
    assert not JobFilter(error="E").fits(row(), NOW_MS)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("condition", [{"batch_key": "k"}, {"priority": 1}, {"kind": "sum"}])
def test_what_the_records_of_finished_jobs_do_not_say_cannot_be_asked_of_them(
    state: JobState, condition: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="--state dead does"):
        JobFilter({state}, **condition)
    JobFilter({DEAD, "queued"}, **condition)


@pytest.mark.parametrize(
    ("states", "more", "reason"),
    [
        ({"sucess"}, {}, "no state 'sucess'"),
        (set(), {}, "needs a state"),
        ({"queued"}, {"batch_key": "a b"}, "key"),
    ],
)
def test_a_filter_that_can_be_none_is_refused(states: set[str], more: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        JobFilter(states, **more)


@given(
    states=st.sets(st.sampled_from(STATES), min_size=1),
    worker=st.none() | st.just("w"),
    error=st.none() | st.just("E"),
)
def test_whoever_fits_is_in_a_state_that_is_looked_at(
    states: set[str], worker: str | None, error: str | None
) -> None:
    wanted = JobFilter(states, worker=worker, error=error)
    looked_at = wanted.looks_at(*STATES)
    for state in JobState:
        running = {"worker": "w"} if state not in {JobState.QUEUED, JobState.SCHEDULED} else {}
        told = {JobState.FAILED, JobState.SCHEDULED}
        facts = row_of_scheduled(
            "q", JobSight({}, member=b"a", score="5", last_error=encode_error("E", "no"))
        )
        one = row(state=state, error=facts.error if state in told else None, **running)
        if wanted.fits(one, NOW_MS):
            assert state in looked_at
    assert looked_at <= states


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400), ("0", 0)]
)
def test_spans_of_time_have_units(text: str, seconds: float) -> None:
    assert age(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "soon", "1w", "1 h", "inf", "nan"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="is no time such as"):
        age(text)


# --- places -----------------------------------------------------------------------------------


@given(
    place=st.one_of(
        st.builds(Place, st.just("lanes"), st.builds("{}:{}".format, LANE, ENTRY_ID)),
        st.builds(
            lambda token, cursor, until: Place(
                "lanes", token, sweep=Sweep(cursor, until, token.rpartition(":")[0].encode())
            ),
            st.builds("{}:{}".format, LANE, ENTRY_ID),
            st.integers(0, 2**64 - 1).map(str),
            st.integers(0, 2**64 - 1).map(str),
        ),
        st.builds(Place, st.just("scheduled"), st.integers(0, 10**15).map(str), NAMES),
        st.builds(Place, st.just("dead"), ENTRY_ID),
        st.builds(
            lambda cursor, until, name: Place("records", sweep=Sweep(cursor, until, name)),
            st.integers(0, 2**64 - 1).map(str),
            st.integers(0, 2**64 - 1).map(str),
            NAMES,
        ),
        st.sampled_from([Place("lanes"), Place("scheduled"), Place("dead"), Place("records", sweep=Sweep())]),
    )
)
def test_a_place_survives_being_told(place: Place) -> None:
    told = str(place)
    assert Place.parse(told) == place
    assert told.isascii()
    assert not set(told) & set(" \"'`$&|;<>()*?[]{}!\\\n\x1b")


@given(text=st.text(max_size=60))
def test_text_that_is_no_place_is_refused_and_never_anything_worse(text: str) -> None:
    try:
        place = Place.parse(text)
    except ValueError:
        return
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    "text",
    ["", "lane", "lanes,5", "dead,(1-1", "scheduled,+inf", "lanes,,,1;2", "dead,1-1,,,,,x", "records,1-1"],
)
def test_these_are_no_places(text: str) -> None:
    with pytest.raises(ValueError, match="is no place"):
        Place.parse(text)


# --- sweeps: a table that is scanned as Redis does it, while it grows and shrinks ----------------


class Table:
    """A hash table whose scan has the cursors of Redis: buckets in the order of their reversed bits."""

    def __init__(self, bits: int, names: set[bytes]) -> None:
        self.bits = bits
        self.names = names

    def _bucket(self, name: bytes) -> int:
        return int.from_bytes(name[-2:], "big") & ((1 << self.bits) - 1)

    def _next(self, cursor: int) -> int:
        mask = (1 << self.bits) - 1
        turned = int(f"{(cursor | ~mask) & 0xFFFF:016b}"[::-1], 2) + 1
        return int(f"{turned & 0xFFFF:016b}"[::-1], 2)

    def scan(self, cursor: str, count: int) -> tuple[str, list[bytes]]:
        at, found = int(cursor), []
        while True:
            found += [name for name in self.names if self._bucket(name) == at & ((1 << self.bits) - 1)]
            at = self._next(at)
            if at == 0 or len(found) >= count:
                return str(at), found[::-1]


@settings(max_examples=40)
@given(
    data=st.data(),
    stays=st.sets(st.binary(min_size=2, max_size=2), max_size=60),
    comes_and_goes=st.sets(st.binary(min_size=2, max_size=2), max_size=60),
)
def test_a_sweep_that_is_cut_anywhere_misses_nobody_who_stays(
    data: st.DataObject, stays: set[bytes], comes_and_goes: set[bytes]
) -> None:
    table = Table(4, stays | comes_and_goes)
    sweep = Sweep()
    seen: set[bytes] = set()
    for _ in range(400):
        until, answer = table.scan(sweep.cursor, 5)
        names = remaining(answer, until, sweep)
        taken = names[: data.draw(st.integers(0, len(names)), label="taken")]
        seen |= set(taken)
        if len(taken) == len(names):
            if until == "0":
                break
            sweep = Sweep(until)
        elif taken:
            sweep = Sweep(sweep.cursor, until, taken[-1])
        table.bits = data.draw(st.sampled_from([4, 4, 4, 3, 5, 6]), label="bits")
        table.names = stays | {name for name in comes_and_goes if data.draw(st.booleans())}
    else:
        return  # it was never given a whole answer
    assert stays <= seen


def test_a_sweep_that_nothing_disturbs_tells_each_once() -> None:
    table = Table(3, {bytes([0, n]) for n in range(50)})
    sweep, seen = Sweep(), []
    while True:
        until, answer = table.scan(sweep.cursor, 5)
        names = remaining(answer, until, sweep)
        seen += names[:2]
        if len(names) > 2:
            sweep = Sweep(sweep.cursor, until, names[1])
        elif until == "0":
            break
        else:
            sweep = Sweep(until)
    assert len(seen) == len(set(seen)) == 50


# --- lines ------------------------------------------------------------------------------------


@given(fields=JUNK, raw=st.binary(max_size=40), score=st.text(max_size=20))
def test_a_line_of_anything_can_be_read(fields: dict[bytes, bytes], raw: bytes, score: str) -> None:
    headers = fields | {b"headers": raw, b"attempt": raw, b"enqueued_ms": raw, b"priority": raw}
    row_of_entry("q", JobSight(headers, 0, "", "main:1-1"))
    row_of_entry("q", JobSight(headers, token=score, worker="w", claimed_ms=10**18))
    row_of_scheduled("q", JobSight(headers, member=raw, score=score, last_error=raw))
    row_of_record("q", BriefRecord(raw, b"failed", raw, raw, raw, raw, raw, raw))
    assert row_of_record("q", BriefRecord(raw, b"queue" + raw + b"!", raw, raw, raw, raw, raw, raw)) is None


def test_a_line_says_what_its_entry_says() -> None:
    fields = {
        b"id": b"a",
        b"attempt": b"2",
        b"enqueued_ms": str(NOW_MS).encode(),
        b"priority": b"-5",
        b"batch_key": b"k",
        b"headers": encode({"kind": "sum"}),
    }
    sight = JobSight(fields, 17, "", "-5/k:7-0", "w", "b", 3, NOW_MS)
    told = row_of_entry("q", sight)
    assert (told.id, told.state, told.attempt) == ("q/a", JobState.RUNNING, 3)
    assert (told.enqueued_at, told.started_at) == (NOW, NOW)
    assert (told.worker, told.batch_id, told.batch_size, told.lane) == ("w", "b", 3, "-5/k")
    assert (told.priority, told.batch_key, told.kind, told.payload_bytes) == (-5, "k", "sum", 17)
    waiting = row_of_entry("q", replace(sight, worker="", claimed_ms=0))
    assert (waiting.state, waiting.attempt, waiting.started_at) == (JobState.QUEUED, 2, None)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [({b"id": b"a b"}, "no job"), ({b"id": b"a"}, ""), ({}, "no job")],
)
def test_an_entry_without_a_valid_id_has_a_fault(fields: dict[bytes, bytes], fault: str) -> None:
    told = row_of_entry("q", JobSight(fields, 0, "", "main:7-0"))
    assert fault in told.fault
    assert bool(told.fault) == (told.id is None)
