"""What a processor may be, and that a wrong one is refused where it is declared."""

from functools import partial
from typing import Any, ClassVar

import pytest
from tests.chaos.kit import make_batch

from microbatch.common.errors import ProcessorError, SettingsError
from microbatch.common.settings import WorkerSettings
from microbatch.worker import Batch, BatchProcessor, Worker, batch_processor
from microbatch.worker.declaration import declared, instance_of
from microbatch.worker.processor import FunctionProcessor


class Sums(BatchProcessor[int, int]):
    queue = "sums"
    max_batch_size = 7

    async def process(self, batch: Batch[int]) -> list[int]:
        return batch.payloads


class NeedsModel(Sums):
    def __init__(self, model: str) -> None:
        self.model = model


def test_a_decorated_function_is_called_with_the_payloads() -> None:
    @batch_processor(queue="q")
    def double(numbers: list[int]) -> list[int]:
        """Twice as much."""
        return [number * 2 for number in numbers]

    batch, _ = make_batch(["a", "b"], [1, 2])

    assert double.process(batch) == [2, 4]
    assert double([3]) == [6]
    assert (double.name, double.__doc__, double.takes_payloads) == ("double", "Twice as much.", True)
    assert not double.is_async


async def test_an_async_function_is_seen_as_one() -> None:
    @batch_processor(queue="q", max_batch_size=2, max_wait_ms=0.5, concurrency=3)
    async def double(numbers: list[int]) -> list[int]:
        return [number * 2 for number in numbers]

    assert double.is_async
    assert await double([1]) == [2]
    assert declared(double) == {"max_batch_size": 2, "max_wait_ms": 0.5, "concurrency": 3}


def test_a_parameter_that_is_annotated_as_a_batch_gets_the_batch() -> None:
    @batch_processor(queue="q")
    def index(batch: Batch[dict[str, Any]]) -> dict[str, int]:
        return {job.id: len(job.payload) for job in batch}

    @batch_processor(queue="q")
    def bare(batch: Batch) -> list[int]:  # type: ignore[type-arg] # also without its argument
        return [0] * len(batch)

    @batch_processor(queue="q")
    def text(batch: "Batch[NoSuchName]") -> list[int]:  # type: ignore[name-defined]  # noqa: F821 - the point
        return [0] * len(batch)

    @batch_processor(queue="q")
    def other(batch: list[Batch[int]]) -> list[int]:
        return [0] * len(batch)

    assert [each.takes_payloads for each in (index, bare, text, other)] == [False, False, False, True]


def test_a_partial_and_a_callable_object_say_what_they_take_too() -> None:
    def scale(batch: Batch[int], factor: int) -> list[int]:
        return [job.payload * factor for job in batch]

    class Scale:
        def __call__(self, batch: Batch[int]) -> list[int]:
            return batch.payloads

    assert not batch_processor(queue="q")(partial(scale, factor=2)).takes_payloads
    assert not batch_processor(queue="q")(Scale()).takes_payloads
    assert batch_processor(queue="q")(Scale()).name == "function"


@pytest.mark.parametrize("given", [Sums, Sums()])
def test_a_class_and_an_instance_are_processors(given: object) -> None:
    processor = instance_of(given)

    assert isinstance(processor, Sums)
    assert processor.is_async
    assert declared(processor) == {"max_batch_size": 7}


@pytest.mark.parametrize("queue", ["", "a/b", "a b", "a{b}", "x" * 129, "né", None, 7])
def test_a_queue_that_cannot_be_a_name_is_refused_at_the_decorator(queue: Any) -> None:
    with pytest.raises(ProcessorError, match="queue name"):

        @batch_processor(queue=queue)
        def process(items: list[int]) -> list[int]:
            return items


@pytest.mark.parametrize(
    "option", [{"max_batchsize": 3}, {"queue_name": "q"}, {"max_queue_length": 3}, {"timeout": 1}]
)
def test_an_unknown_option_is_refused_with_the_known_ones(option: dict[str, Any]) -> None:
    with pytest.raises(ProcessorError, match="it has max_batch_size, max_wait_ms"):
        batch_processor(queue="q", **option)(lambda items: items)


@pytest.mark.parametrize("option", [{"max_batch_size": 0}, {"max_wait_ms": -1}, {"concurrency": "many"}])
def test_an_option_with_an_impossible_value_is_refused_at_the_decorator(option: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(option))):
        batch_processor(queue="q", **option)(lambda items: items)


def test_exceptions_that_are_worth_another_run_are_declared_in_code() -> None:
    @batch_processor(queue="q", max_attempts=3, retry_on=(OSError, ValueError), give_up_on=TimeoutError)
    def process(items: list[int]) -> list[int]:
        return items

    assert (process.retry_on, process.give_up_on) == ((OSError, ValueError), TimeoutError)
    assert declared(process) == {"max_attempts": 3}
    assert (Sums().retry_on, Sums().give_up_on) == ((Exception,), ())


@pytest.mark.parametrize("option", [{"retry_on": "OSError"}, {"give_up_on": [OSError]}, {"retry_on": (3,)}])
def test_what_is_no_exception_type_is_refused_at_the_decorator(option: dict[str, Any]) -> None:
    with pytest.raises(ProcessorError, match="must be an exception type or a tuple of them"):
        batch_processor(queue="q", **option)(lambda items: items)


def takes_nothing() -> list[int]:
    return []


def takes_two(items: list[int], more: list[int]) -> list[int]:
    return items + more


def takes_a_keyword(*, items: list[int]) -> list[int]:
    return items


@pytest.mark.parametrize("function", [takes_nothing, takes_two, takes_a_keyword, 7, "embed", Sums, dict])
def test_what_cannot_be_called_with_one_batch_is_refused_at_the_decorator(function: Any) -> None:
    with pytest.raises(ProcessorError):
        batch_processor(queue="q")(function)


class NoQueue(BatchProcessor[int, int]):
    async def process(self, batch: Batch[int]) -> list[int]:
        return batch.payloads


class NoProcess(BatchProcessor[int, int]):
    queue = "q"


class BadSize(Sums):
    max_batch_size: ClassVar[int] = 0  # type: ignore[misc] # a user would write it so


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (NoQueue, "NoQueue: a queue name"),
        (NoProcess, "has no `process` method"),
        (NeedsModel, "NeedsModel needs arguments: pass an instance"),
        (BatchProcessor, "queue name"),
        (lambda items: items, "is no processor: decorate it"),
        (None, "is no processor"),
        (int, "is no processor"),
        ("module:embed", "is no processor"),
    ],
)
def test_a_worker_refuses_what_is_no_processor_and_says_what_to_do(given: object, sentence: str) -> None:
    with pytest.raises(ProcessorError, match=sentence):
        Worker([given], settings=WorkerSettings())


def test_a_class_with_an_impossible_value_is_refused_by_the_worker() -> None:
    with pytest.raises(SettingsError, match="max_batch_size"):
        Worker([BadSize], settings=WorkerSettings())


def test_a_worker_needs_a_processor_and_takes_one_per_queue() -> None:
    with pytest.raises(ProcessorError, match="at least one"):
        Worker([])
    with pytest.raises(ProcessorError, match="two processors for queue 'sums'"):
        Worker([Sums, Sums()])


def test_a_processor_shows_its_name_and_queue() -> None:
    @batch_processor(queue="embed")
    def embed(texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

    assert repr(embed) == "<batch_processor embed queue=embed>"
    assert isinstance(embed, FunctionProcessor)
    assert "sums" in repr(Worker([Sums], settings=WorkerSettings()))
