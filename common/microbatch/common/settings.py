"""Settings: what can be configured, what each value means, and which of several values wins.

Rule: command line > environment for that queue > argument in code > environment > default; `queue_settings`
decides it and nothing else does. The environment wins over `.env`. A value given to a settings class in code
(`WorkerSettings(max_wait_ms=3)`) stands where the environment stands, and before it. A value that cannot be
used is a `SettingsError` of one line.

Nothing here prints, connects or shows a password.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from microbatch.common.errors import SettingsError
from microbatch.common.settings_report import (
    CODE,
    CODE_SETTINGS,
    COMMAND_LINE,
    DEFAULT,
    ENV_PREFIX,
    UnknownSettingWarning,
    Variables,
    check_redis_url,
    plain_error,
    queue_key,
    redact_url,
    with_origins,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_settings import PydanticBaseSettingsSource

__all__ = [
    "ClientSettings",
    "QueueOverrides",
    "QueueSettings",
    "RedisSettings",
    "UnknownSettingWarning",
    "WorkerSettings",
    "queue_key",
    "queue_settings",
    "redact_url",
]

_MIB: Final = 1024 * 1024

_BatchSize = Annotated[int, Field(ge=1, le=10_000)]
_WaitMs = Annotated[float, Field(ge=0, le=3_600_000)]
_Concurrency = Annotated[int, Field(ge=1, le=1_000)]
_ValueBytes = Annotated[int, Field(ge=1, le=64 * _MIB)]
_TtlS = Annotated[float, Field(ge=0, le=315_360_000)]
_QueueLength = Annotated[int, Field(ge=1, le=1_000_000_000)]


class QueueOverrides(BaseModel):
    """What one queue has instead of the process-wide values; `None` keeps the process-wide value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_batch_size: _BatchSize | None = None
    max_wait_ms: _WaitMs | None = None
    concurrency: _Concurrency | None = None
    max_result_bytes: _ValueBytes | None = None
    result_ttl_s: _TtlS | None = None
    max_queue_length: _QueueLength | None = None

    if not TYPE_CHECKING:  # type checkers offer the fields as keyword arguments; this would hide them

        def __init__(self, **values: object) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise plain_error(error, dict.fromkeys(values, CODE), _all_fields()) from error


