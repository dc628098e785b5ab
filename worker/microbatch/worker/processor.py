"""The user's side of a worker: a class, or a decorated function, that turns a batch into results.

Rule: a processor declares (queue, sizes, waits) and processes; it never sees Redis. Declarations are checked
when the processor is made, so that a wrong one fails at import and not at the first job.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any, Generic, TypeVar

from microbatch.common.errors import ProcessorError
from microbatch.common.identifiers import check_queue, is_name
from microbatch.common.queue_settings import RESOLVED, QueueOverrides
from microbatch.worker.parameters import takes_batch, takes_one

if typing.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from microbatch.common.job_update import ErrorFacts
    from microbatch.common.settings_bounds import BatchError, Batching, Executor
    from microbatch.worker.batch import Batch, BatchAnswer, Job
    from microbatch.worker.hooks import BatchReport

__all__ = [
    "DECLARABLE",
    "HOOKS",
    "BatchProcessor",
    "ExceptionTypes",
    "FunctionProcessor",
    "batch_processor",
    "declared",
    "instance_of",
]

P = TypeVar("P")
R = TypeVar("R")

DECLARABLE = RESOLVED
"""What a processor may declare for its queue; anything else comes from the settings."""

_EXCEPTIONS = ("retry_on", "give_up_on")
HOOKS = ("on_success", "on_failure", "on_batch")
"""What may be hooked, by name."""
_IN_CODE_ONLY = ("kind", "validate", *_EXCEPTIONS, *HOOKS)
ExceptionTypes = type[BaseException] | tuple[type[BaseException], ...]


class BatchProcessor(Generic[P, R]):
    """Turns batches of one queue into results. Subclass it and write `process`.

    Attributes:
        queue: Whose jobs it processes. Required.
        max_batch_size: The most jobs of a call; None leaves it to the settings.
        max_wait_ms: How long the oldest job may wait for others, in milliseconds; None: the settings.
        max_starvation_s: How long lower priorities may be passed over, in seconds; None: the settings.
        batching: `"fixed"`, or `"adaptive"`: these are limits, and a wait has to pay; None: the settings.
        target_p95_ms: With adaptive batching, what batches are kept small enough for; None: the settings.
        max_batch_bytes, max_batch_cost: The most payload bytes and cost of a call; None: the settings.
        concurrency: Batches in flight per process; None: the settings.
        max_result_bytes: The largest encoded result; None: the settings.
        result_ttl_s: How long results are kept, in seconds; None: the settings.
        max_attempts: Runs of a job that fails, all together; None: the settings.
        retry_backoff_s: The longest wait before the second run, doubled for each further one; None: the
            settings.
        retry_backoff_limit_s: Where that doubling ends; None: the settings.
        on_batch_error: `"bisect"`, `"fail"` or `"retry"` the jobs of a batch for which it raised; None: the
            settings.
        batch_timeout_s: How long one call may take; None: the settings.
        executor: `"thread"` (in the worker's process) or `"process"` (in child processes); None: the
            settings.
        max_batches_per_child: Batches after which a child process is replaced; None: the settings.
        kind: Which jobs of the queue it is for, where several processors share it: those that were submitted
            with this `kind`; empty: those without one.
        validate: Whether payloads are validated against the annotation (`list[Model]`, `Batch[Model]`) and
            come as what it names; one that does not fit fails alone, `PayloadInvalid`. None: where it names a
            pydantic model, a dataclass or a typed dict, and where there is a `kind`.
        retry_on: The exceptions that are worth another run, where `max_attempts` allows one; default: all.
        give_up_on: The exceptions that are never worth one, although `retry_on` names them; default: none.
    """

    queue: str = ""
    max_batch_size: int | None = None
    max_wait_ms: float | None = None
    max_starvation_s: float | None = None
    batching: Batching | None = None
    target_p95_ms: float | None = None
    max_batch_bytes: int | None = None
    max_batch_cost: int | None = None
    concurrency: int | None = None
    max_result_bytes: int | None = None
    result_ttl_s: float | None = None
    max_attempts: int | None = None
    retry_backoff_s: float | None = None
    retry_backoff_limit_s: float | None = None
    on_batch_error: BatchError | None = None
    batch_timeout_s: float | None = None
    executor: Executor | None = None
    max_batches_per_child: int | None = None
    kind: str = ""
    validate: bool | None = None
    retry_on: ExceptionTypes = (Exception,)
    give_up_on: ExceptionTypes = ()

    takes_payloads: bool = False

    def setup(self) -> Awaitable[None] | None:
        """Run once before the first claim: load the model, open the database.

        `async def`, or plain `def`, which runs in a thread: with `concurrency=1`, in the one that will run a
        plain `process`; with more, `process` runs in any of as many.
        """
        return None

    def process(self, batch: Batch[P]) -> BatchAnswer[R, P]:
        """Process a batch; `async def`, or plain `def`, which runs in a thread.

        Either may be a generator that yields `(job, result)` for one job after the other, in any order: each
        is settled at once, while the others are still being worked on.

        Returns:
            One result per job: a list in order, or a mapping from exactly the batch's job ids. An exception
            in a job's place fails that job alone; one that is raised fails the batch.
        """
        raise NotImplementedError

    def teardown(self) -> Awaitable[None] | None:
        """Run once after the drain; `async def` or plain `def`, as `setup`."""
        return None

    def on_success(self, job: Job[P], result: R) -> Awaitable[None] | None:  # noqa: ARG002 - to be overridden
        """Called once a job's result is written; `async def` or plain `def`, as the other hooks.

        Hooks run in the worker, one after the other, in the batch's slot: keep them short. What they raise is
        logged and costs no job anything. A worker that dies in between never calls them.
        """
        return None

    def on_failure(self, job: Job[P], error: ErrorFacts) -> Awaitable[None] | None:  # noqa: ARG002 - to be overridden
        """Called once a job has failed for good, that is after its last run."""
        return None

    def on_batch(self, batch: Batch[P], report: BatchReport) -> Awaitable[None] | None:  # noqa: ARG002 - to be overridden
        """Called after a batch's outcomes are written, and after the hooks of its jobs."""
        return None

    @property
    def is_async(self) -> bool:
        """Whether `process` runs on the event loop rather than in a thread."""
        return inspect.iscoroutinefunction(self.process) or inspect.isasyncgenfunction(self.process)

    @property
    def is_stream(self) -> bool:
        """Whether `process` is a generator, which yields results as they are ready."""
        return inspect.isgeneratorfunction(self.process) or inspect.isasyncgenfunction(self.process)

    @property
    def name(self) -> str:
        """What logs call it."""
        return type(self).__name__


class FunctionProcessor(BatchProcessor[P, R]):
    """A decorated function. Calling it calls the function itself, as in a unit test."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function = function
        self.takes_payloads = not takes_batch(function)
        for name, value in options.items():
            setattr(self, name, value)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def process(self, batch: Batch[P]) -> Any:
        """Hand the function what its annotation asks for."""
        return self.function(batch.payloads if self.takes_payloads else batch)

    @property
    def is_async(self) -> bool:
        """Whether the function is `async def`."""
        return inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(self.function)

    @property
    def is_stream(self) -> bool:
        """Whether the function is a generator."""
        return inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", "function")

    def __repr__(self) -> str:
        kind = f" kind={self.kind}" if self.kind else ""
        return f"<batch_processor {self.name} queue={self.queue}{kind}>"


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
        names = (*DECLARABLE, *_IN_CODE_ONLY)
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
    return {name: getattr(processor, name) for name in DECLARABLE if getattr(processor, name) is not None}


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
