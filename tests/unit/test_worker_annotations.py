"""`Batch` annotations in a module that postpones them, where every annotation is a string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import microbatch.worker  # noqa: TC001 - annotations are evaluated
from microbatch.worker import Batch, batch_processor
from microbatch.worker import Batch as Group

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

Alias = Batch[int]


def test_every_spelling_of_a_batch_is_recognised() -> None:
    @batch_processor(queue="q")
    def plain(batch: Batch[int]) -> list[int]:
        return batch.payloads

    @batch_processor(queue="q")
    async def quoted(batch: "Batch[int]") -> list[int]:  # noqa: UP037 - the quotes are the point
        return batch.payloads

    @batch_processor(queue="q")
    def qualified(batch: microbatch.worker.Batch[int]) -> list[int]:
        return batch.payloads

    @batch_processor(queue="q")
    def renamed(batch: Group[int]) -> list[int]:
        return batch.payloads

    @batch_processor(queue="q")
    def aliased(batch: Alias) -> list[int]:
        return batch.payloads

    @batch_processor(queue="q")
    def annotated(batch: Annotated[Batch[int], "note"]) -> list[int]:
        return batch.payloads

    @batch_processor(queue="q")
    def for_checkers(batch: Batch[OnlyForCheckers]) -> list[int]:
        return [0] * len(batch)

    @batch_processor(queue="q")
    def quoted_for_checkers(batch: "Batch[OnlyForCheckers]") -> list[int]:  # noqa: UP037 - as above
        return [0] * len(batch)

    spellings = (plain, quoted, qualified, renamed, aliased, annotated, for_checkers, quoted_for_checkers)
    assert [each.name for each in spellings if each.takes_payloads] == []


def test_everything_else_means_payloads() -> None:
    @batch_processor(queue="q")
    def bare(items):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - no annotation is the point
        return items

    @batch_processor(queue="q")
    def typed(items: list[OnlyForCheckers]) -> list[int]:
        return [0] * len(items)

    @batch_processor(queue="q")
    def variadic(*groups: list[int]) -> list[int]:
        return groups[0]

    assert all(each.takes_payloads for each in (bare, typed, variadic))