class RedisSettings(BaseSettings):
    """How to reach Redis, for every process. Frozen; `repr` hides the password, `model_dump` does not."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=".env",
        env_file_encoding="utf-8-sig",  # editors on Windows write a byte order mark
        case_sensitive=True,  # so that origins show names as they were written; `Variables` ignores case
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )
    redis_url: str = Field(
        default="redis://localhost:6379/0",
        description="The Redis or Valkey server, with user and password: `redis://user:password@host:6379/0`, "
        "`rediss://` (TLS) or `unix:///path/to/socket`; `embedded://` and `embedded:///path/to/data` start one.",
    )
    connect_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=10,
        description="How long to wait for Redis at the start; commands then exit with 69. More rides out a "
        "slow start of Redis, less fails sooner; 0 tries once.",
    )
    command_timeout_s: Annotated[float, Field(ge=0.01, le=3_600)] = Field(
        default=5,
        description="How long one command may take, retries included. More rides out longer failovers, less "
        "tells callers sooner that Redis is away.",
    )
    queue: dict[str, QueueOverrides] = Field(default_factory=dict, description="Overrides, by `queue_key`.")
    origins: dict[str, str] = Field(
        default_factory=dict,
        exclude=True,
        repr=False,
        description="Where each value that is no default came from; filled in by microbatch.",
    )

    if not TYPE_CHECKING:  # as in QueueOverrides

        def __init__(self, **values: Any) -> None:
            given = with_origins(values)
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise plain_error(error, given["origins"], _all_fields()) from error
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"the .env file cannot be read: {error}") from error

    @classmethod
    def from_command_line(cls, options: Mapping[str, Any]) -> Self:
        """Settings in which `options`, by field name, win over all else, per-queue values too; `None`: not given."""
        given = {name: value for name, value in options.items() if value is not None}
        return cls(**given, origins=dict.fromkeys(given, COMMAND_LINE))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic-settings passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Code, then environment, then `.env`; the two latter read by our rules for queues."""
        overridable, known = QueueOverrides.model_fields, _all_fields()
        environment = Variables(settings_cls, env_settings, "environment", known, overridable)
        return init_settings, environment, Variables(settings_cls, dotenv_settings, ".env", known, overridable)

    def overrides_for(self, queue: str) -> QueueOverrides:
        """The overrides that apply to `queue`; empty where there are none."""
        return self.queue.get(queue_key(queue)) or QueueOverrides()

    @field_validator("redis_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return check_redis_url(url)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if name == "redis_url" else value


class ClientSettings(RedisSettings):
    """What a producer uses."""

    max_payload_bytes: _ValueBytes = Field(
        default=_MIB,
        description="The largest encoded payload; a larger one is `PayloadTooLarge`. More costs memory in Redis "
        "and in workers: store large things elsewhere and submit where they are.",
    )
    max_queue_length: _QueueLength = Field(
        default=1_000_000,
        description="How many jobs a queue may hold before a submit gets `QueueFull`. More buffers longer bursts "
        "and costs Redis memory, less pushes back sooner.",
    )
    result_ttl_s: _TtlS | None = Field(
        default=None,
        description="How long a result is kept after the job's end; 0 keeps none. Unset leaves it to the worker.",
    )
    poll_interval_s: Annotated[float, Field(ge=0.05, le=3_600)] = Field(
        default=5,
        description="How often the records of awaited jobs are read although a push should have come. Less finds "
        "a result sooner after a lost connection, more spares Redis.",
    )

    def max_queue_length_for(self, queue: str) -> int:
        """The length limit of `queue`: its own, else the process-wide one."""
        return self.overrides_for(queue).max_queue_length or self.max_queue_length

    def result_ttl_s_for(self, queue: str) -> float | None:
        """How long to keep results of `queue`: its own, else the process-wide time; `None` asks the worker."""
        own = self.overrides_for(queue).result_ttl_s
        return self.result_ttl_s if own is None else own


class WorkerSettings(RedisSettings):
    """What a worker process uses. `queue_settings` resolves what may differ by queue."""

    concurrency: _Concurrency = Field(
        default=1,
        description="Batches in flight per queue and process. More overlaps waiting inside the processor; 1 is "
        "right for a processor that fills the machine by itself.",
    )
    max_batch_size: _BatchSize = Field(
        default=32,
        description="The most jobs that one call of the processor gets; a full batch leaves at once. More is "
        "cheaper per job where the processor gains from size, and takes longer per call.",
    )
    max_wait_ms: _WaitMs = Field(
        default=5,
        description="How long a job may wait for company, counted from its submit. More fills batches better "
        "and adds as much latency; 0 dispatches at once.",
    )
    max_result_bytes: _ValueBytes = Field(
        default=_MIB,
        description="The largest encoded result; a larger one fails its own job. More costs Redis memory.",
    )
    result_ttl_s: _TtlS = Field(
        default=3_600,
        description="How long a result is kept after the job's end where the producer named no time; 0 keeps "
        "none. More costs Redis memory, less leaves less time to fetch it.",
    )
    heartbeat_limit_s: Annotated[float, Field(ge=1, le=3_600)] = Field(
        default=10,
        description="A worker silent for this long is dead, and others take its jobs. Less recovers sooner, more "
        "tolerates longer pauses of host or network.",
    )
    drain_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=25,
        description="How long running batches may take to finish when the worker leaves; the rest is handed "
        "back. Keep it below the orchestrator's kill delay (Kubernetes: 30 s).",
    )
    max_crashes: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=2,
        description="A job during which this many workers died fails with `WorkerLost`. More forgives jobs that "
        "were unlucky, less stops deadly ones sooner.",
    )
    loop_stall_limit_s: Annotated[float, Field(ge=0.1, le=86_400)] = Field(
        default=30,
        description="How long the event loop may be stuck before the heartbeat stops, so that others take the "
        "jobs. Less finds hung workers sooner, more tolerates blocking code.",
    )
    dead_max_length: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        default=100_000,
        description="How many dead letters a queue keeps; the oldest go first. More costs Redis memory.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What holds for one queue of a worker, resolved; `origins` says by field where each value came from."""

    queue: str
    max_batch_size: int
    max_wait_ms: float
    concurrency: int
    max_result_bytes: int
    result_ttl_s: float
    origins: Mapping[str, str]


_RESOLVED: Final = ("max_batch_size", "max_wait_ms", "concurrency", "max_result_bytes", "result_ttl_s")


def queue_settings(
    queue: str,
    *,
    settings: WorkerSettings,
    declared: Mapping[str, object] | None = None,
    cli: Mapping[str, object] | None = None,
) -> QueueSettings:
    """What holds for `queue`: command line > its environment > code > environment > default.

    Args:
        queue: The queue's name.
        settings: The process-wide values; those of `from_command_line` count as command line.
        declared: Arguments of the processor's declaration, by field name; `None` is "not given".
        cli: Options of the command line, by field name; names that are no queue settings are passed over.

    Raises:
        SettingsError: A value that cannot be used, or a declared name that no queue has.
    """
    key = queue_key(queue)
    options = _checked({name: (cli or {}).get(name) for name in _RESOLVED}, COMMAND_LINE)
    code = _checked(declared or {}, CODE)
    own = settings.overrides_for(queue)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in _RESOLVED:
        everywhere, origin = getattr(settings, name), settings.origins.get(name, DEFAULT)
        levels = (
            (getattr(options, name), COMMAND_LINE),
            (everywhere if origin == COMMAND_LINE else None, COMMAND_LINE),
            (getattr(own, name), settings.origins.get(f"queue.{key}.{name}", CODE_SETTINGS)),
            (getattr(code, name), CODE),
            (everywhere, origin),
        )
        values[name], origins[name] = next(level for level in levels if level[0] is not None)
    return QueueSettings(queue=queue, origins=origins, **values)


def _checked(values: Mapping[str, object], origin: str) -> QueueOverrides:
    try:
        return QueueOverrides.model_validate(values)
    except ValidationError as error:
        raise plain_error(error, dict.fromkeys(values, origin), _all_fields()) from error


def _all_fields() -> dict[str, FieldInfo]:
    """Every setting of every class: a worker's variable is no stranger to a producer."""
    return ClientSettings.model_fields | WorkerSettings.model_fields
