"""How to reach Redis, for every process: the settings that producers and workers share.

Rule: the environment wins over `.env`; what is given in code wins over both. A value that cannot be used is a
`SettingsError` of one line, and no password is shown. What only one side uses is in `sides.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from microbatch.common.errors import SettingsError
from microbatch.common.redis_url import check_redis_url, redact_url
from microbatch.common.settings.defence import SealSettings
from microbatch.common.settings.errors import plain_error
from microbatch.common.settings.queue import QueueOverrides
from microbatch.common.settings.sources import (
    COMMAND_LINE,
    ENV_PREFIX,
    queue_key,
    with_origins,
    written_places,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_settings import PydanticBaseSettingsSource

__all__ = ["RedisSettings", "every_setting"]

_NO_OVERRIDES: Final = QueueOverrides()


class RedisSettings(SealSettings, BaseSettings):
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
        "`unix:///path/to/socket`; `redis+sentinel://host:port,host:port/service/0` and "
        "`redis+cluster://host:port,host:port` find one; `embedded://` and `embedded:///path/to/data` "
        "start one.",
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
    tracing: bool = Field(
        default=False,
        description="Whether OpenTelemetry spans are made and their context travels with jobs; needs "
        "`microbatch[tracing]`, and a program that sets a tracer provider. Costs some microseconds a job.",
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
                raise plain_error(error, given["origins"], every_setting()) from error
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
        """Code, then environment, files, `.env`; all but the first read by our rules for queues."""
        names = {"known": every_setting(), "overridable": QueueOverrides.model_fields}
        return init_settings, *written_places(settings_cls, env_settings, dotenv_settings, **names)

    def overrides_for(self, queue: str) -> QueueOverrides:
        """The overrides that apply to `queue`; empty where there are none."""
        return self.queue.get(queue_key(queue), _NO_OVERRIDES) if self.queue else _NO_OVERRIDES

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if name == "redis_url" else value


def every_setting() -> dict[str, FieldInfo]:
    """The fields of every settings class: a worker's variable is no stranger to a producer."""
    fields: dict[str, FieldInfo] = dict(RedisSettings.model_fields)
    for side in RedisSettings.__subclasses__():
        fields |= side.model_fields
    return fields
