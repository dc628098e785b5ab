"""The roster: who works for which queue, and what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from microbatch.common.errors import ProcessorError
from microbatch.worker import Schedule, WorkerSettings
from microbatch.worker.declaration import batch_processor
from microbatch.worker.roster import Post, posts

if TYPE_CHECKING:
    from microbatch.worker.processor import BatchProcessor


def processor(queue: str = "math", **options: Any) -> BatchProcessor[Any, Any]:
    @batch_processor(queue=queue, **options)
    def run(payloads: list[Any]) -> list[Any]:
        return payloads

    return run


def sorted_(*candidates: object) -> list[Post]:
    return posts(candidates, WorkerSettings(), None)


def test_processors_and_schedules_are_sorted_by_queue() -> None:
    add, mul, other = processor(kind="add"), processor(kind="mul"), processor("other")
    schedule = Schedule("s", queue="math", every_s=5, kind="add")
    found = sorted_(schedule, add, other, mul)
    assert [(post.settings.queue, post.processors, post.schedules) for post in found] == [
        ("math", [add, mul], [schedule]),
        ("other", [other], []),
    ]


def test_what_the_processors_of_a_queue_declare_counts_together() -> None:
    (post,) = sorted_(
        processor(kind="a", max_batch_size=7), processor(kind="b", max_wait_ms=3, max_batch_size=7)
    )
    assert (post.settings.max_batch_size, post.settings.max_wait_ms) == (7, 3)


@pytest.mark.parametrize(
    ("candidates", "sentence"),
    [
        ([processor(), processor()], "two processors for queue 'math'.*another kind"),
        ([processor(kind="a"), processor(kind="a")], "two processors for kind 'a' of queue 'math'"),
        (
            [processor(kind="a", max_wait_ms=1), processor(kind="b", max_wait_ms=2)],
            "max_wait_ms is the queue's",
        ),
        ([], "at least one processor"),
        ([processor(), Schedule("s", queue="x", every_s=5)], "no processor"),
        ([5], "is no processor"),
    ],
)
def test_what_cannot_be_is_refused(candidates: list[object], sentence: str) -> None:
    with pytest.raises(ProcessorError, match=sentence):
        sorted_(*candidates)


def test_a_kind_is_a_name() -> None:
    with pytest.raises(ProcessorError, match="a kind has"):
        processor(kind="a b")
    with pytest.raises(ProcessorError, match="validate is"):
        processor(validate="yes")
