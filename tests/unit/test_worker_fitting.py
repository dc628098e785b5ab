"""Fitting: payloads come as the annotation says, and one that does not fit fails alone in a readable way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import pytest
from pydantic import BaseModel

from microbatch.common.codec import decode
from microbatch.common.errors import ProcessorError
from microbatch.common.jobs.entry import Entry
from microbatch.worker.batch import Batch, Job
from microbatch.worker.declaration import batch_processor
from microbatch.worker.fitting import Fitting, fitting_of
from microbatch.worker.processor import BatchProcessor

if TYPE_CHECKING:
    from decimal import Decimal as Hidden

    from microbatch.worker.batch import BatchResults


class Order(BaseModel):
    item: str
    count: int


@dataclass
class Pair:
    a: int
    b: int = 0


class Query(TypedDict):
    text: str
    limit: NotRequired[int]


def batch_of(*payloads: Any) -> tuple[Batch[Any], list[Entry]]:
    entries = [Entry(f"main:1-{n}", f"job{n}", "", b"", 1) for n in range(len(payloads))]
    jobs = [Job("q", entry, payload, {"n": 1}) for entry, payload in zip(entries, payloads, strict=True)]
    return Batch("b", "q", "wait", jobs), entries


def fitted(fitting: Fitting | None, *payloads: Any) -> tuple[list[Any], dict[int, str]]:
    """The payloads that fit, and the sentences of the others."""
    assert fitting is not None
    fit = fitting.fit(*batch_of(*payloads))
    assert [job.id for job in fit.batch] == [f"q/{entry.local}" for entry in fit.entries]
    assert all(job.headers == {"n": 1} for job in fit.batch)
    told = {}
    for index, outcome in fit.failed.items():
        error = decode(outcome.value)
        assert (outcome.state, outcome.cause, error["type"]) == ("failed", None, "PayloadInvalid")
        told[index] = error["message"]
    return fit.batch.payloads, told


def of(item: Any, **options: Any) -> Fitting | None:
    def process(payloads: Any) -> Any:
        return payloads

    process.__annotations__ = {"payloads": item}
    return fitting_of(batch_processor(queue="q", **options)(process))


@pytest.mark.parametrize("many", [list[Order], Sequence[Order], Batch[Order]])
def test_what_fits_comes_as_the_annotation_says_and_the_rest_fails_alone(many: Any) -> None:
    wrong = {"item": 1, "count": "x"}
    good, told = fitted(
        of(many), {"item": "a", "count": 1}, {"item": "b"}, 7, {"item": "c", "count": "3"}, wrong
    )
    assert good == [Order(item="a", count=1), Order(item="c", count=3)]
    assert told == {
        1: "count: Field required (it is not there)",
        2: "payload: Input should be a valid dictionary or instance of Order (it is 7)",
        4: "item: Input should be a valid string (it is 1); count: Input should be a valid integer, "
        "unable to parse string as an integer (it is 'x')",
    }


def test_dataclasses_and_typed_dicts_are_models_too() -> None:
    assert fitted(of(list[Pair]), {"a": "1"}, {"b": 1}) == (
        [Pair(1)],
        {1: "a: Field required (it is not there)"},
    )
    good, told = fitted(of(list[Query]), {"text": "x"}, {"text": "y", "limit": "5"}, {"limit": 1})
    assert good == [{"text": "x"}, {"text": "y", "limit": 5}]
    assert told == {2: "text: Field required (it is not there)"}


def test_outcomes_are_merged_in_the_batchs_order() -> None:
    fitting = of(list[Order])
    assert fitting is not None
    fit = fitting.fit(*batch_of({}, {"item": "a", "count": 1}, 5, {"item": "b", "count": 2}))
    ran = [fit.failed[0], fit.failed[2]]  # any two outcomes
    assert fit.merged(ran) == [fit.failed[0], ran[0], fit.failed[2], ran[1]]
    nothing = fitting.fit(*batch_of({}, 5))
    assert nothing.entries == []
    assert len(nothing.merged([])) == 2


def test_long_values_and_many_mistakes_are_cut() -> None:
    class Wide(BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int
        f: int
        g: int

    _, told = fitted(of(list[Wide]), {"a": "x" * 500})
    assert "..." in told[0]
    assert told[0].endswith("and 2 more")
    assert len(told[0]) < 500


@pytest.mark.parametrize(
    "item", [list[str], list[dict[str, int]], list, list[Any], Batch, Any, "list[Missing]"]
)
def test_without_a_model_or_a_kind_payloads_are_taken_as_they_come(item: Any) -> None:
    assert of(item) is None


def test_a_kind_or_the_wish_for_it_validates_plain_annotations_too() -> None:
    for options in ({"kind": "sum"}, {"validate": True}):
        good, told = fitted(of(list[list[int]], **options), [1, "2"], ["x"], [])
        assert good == [[1, 2], []]
        assert list(told) == [1]
        assert told[1].startswith("0: Input should be a valid integer")
    assert of(list[Order], kind="sum", validate=False) is None
    assert of(list[Any], kind="sum") is None
    assert of(Any, kind="sum") is None


def test_a_class_says_it_in_its_method_or_in_its_base() -> None:
    class ByMethod(BatchProcessor[Any, Any]):
        queue = "q"

        async def process(self, batch: Batch[Order]) -> Any:
            return batch.payloads

    class ByBase(BatchProcessor[Order, int]):
        queue = "q"

        async def process(self, batch: Any) -> BatchResults[int]:
            return [0 for _ in batch]

    for processor in (ByMethod(), ByBase()):
        assert fitted(fitting_of(processor), {"item": "a", "count": 1}, 7)[0] == [Order(item="a", count=1)]


def test_what_cannot_be_understood_is_refused_where_validation_is_asked_for() -> None:
    def hidden(payloads: list[Hidden]) -> Any:
        return payloads

    def generic(payloads: list[object]) -> Any:
        return payloads

    assert fitting_of(batch_processor(queue="q")(hidden)) is None
    with pytest.raises(ProcessorError, match="importable at run time: name 'Hidden'"):
        fitting_of(batch_processor(queue="q", kind="sum")(hidden))
    with pytest.raises(ProcessorError, match="needs an annotation"):
        of(Any, validate=True)
    with pytest.raises(ProcessorError, match="importable at run time"):
        of(list[type("Odd", (), {})], kind="odd")  # type: ignore[misc] # pydantic knows no such class
    assert fitted(fitting_of(batch_processor(queue="q", kind="any")(generic)), 1, "x")[0] == [1, "x"]
