"""What may differ by queue: what a queue's own values are, and which of several values wins.

Rule: command line > environment for that queue > argument in code > environment > default; `queue_settings`
decides it and nothing else does. What the values mean is said once, by the fields of `WorkerSettings`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from microbatch.common.settings.bounds import (
    Attempts,
    BackoffS,
    BatchError,
    Batching,
    BatchSize,
    BatchTimeoutS,
    Concurrency,
    Cost,
    Executor,
    ManyBatches,
    ManyBytes,
    ManyKeys,
    QueueLength,
    StarvationS,
    TargetMs,
    TtlS,
    ValueBytes,
    WaitMs,
)
from microbatch.common.settings.errors import plain_error
from microbatch.common.settings.sources import CODE, CODE_SETTINGS, COMMAND_LINE, DEFAULT, queue_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from microbatch.common.settings.sides import WorkerSettings

__all__ = ["RESOLVED", "QueueOverrides", "QueueSettings", "queue_settings"]


class QueueOverrides(BaseModel):
    """What one queue has instead of the process-wide values; `None` keeps the process-wide value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_batch_size: BatchSize | None = None
    max_wait_ms: WaitMs | None = None
    max_starvation_s: StarvationS | None = None
    batching: Batching | None = None
    target_p95_ms: TargetMs | None = None
    max_batch_bytes: ManyBytes | None = None
    max_batch_cost: Cost | None = None
    concurrency: Concurrency | None = None
    max_result_bytes: ValueBytes | None = None
    result_ttl_s: TtlS | None = None
    max_queue_length: QueueLength | None = None
    max_batch_keys: ManyKeys | None = None
    max_job_cost: Cost | None = None
    max_attempts: Attempts | None = None
    retry_backoff_s: BackoffS | None = None
    retry_backoff_limit_s: BackoffS | None = None
    on_batch_error: BatchError | None = None
    batch_timeout_s: BatchTimeoutS | None = None
    executor: Executor | None = None
    max_batches_per_child: ManyBatches | None = None

    if not TYPE_CHECKING:  # type checkers offer the fields as keyword arguments; this would hide them

        def __init__(self, **values: object) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _plain(error, values, CODE) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What holds for one queue of a worker, resolved; `origins` says by field where each value came from."""

    queue: str
    max_batch_size: int
    max_wait_ms: float
    max_starvation_s: float
    batching: Batching
    target_p95_ms: float | None
    max_batch_bytes: int | None
    max_batch_cost: int | None
    concurrency: int
    max_result_bytes: int
    result_ttl_s: float
    max_attempts: int | None
    retry_backoff_s: float
    retry_backoff_limit_s: float
    on_batch_error: BatchError
    batch_timeout_s: float | None
    executor: Executor
    max_batches_per_child: int | None
    origins: Mapping[str, str]


RESOLVED: Final = tuple(
    field.name for field in fields(QueueSettings) if field.name not in {"queue", "origins"}
)
"""The settings of a queue's worker, by name: what a processor may declare."""


def queue_settings(
    queue: str,
    *,
    settings: WorkerSettings,
    declared: Mapping[str, object] | None = None,
    cli: Mapping[str, object] | None = None,
) -> QueueSettings:
    """What holds for `queue`: command line > its environment > code > environment > default.

    Args:
        queue: Its name.
        settings: The process-wide values; those of `from_command_line` count as command line.
        declared: Arguments of the processor's declaration, by field name; `None` is "not given".
        cli: Options of the command line, by field name; names that are no queue settings are passed over.

    Raises:
        SettingsError: A value that cannot be used, or a declared name that no queue has.
    """
    key = queue_key(queue)
    options = _checked({name: (cli or {}).get(name) for name in RESOLVED}, COMMAND_LINE)
    code = _checked(declared or {}, CODE)
    own = settings.overrides_for(queue)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in RESOLVED:
        everywhere, origin = getattr(settings, name), settings.origins.get(name, DEFAULT)
        levels = (
            (getattr(options, name), COMMAND_LINE),
            (everywhere if origin == COMMAND_LINE else None, COMMAND_LINE),
            (getattr(own, name), settings.origins.get(f"queue.{key}.{name}", CODE_SETTINGS)),
            (getattr(code, name), CODE),
        )
        given = (level for level in levels if level[0] is not None)
        values[name], origins[name] = next(given, (everywhere, origin))
    return QueueSettings(queue=queue, origins=origins, **values)


def _checked(values: Mapping[str, object], origin: str) -> QueueOverrides:
    try:
        return QueueOverrides.model_validate(dict(values))
    except ValidationError as error:
        raise _plain(error, values, origin) from error


def _plain(error: ValidationError, values: Mapping[str, object], origin: str) -> Exception:
    return plain_error(error, dict.fromkeys(values, origin), QueueOverrides.model_fields)
