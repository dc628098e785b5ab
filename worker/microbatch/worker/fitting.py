"""Fitting: payloads as a processor's annotation wants them, and those that do not fit.

Rule: pure. A payload that does not fit fails alone, with a sentence that says where and why; its mates are
processed as what the annotation names: models, dataclasses, typed dicts. Such a failure is final, because the
same payload would fail again.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import sys
import typing
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation

from microbatch.common.codec import encode_error
from microbatch.common.errors import ProcessorError
from microbatch.common.scripts import Outcome
from microbatch.worker.batch import Batch, refitted
from microbatch.worker.processor import BatchProcessor, FunctionProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

    from microbatch.common.jobs.entry import Entry

__all__ = ["Fit", "Fitting", "fitting_of"]

INVALID = "PayloadInvalid"
"""The error type of a payload that does not fit."""

_MOST_TOLD = 5
_SHOWN_CHARS = 60
_UNSAID: Any = object()
_MANY = (list, Batch, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)


class Fit(NamedTuple):
    """A batch after fitting: what is to be processed, and what fails without."""

    batch: Batch[Any]
    entries: list[Entry]
    failed: dict[int, Outcome]

    def merged(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """One outcome for each job of the original batch, in its order."""
        ran = iter(outcomes)
        total = len(self.failed) + len(self.entries)
        return [self.failed.get(index) or next(ran) for index in range(total)]


class Fitting:
    """Fits the payloads of one processor.

    Args:
        item: The type of one payload.

    Raises:
        PydanticUserError: Nothing can be fitted into this type.
    """

    def __init__(self, item: Any) -> None:
        self._adapter: TypeAdapter[list[Any]] = TypeAdapter(list[_portable(item)])  # type: ignore[arg-type, misc]

    def fit(self, batch: Batch[Any], entries: Sequence[Entry]) -> Fit:
        """Sort a batch into what fits and what does not."""
        wrong: dict[int, list[ErrorDetails]] = {}
        payloads = batch.payloads
        try:
            fitted = self._adapter.validate_python(payloads)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False):
                wrong.setdefault(cast("int", detail["loc"][0]), []).append(detail)
            good = [payload for index, payload in enumerate(payloads) if index not in wrong]
            fitted = self._adapter.validate_python(good)
        rest = [index for index in range(len(payloads)) if index not in wrong]
        jobs = [refitted(batch[index], payload) for index, payload in zip(rest, fitted, strict=True)]
        failed = {
            index: Outcome(entries[index], "failed", encode_error(INVALID, _sentence(details)))
            for index, details in wrong.items()
        }
        return Fit(
            Batch(batch.id, batch.queue, batch.reason, jobs), [entries[index] for index in rest], failed
        )


def fitting_of(processor: BatchProcessor[Any, Any]) -> Fitting | None:
    """How to fit a processor's payloads; None where they are taken as they come.

    That is so where `validate` is False, where nothing is annotated, and, unless `validate` or a `kind` asks
    for it, where the annotation names no model, dataclass or typed dict.

    Raises:
        ProcessorError: Fitting is asked for, and the annotation cannot be understood.
    """
    if processor.validate is False:
        return None
    asked = processor.validate is True or bool(processor.kind)
    try:
        item = _item_type(processor)
        if item is _UNSAID or item is Any or isinstance(item, TypeVar):
            if processor.validate is True:
                raise ProcessorError(
                    f"{processor.name}: validate=True needs an annotation such as list[Model] or Batch[Model]"
                )
            return None
        return Fitting(item) if asked or _is_model(item) else None
    except (NameError, TypeError, PydanticUserError, PydanticUndefinedAnnotation) as error:
        if not asked:
            return None
        raise ProcessorError(
            f"{processor.name}: payloads cannot be validated against its annotation, which has to be "
            f"importable at run time: {str(error).splitlines()[0]}"
        ) from error


def _item_type(processor: BatchProcessor[Any, Any]) -> Any:
    """What the annotation says of one payload."""
    is_function = isinstance(processor, FunctionProcessor)
    function = processor.function if isinstance(processor, FunctionProcessor) else type(processor).process
    parameters = list(inspect.signature(function).parameters.values())[0 if is_function else 1 :]
    hint = _resolved(function, parameters[0].annotation) if parameters else _UNSAID
    origin = get_origin(hint)
    if isinstance(origin, type) and origin in _MANY and get_args(hint):
        item = get_args(hint)[0]
        if not isinstance(item, TypeVar):
            return item
    return _UNSAID if is_function else _declared_item(type(processor))


def _resolved(function: Any, annotation: Any) -> Any:
    """An annotation as a type; the others of its function may name what only type checkers see."""
    if annotation is inspect.Parameter.empty:
        return _UNSAID

    class Holder:
        __annotations__ = {"it": annotation}

    names = getattr(inspect.unwrap(function), "__globals__", {})
    return typing.get_type_hints(Holder, globalns=names, include_extras=True)["it"]


def _declared_item(processor: type) -> Any:
    """`P` of `class Mine(BatchProcessor[P, R])`."""
    for each in processor.__mro__:
        for base in getattr(each, "__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, BatchProcessor) and get_args(base):
                return get_args(base)[0]
    return _UNSAID


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and (
        issubclass(item, BaseModel) or dataclasses.is_dataclass(item) or typing.is_typeddict(item)
    )


def _portable(item: Any) -> Any:
    """The same typed dict as pydantic takes it: before Python 3.12 it wants that of typing_extensions."""
    if sys.version_info >= (3, 12) or not typing.is_typeddict(item):
        return item
    import typing_extensions  # noqa: PLC0415 - pydantic brings it

    if isinstance(item, typing_extensions._TypedDictMeta):  # type: ignore[attr-defined] # noqa: SLF001
        return item
    wrap = {True: typing.Required, False: typing.NotRequired}
    fields = {  # where annotations are text, `__required_keys__` knows nothing of a field that says it itself
        name: hint if get_origin(hint) in wrap.values() else wrap[name in item.__required_keys__][hint]
        for name, hint in typing.get_type_hints(item, include_extras=True).items()
    }
    return typing_extensions.TypedDict(item.__name__, fields)  # type: ignore[operator] # made at run time


def _sentence(details: Sequence[ErrorDetails]) -> str:
    told = [f"{_place(detail)}: {detail['msg']} (it is {_shown(detail)})" for detail in details[:_MOST_TOLD]]
    more = len(details) - _MOST_TOLD
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _place(detail: ErrorDetails) -> str:
    return ".".join(str(part) for part in detail["loc"][1:]) or "payload"


def _shown(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "not there"
    text = repr(detail["input"])
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
