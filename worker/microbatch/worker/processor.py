"""The user's side of a worker: a class, or a decorated function, that turns a batch into results.

Rule: a processor declares (queue, sizes, waits) and processes; it never sees Redis. What it declares is
checked in `declaration.py`.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any, Generic, TypeVar

from microbatch.worker.parameters import takes_batch

if typing.TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from microbatch.common.jobs.update import ErrorFacts
    from microbatch.common.settings.bounds import BatchError, Batching, Executor
    from microbatch.worker.batch import Batch, BatchAnswer, Job
    from microbatch.worker.hooks import BatchReport

__all__ = ["BatchProcessor", "ExceptionTypes", "FunctionProcessor"]

P = TypeVar("P")
R = TypeVar("R")

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
