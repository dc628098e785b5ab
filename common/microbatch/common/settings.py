"""Settings: what can be configured, what each value means, and which of several values wins.

Rule: command line > environment for that queue > argument in code > environment > default; `queue_settings`
decides it and nothing else does. The environment wins over `.env`. A value given to a settings class in code
(`WorkerSettings(max_wait_ms=3)`) stands where the environment stands, and before it. A value that cannot be
used is a `SettingsError` of one line. Nothing here prints, connects or shows a password.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from microbatch.common.errors import SettingsError
from microbatch.common.redis_url import check_redis_url, redact_url
from microbatch.common.settings_errors import plain_error
from microbatch.common.settings_sources import (
    CODE,
    CODE_SETTINGS,
    COMMAND_LINE,
    DEFAULT,
    ENV_PREFIX,
    UnknownSettingWarning,
    Variables,
    queue_key,
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


_NO_OVERRIDES: Final = QueueOverrides()


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
    redis_url: Annotated[str, AfterValidator(check_redis_url)] = Field(
        default="redis://localhost:6379/0",
        description="The Redis or Valkey server: `redis://user:password@host:6379/0`, `rediss://` (TLS) or "
        "`unix:///path/to/socket`; `embedded://` and `embedded:///path/to/data` start one.",
    )
    connect_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=10.0,
        description="How long to wait for Redis at the start; commands then exit with 69. More rides out a "
        "slow start of Redis, less fails sooner; 0 tries once.",
    )
    command_timeout_s: Annotated[float, Field(ge=0.01, le=3_600)] = Field(
        default=5.0,
        description="One command with its retries. More rides out failovers, less reports them sooner.",
    )
    queue: dict[str, QueueOverrides] = Field(default_factory=dict, description="Overrides, by `queue_key`.")
    origins: dict[str, str] = Field(
        default_factory=dict, exclude=True, repr=False, description="Where each value came from."
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
        """Settings with `options`, by field name, as the command line's; `None` is "not given"."""
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
        names = {"known": _all_fields(), "overridable": QueueOverrides.model_fields}
        environment = Variables(settings_cls, "environment", env_settings, **names)
        return init_settings, environment, Variables(settings_cls, ".env", dotenv_settings, **names)

    def overrides_for(self, queue: str) -> QueueOverrides:
        """The overrides that apply to `queue`; empty where there are none."""
        return self.queue.get(queue_key(queue), _NO_OVERRIDES) if self.queue else _NO_OVERRIDES

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if name == "redis_url" else value


class ClientSettings(RedisSettings):
    """What a producer uses."""

    max_payload_bytes: _ValueBytes = Field(
        default=_MIB,
        description="The largest encoded payload; a larger one is `PayloadTooLarge`. More costs memory; "
        "keep large things elsewhere and submit where they are.",
    )
    max_queue_length: _QueueLength = Field(
        default=1_000_000,
        description="Jobs a queue holds before `QueueFull`. More buffers longer bursts, in Redis memory.",
    )
    result_ttl_s: _TtlS | None = Field(
        default=None,
        description="How long a result is kept after the job's end; 0 keeps none. Unset: the worker's value.",
    )
    poll_interval_s: Annotated[float, Field(ge=0.05, le=3_600)] = Field(
        default=5.0,
        description="How often records of awaited jobs are read although a push should have come. Less finds "
        "results sooner after a lost connection, more spares Redis.",
    )

    def max_queue_length_for(self, queue: str) -> int:
        """The length limit of `queue`: its own, else the process-wide one."""
        return self.overrides_for(queue).max_queue_length or self.max_queue_length

    def result_ttl_s_for(self, queue: str) -> float | None:
        """How long to keep results of `queue`: its own, else the process-wide time; `None`: the worker's."""
        own = self.overrides_for(queue).result_ttl_s
        return self.result_ttl_s if own is None else own


class WorkerSettings(RedisSettings):
    """What a worker process uses. `queue_settings` resolves what may differ by queue."""

    concurrency: _Concurrency = Field(
        default=1,
        description="Batches in flight per queue and process. More overlaps waiting inside the processor.",
    )
    max_batch_size: _BatchSize = Field(
        default=32,
        description="The most jobs per call of the processor. More is cheaper per job, and slower per call.",
    )
    max_wait_ms: _WaitMs = Field(
        default=5.0,
        description="How long a job may wait for company, counted from its submit. More fills batches better "
        "and adds as much latency; 0 dispatches at once.",
    )
    max_result_bytes: _ValueBytes = Field(
        default=_MIB,
        description="The largest encoded result; a larger one fails its own job. More costs Redis memory.",
    )
    result_ttl_s: _TtlS = Field(
        default=3_600.0,
        description="How long a result is kept after the job's end where the producer named no time; 0 keeps "
        "none. More costs Redis memory, less leaves less time to fetch it.",
    )
    heartbeat_limit_s: Annotated[float, Field(ge=1, le=3_600)] = Field(
        default=10.0,
        description="A worker silent this long loses its jobs. Less recovers sooner, more tolerates pauses.",
    )
    drain_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=25.0,
        description="How long running batches may take to finish when the worker leaves; the rest is handed "
        "back. Keep it below the orchestrator's kill delay (Kubernetes: 30 s).",
    )
    max_crashes: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=2,
        description="A job in which this many workers died fails: `WorkerLost`. More forgives bad luck.",
    )
    loop_stall_limit_s: Annotated[float, Field(ge=0.1, le=86_400)] = Field(
        default=30.0,
        description="How long the event loop may be stuck before the heartbeat stops and others take the "
        "jobs. Less finds hung workers sooner, more tolerates blocking code.",
    )
    dead_max_length: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        default=100_000,
        description="Dead letters that a queue keeps; the oldest go first. More costs Redis memory.",
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
        queue: Its name.
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
        return QueueOverrides.model_validate(dict(values))
    except ValidationError as error:
        raise plain_error(error, dict.fromkeys(values, origin), _all_fields()) from error


def _all_fields() -> dict[str, FieldInfo]:
    """Every setting of every class: a worker's variable is no stranger to a producer."""
    return ClientSettings.model_fields | WorkerSettings.model_fields
