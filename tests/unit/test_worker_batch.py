"""Jobs and batches as a processor sees them, and how claimed entries become them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.kit import make_batch, make_entry

from microbatch.common.codec import encode
from microbatch.common.jobs.entry import parse_entry
from microbatch.worker import Retry
from microbatch.worker.assembly import assemble
from microbatch.worker.batch import Job

NOW_MS = 1_800_000_000_000


def test_a_batch_is_a_sequence_of_its_jobs_in_order() -> None:
    batch, _ = make_batch(["a", "b", "c"], ["x", "y", "z"])

    assert isinstance(batch, Sequence)
    assert len(batch) == 3
    assert [job.id for job in batch] == ["q/a", "q/b", "q/c"]
    assert batch[0].payload == "x"
    assert batch[-1].id == "q/c"
    assert [job.id for job in batch[1:]] == ["q/b", "q/c"]
    assert [job.id for job in reversed(batch)] == ["q/c", "q/b", "q/a"]
    assert batch[1] in batch
    assert batch.index(batch[1]) == 1
    assert batch.payloads == ["x", "y", "z"]
    assert (batch.id, batch.queue, batch.reason) == ("b1", "q", "size")
    with pytest.raises(IndexError):
        batch[3]


def test_changing_the_list_of_payloads_changes_no_job() -> None:
    batch, _ = make_batch(["a", "b"])

    batch.payloads.clear()

    assert batch.payloads == [0, 1]


def test_a_job_shows_what_its_entry_says_with_aware_times() -> None:
    entry = make_entry("a", attempt=2, crashes=1, enqueued_ms=1_700_000_000_123)
    job = Job("q", entry, "payload", {"trace": "1"})

    assert (job.id, job.queue, job.payload, job.headers) == ("q/a", "q", "payload", {"trace": "1"})
    assert job.attempt == 3
    assert job.enqueued_at == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
    assert job.enqueued_at.tzinfo is UTC
    assert (job.priority, job.batch_key, job.deadline) == (0, None, None)
    assert repr(job) == "<Job q/a attempt=3>"


def test_a_fresh_job_is_on_its_first_attempt_and_was_enqueued_when_its_entry_was_written() -> None:
    job = Job("q", make_entry("a"), None, {})

    assert job.attempt == 1
    assert job.enqueued_at.timestamp() == 1_700_000_000


def test_a_retry_carries_its_delay_and_says_something() -> None:
    assert Retry(delay_s=3).delay_s == 3
    assert Retry().delay_s is None
    assert str(Retry("quota")) == "quota"
    assert str(Retry())


# --- assembly -------------------------------------------------------------------------------


def test_good_entries_become_jobs_and_each_bad_one_is_set_aside_alone() -> None:
    bad_payload = make_entry("b")
    bad_payload.payload = b"\xc1"
    bad_headers = make_entry("c", headers=encode([1]))
    no_payload = parse_entry("main", b"5-0", [b"v", b"1", b"id", b"d"])
    hostile_id = make_entry("e}{")
    newer = make_entry("f")
    newer.newer = True
    claimed = [make_entry("a"), bad_payload, bad_headers, no_payload, hostile_id, newer, make_entry("g")]

    found = assemble("q", claimed, NOW_MS)

    assert [job.id for job in found.jobs] == ["q/a", "q/g"]
    assert [entry.local for entry in found.entries] == ["a", "g"]
    assert [entry.token for entry, _ in found.faulty] == [each.token for each in claimed[1:5]]
    assert {fault.error_type for _, fault in found.faulty} == {"PayloadError", "ProtocolError"}
    assert found.newer == 1


def test_payloads_that_are_nested_too_deep_are_set_aside_and_their_mates_stay_with_their_entries() -> None:
    def nested(levels: int) -> bytes:
        return b"\x91" * levels + b"\xc0"

    payloads = [nested(101), nested(100), b"\x01", nested(500), nested(101), b"\x80"]
    claimed = [make_entry(f"e{index}") for index in range(len(payloads))]
    for entry, payload in zip(claimed, payloads, strict=True):
        entry.payload = payload

    sorted_ = assemble("q", claimed, NOW_MS)

    assert [entry.local for entry in sorted_.entries] == ["e1", "e2", "e5"]
    assert [job.id for job in sorted_.jobs] == ["q/e1", "q/e2", "q/e5"]
    assert [entry.local for entry, _ in sorted_.faulty] == ["e0", "e3", "e4"]
    assert {fault.message for _, fault in sorted_.faulty} == {"a value that is nested deeper than 100 levels"}


def test_headers_reach_the_job_and_are_empty_without_any() -> None:
    found = assemble("q", [make_entry("a", headers=encode({"trace": "1"})), make_entry("b")], NOW_MS)

    assert [job.headers for job in found.jobs] == [{"trace": "1"}, {}]


@pytest.mark.parametrize("enqueued_ms", [NOW_MS + 1, 253_402_300_800_000, 10**17 - 1])
def test_an_entry_from_the_future_came_just_now(enqueued_ms: int) -> None:
    found = assemble("q", [make_entry("a", enqueued_ms=enqueued_ms), make_entry("b")], NOW_MS)

    assert [job.id for job in found.jobs] == ["q/a", "q/b"]
    assert found.jobs[0].enqueued_at == datetime.fromtimestamp(NOW_MS / 1000, UTC)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from([b"\xdd\xff\xff\xff\xff", b"\xd6\xff\xff\xff\xff\xff", b"\x91" * 2_000, b""]),
        ),
        max_size=12,
    ),
    st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=20)), max_size=6),
)
def test_whatever_bytes_are_claimed_every_entry_goes_exactly_one_way_and_nothing_raises(
    payloads: list[bytes], strange: list[tuple[bytes, bytes]]
) -> None:
    claimed = [
        parse_entry("main", b"1-%d" % i, [b"v", b"1", b"id", b"x", b"client", b"", b"payload", payload])
        for i, payload in enumerate(payloads)
    ]
    claimed.append(parse_entry("main", b"2-0", [part for pair in strange for part in pair]))

    found = assemble("q", claimed, NOW_MS)

    assert len(found.jobs) + len(found.faulty) + found.newer == len(claimed)
    for job, entry in zip(found.jobs, found.entries, strict=True):
        assert job.id == f"q/{entry.local}"
        assert job.enqueued_at.tzinfo is UTC
