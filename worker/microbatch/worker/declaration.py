"""Declaring a processor: the decorator, and what a class, an instance or an option of it may say.

Rule: a declaration is checked when it is made, so that a wrong one fails at import and not at the first job.
Nothing here runs a processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProcessorError
from microbatch.common.identifiers import check_queue, is_name
from microbatch.common.settings.queue import RESOLVED, QueueOverrides
from microbatch.worker.parameters import takes_one
from microbatch.worker.processor import BatchProcessor, FunctionProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HOOKS", "batch_processor", "declared", "instance_of"]

_DECLARABLE = RESOLVED  # what a processor may declare for its queue; anything else comes from the settings
_EXCEPTIONS = ("retry_on", "give_up_on")
HOOKS = ("on_success", "on_failure", "on_batch")
"""What may be hooked, by name."""
_IN_CODE_ONLY = ("kind", "validate", *_EXCEPTIONS, *HOOKS)


def batch_processor(
    *,
    queue: str,
    max_batch_size: int | None = None,
    max_wait_ms: float | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], FunctionProcessor[Any, Any]]:
    """Make a function over a list of payloads (or over a `Batch`, if so annotated) a processor.

    Args:
        queue: Whose jobs it processes.
        max_batch_size: The most jobs of a call; None leaves it to the settings.
        max_wait_ms: How long the oldest job may wait for others, in milliseconds; None: the settings.
        **options: `kind`, `concurrency`, `max_attempts`, `retry_on` and the others of `BatchProcessor`, as
            there.

    Raises:
        ProcessorError: A wrong queue name, an unknown option, or a function that takes no batch.
        SettingsError: An option with a value that cannot be used.
    """
    given = {"queue": queue, "max_batch_size": max_batch_size, "max_wait_ms": max_wait_ms, **options}

    def decorate(function: Callable[..., Any]) -> FunctionProcessor[Any, Any]:
        names = (*_DECLARABLE, *_IN_CODE_ONLY)
        unknown = sorted(set(given) - {"queue", *names})
        if unknown:
            raise ProcessorError(f"batch_processor has no option {unknown[0]!r}; it has {', '.join(names)}")
        if not callable(function) or isinstance(function, type):
            raise ProcessorError(f"batch_processor decorates a function, not {function!r}")
        processor: FunctionProcessor[Any, Any] = FunctionProcessor(function, given)
        _check(processor)
        return processor

    return decorate


def instance_of(candidate: object) -> BatchProcessor[Any, Any]:
    """The processor that `candidate` names: a decorated function, a class, or an instance.

    Raises:
        ProcessorError: It is none of these, or cannot be made.
    """
    if isinstance(candidate, type) and issubclass(candidate, BatchProcessor):
        kind = candidate
        try:
            candidate = kind()
        except TypeError as error:
            raise ProcessorError(f"{kind.__name__} needs arguments: pass an instance ({error})") from error
    if not isinstance(candidate, BatchProcessor):
        raise ProcessorError(
            f"{candidate!r:.80} is no processor: decorate it with @batch_processor(queue=...), "
            "or subclass BatchProcessor"
        )
    _check(candidate)
    return candidate


def declared(processor: BatchProcessor[Any, Any]) -> dict[str, object]:
    """What the processor declares for its queue, by setting name."""
    return {name: getattr(processor, name) for name in _DECLARABLE if getattr(processor, name) is not None}


def _check(processor: BatchProcessor[Any, Any]) -> None:
    try:
        check_queue(processor.queue)
    except ValueError as error:
        raise ProcessorError(f"{processor.name}: {error}") from error
    QueueOverrides(**declared(processor))  # type: ignore[arg-type] # that is what it checks
    if processor.kind and not (isinstance(processor.kind, str) and is_name(processor.kind)):
        raise ProcessorError(
            f"{processor.name}: a kind has 1 to 128 of A-Z a-z 0-9 _ . : - and no others, not "
            f"{processor.kind!r:.140}"
        )
    if processor.validate not in (None, True, False):
        raise ProcessorError(f"{processor.name}: validate is True, False or None")
    _check_hooks(processor)
    for name in _EXCEPTIONS:
        if not _are_exception_types(getattr(processor, name)):
            raise ProcessorError(f"{processor.name}: {name} must be an exception type or a tuple of them")
    if type(processor).process is BatchProcessor.process:
        raise ProcessorError(f"{processor.name} has no `process` method")
    if isinstance(processor, FunctionProcessor) and not takes_one(processor.function):
        raise ProcessorError(f"{processor.name} must take one argument: the payloads, or a Batch")
    if processor.is_stream and processor.takes_payloads:
        raise ProcessorError(
            f"{processor.name} is a generator, which yields (job, result): annotate its argument as a Batch"
        )


def _check_hooks(processor: BatchProcessor[Any, Any]) -> None:
    for name in HOOKS:
        if not callable(getattr(processor, name)):
            raise ProcessorError(f"{processor.name}: {name} must be a function")


def _are_exception_types(given: object) -> bool:
    types = given if isinstance(given, tuple) else (given,)
    return all(isinstance(each, type) and issubclass(each, BaseException) for each in types)
