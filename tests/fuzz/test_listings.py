"""Every reader of what operators see: looks at keys that anybody may have written, pages of jobs, orders."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.conftest import FUZZED
from tests.fuzz.hostile import VALUES, damaged, hashes, packed, texts
from tests.fuzz.test_readers import BATCH, ENTRY, ERROR, EVENT, FRAGMENT, NOW_MS, RECORD, STATES

from microbatch.common import scripts
from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.dead_letter import parse_letter
from microbatch.common.jobs.happenings import parse_error_head
from microbatch.common.jobs.status import parse_status
from microbatch.common.keys import QueueKeys
from microbatch.common.limits import BatchLimits, check_limit
from microbatch.common.orders import ORDERS, Answer, Order, check_order
from microbatch.common.schedules.status import parse_schedule
from microbatch.common.scripts import BriefRecord, Call, JobSight
from microbatch.common.seals import Seals
from microbatch.common.seals.jobs import payload_or_fault
from microbatch.common.seals.keyring import keyring
from microbatch.common.worker_facts import WorkerFacts, check_labels
from microbatch.console.job_place import Place
from microbatch.console.job_row import row_of_entry, row_of_letter, row_of_record, row_of_scheduled
from microbatch.console.survey import queue_row, worker_rows
from microbatch.producer.fragments import parse_fragments
from microbatch.producer.watching import parse_message

KEYS = QueueKeys("q")
KEY = "k:" + "QUFB" * 10 + "QUE="
NUMBERS = st.one_of(
    st.integers(-5, 10**20).map(lambda number: str(number).encode()),
    st.sampled_from([b"", b"9" * 5_000, b"inf", b"-inf", b"nan", b"1.5e+300", b"-1"]),
    st.binary(max_size=6),
)
WORDS = st.one_of(damaged(b"host:1:ab", BATCH, b"0190b"), NUMBERS)
SEALS = Seals(keyring(KEY), keyring(KEY))
SIGNED = SEALS.seal("job", "q", "x", FRAGMENT)


def read(call: Call[Any], reply: object) -> Any:
    """What the wrapper makes of a reply, as the connection has it."""
    return call.parse(reply)


def flat(fields: dict[bytes, bytes]) -> list[bytes]:
    return [part for pair in fields.items() for part in pair]


@FUZZED
@given(st.lists(NUMBERS, min_size=4, max_size=4), WORDS, WORDS, st.integers(-1, 10**15))
@example([b"", b"", b"", b""], b"9" * 5_000, b"", 0)
@example([b"a", b"b", b"", b""], b"", b"", 0)
def test_the_look_at_a_queue(sizes: list[bytes], paused: bytes, draining: bytes, oldest_ms: int) -> None:
    reply = [1, 2, 3, oldest_ms, 5, *sizes[:2], 7, 8, [b"dead"], paused, draining, *sizes[2:]]
    status = read(scripts.queue_status(KEYS, heartbeat_limit_ms=1), reply)
    assert status.max_batch_size is None or status.max_batch_size > 0
    assert queue_row("q", status, [], NOW_MS).waiting == 1


@FUZZED
@given(WORDS, NUMBERS, WORDS)
def test_the_look_at_a_fleet(worker: bytes, silent_ms: bytes, about: bytes) -> None:
    row = [worker, silent_ms, 1, 2, b"idle", about]
    found = read(scripts.fleet(KEYS), [b"%d" % NOW_MS, row])
    (shown,) = worker_rows([("q", found)], 10.0)
    assert shown.silent_s >= 0


@FUZZED
@given(hashes(*RECORD), st.sampled_from(STATES), st.lists(WORDS, min_size=6, max_size=6))
def test_the_look_at_a_job(fields: dict[bytes, bytes], state: str, held: list[bytes]) -> None:
    record = {b"state": state.encode()} | fields
    with contextlib.suppress(ProtocolError):
        parse_status("q/x", read(scripts.job_status(KEYS, "x"), [flat(record), *held]))
    read(scripts.job_log(KEYS, "x"), [*held[:2], b""])


@FUZZED
@given(WORDS, NUMBERS, hashes("timetable", "payload", "last_ms"), st.lists(NUMBERS, max_size=3))
def test_the_look_at_schedules(
    name: bytes, look_ms: bytes, fields: dict[bytes, bytes], waiting: list[bytes]
) -> None:
    found = read(scripts.schedules(KEYS), [b"%d" % NOW_MS, [name, look_ms, flat(fields), waiting]])
    for seals in (None, SEALS):
        parse_schedule("q", found.views[0], found.now_ms, seals)


@FUZZED
@given(hashes(*ENTRY), WORDS, WORDS, NUMBERS, damaged(ERROR))
def test_a_row_of_a_list(
    fields: dict[bytes, bytes], member: bytes, token: bytes, score: bytes, error: bytes
) -> None:
    sight = JobSight(
        fields,
        token=token.decode("utf-8", "backslashreplace"),
        member=member,
        score=score.decode("utf-8", "replace"),
        last_error=error,
    )
    row_of_entry("q", sight)
    row_of_scheduled("q", sight)
    parse_error_head(error)
    for seals in (None, SEALS):
        row_of_letter(parse_letter("q", scripts.RawLetter("1900000000000-0", fields), seals))


@FUZZED
@given(st.lists(WORDS, min_size=8, max_size=8), st.sampled_from(STATES), damaged(ERROR))
def test_a_row_of_a_record(words: list[bytes], state: str, error: bytes) -> None:
    record = BriefRecord(words[0], state.encode(), words[2], words[3], words[4], words[5], error, words[7])
    assert row_of_record("q", record) is not None
    row_of_record("q", BriefRecord(*words))


@FUZZED
@given(damaged(packed([1, 2]), b"%d:a%d:%b" % (1, len(EVENT), EVENT)), damaged(FRAGMENT, SIGNED))
def test_a_message_to_who_listens(message: bytes, fragments: bytes) -> None:
    parse_message("q", message)
    with contextlib.suppress(ProtocolError):
        parse_fragments(fragments, sealed=True)


@FUZZED
@given(damaged(SIGNED, SEALS.seal("job", "q", "y", FRAGMENT)), damaged(packed({"schedule": "s", "h": 1})))
def test_a_sealed_payload(data: bytes, headers: bytes) -> None:
    for seals in (None, SEALS, Seals(keyring(KEY), ()), Seals((), keyring(KEY), accept_unsealed=True)):
        payload, fault = payload_or_fault(seals, "q", "x", data, headers)
        assert payload is None or not fault
    if data != SIGNED:
        assert payload_or_fault(SEALS, "q", "x", data, b"")[1]


@FUZZED
@given(
    damaged(b"set max_batch_size=4\nme@host", b"resize concurrency=2\nme", b"log-level level=debug\nme"),
    damaged(packed({"status": "done", "value": {"a": 1}, "error": ""})),
    VALUES,
)
def test_an_order_and_its_answer(order: bytes, answer: bytes, value: Any) -> None:
    read_order = Order.read(b"id", order)
    with contextlib.suppress(ValueError):
        values = check_order(read_order.name, read_order.values)
        assert read_order.name in ORDERS
        assert all(isinstance(each, str) for each in values.values())
    assert Answer.read(answer).status in {"done", "refused", "failed"}
    assert Answer.read(packed({"status": "done", "value": value, "error": ""})).status in {"done", "failed"}


@FUZZED
@given(
    texts("a@b=1", "weight@k", "jobs_per_s", "max_batch_size"), texts("1", "nan", "1e999", "-0"), WORDS, WORDS
)
def test_limits_and_what_workers_say_of_themselves(name: str, value: str, one: bytes, other: bytes) -> None:
    with contextlib.suppress(ValueError):
        check_limit(name, value)
    BatchLimits.parse(one, other)
    WorkerFacts.parse(one)
    with contextlib.suppress(ValueError):
        check_labels(value)


@FUZZED
@given(texts("lane:main,main:5-0", "scheduled,5,YQ", "side,0,,3,4,a"), texts(KEY, f"{KEY},{KEY}"))
def test_a_place_and_a_ring_of_keys(place: str, ring: str) -> None:
    with contextlib.suppress(ValueError):
        assert str(Place.parse(str(Place.parse(place)))) == str(Place.parse(place))
    with contextlib.suppress(ValueError):
        assert all(len(key.secret) == 32 for key in keyring(ring))
