"""The words of orders, answers and a worker's facts: what can be said, and what is made of garbage."""

from __future__ import annotations

import pytest

from microbatch.common.codec import encode
from microbatch.common.errors import SettingsError
from microbatch.common.orders import ORDERS, Answer, Order, check_order
from microbatch.common.settings import WorkerSettings
from microbatch.common.worker_facts import WorkerFacts

GARBAGE = [
    b"",
    b"\x00\xff",
    b"=" * 5_000,
    b"a=b\n" * 99,
    bytes(range(256)),
    b"version=\xff labels=,,, concurrency=-1",
]


@pytest.mark.parametrize(
    ("name", "values", "checked"),
    [
        ("quiet", {}, {}),
        ("resize", {"concurrency": "04"}, {"concurrency": "4"}),
        (
            "set",
            {"max_batch_size": "8", "max_wait_ms": "2.50"},
            {"max_batch_size": "8", "max_wait_ms": "2.5"},
        ),
        ("set", {"max_batch_size": ""}, {"max_batch_size": ""}),
        ("log-level", {"level": "DEBUG"}, {"level": "debug"}),
        ("log-level", {"level": "info", "logger": "a.b"}, {"level": "info", "logger": "a.b"}),
    ],
)
def test_an_order_that_makes_sense_is_said_in_one_way_and_read_back(
    name: str, values: dict[str, str], checked: dict[str, str]
) -> None:
    assert check_order(name, values) == checked
    order = Order("o1", name, checked, "me@here")
    assert Order.read(b"o1", order.text().encode()) == order


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("explode", {}),
        ("quiet", {"now": "1"}),
        ("resize", {}),
        ("resize", {"concurrency": "0"}),
        ("resize", {"concurrency": "1001"}),
        ("resize", {"concurrency": "2.5"}),
        ("resize", {"concurrency": "\u0664"}),
        ("set", {}),
        ("set", {"max_batch_size": "0"}),
        ("set", {"max_queue_length": "1"}),
        ("log-level", {}),
        ("log-level", {"level": "loud"}),
        ("log-level", {"level": "info", "logger": "a b"}),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_in_a_sentence(name: str, values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        check_order(name, values)


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_read_as_an_order_that_nobody_carries_out(text: bytes) -> None:
    order = Order.read(text, text)
    assert order.name not in ORDERS


def test_who_ordered_it_cannot_begin_another_line() -> None:
    assert Order("o1", "quiet", {}, "me\nstop\n" + "x" * 999).text().count("\n") == 1


@pytest.mark.parametrize("answer", [Answer("done", {"a": [1, {"b": 2.5}]}), Answer("refused", error="no")])
def test_an_answer_is_read_as_it_was_given(answer: Answer) -> None:
    assert Answer.read(answer.encoded()) == answer


@pytest.mark.parametrize(
    "data",
    [
        *GARBAGE,
        encode(1),
        encode({"status": "splendid", "value": {}, "error": ""}),
        encode({"status": "done"}),
    ],
)
def test_garbage_is_an_answer_that_failed(data: bytes) -> None:
    assert Answer.read(data).status == "failed"
    assert "cannot be read" in Answer.read(data).error


def test_facts_are_read_as_they_were_said() -> None:
    facts = WorkerFacts("1.2.3", "quiet", 4, ("gpu", "zone/eu-1"))
    assert WorkerFacts.parse(facts.text().encode()) == facts
    assert WorkerFacts.parse(WorkerFacts().text().encode()) == WorkerFacts()


@pytest.mark.parametrize("raw", GARBAGE)
def test_of_garbage_no_facts_are_read(raw: bytes) -> None:
    assert WorkerFacts.parse(raw) == WorkerFacts()


def test_labels_come_from_code_and_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WorkerSettings().labels == ()
    assert WorkerSettings(labels=("gpu", "eu", "gpu")).labels == ("gpu", "eu")
    monkeypatch.setenv("MICROBATCH_LABELS", "gpu, eu-1")
    assert WorkerSettings().labels == ("gpu", "eu-1")


@pytest.mark.parametrize("labels", ["a b", "é", "x" * 65, ",".join(map(str, range(17)))])
def test_a_label_that_cannot_be_used_is_a_settings_error(
    labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROBATCH_LABELS", labels)
    with pytest.raises(SettingsError, match="label"):
        WorkerSettings()
