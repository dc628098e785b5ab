"""Settings as operators see them: each value in force, and where it came from.

Rule: whatever shows a value shows it without secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from microbatch.common.redis_url import redact_url
from microbatch.common.seals.keyring import shown_keyring
from microbatch.common.settings.sources import CODE_SETTINGS, DEFAULT, NO_VALUES, variable_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from microbatch.common.settings.redis import RedisSettings

__all__ = ["SettingRow", "effective_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One line of `microbatch config`; all values are safe to show.

    Attributes:
        name: The field, such as `max_wait_ms` or, for an override, `queue.EMBED.max_wait_ms`.
        variable: The environment variable that sets it.
        value: The value in force.
        origin: Where it came from, such as `environment MICROBATCH_MAX_WAIT_MS` or `default`.
        default: The value it would have otherwise; for an override the process-wide value.
        description: What it means and what more or less of it does.
        used_by: The settings classes that it is from, such as `("ClientSettings", "WorkerSettings")`.
    """

    name: str
    variable: str
    value: str | float | None
    origin: str
    default: str | float | None
    description: str
    used_by: tuple[str, ...]


def effective_settings(*settings: RedisSettings) -> list[SettingRow]:
    """The settings in force and their origins; a row on which several of `settings` agree comes once."""
    merged: dict[SettingRow, tuple[str, ...]] = {}
    for each in settings:
        for row in _rows(each):
            merged[row] = (*merged.get(row, ()), type(each).__name__)
    return [replace(row, used_by=used_by) for row, used_by in merged.items()]


def _rows(settings: RedisSettings) -> Iterator[SettingRow]:
    fields = {name: field for name, field in type(settings).model_fields.items() if name not in NO_VALUES}
    for name, field in fields.items():
        origin = settings.origins.get(name, DEFAULT)
        yield _row((name,), getattr(settings, name), field.default, origin, field)
    for key, own in settings.queue.items():
        for name, value in own.model_dump(exclude_none=True).items():
            if name in fields:
                origin = settings.origins.get(f"queue.{key}.{name}", CODE_SETTINGS)
                yield _row(("queue", key, name), value, getattr(settings, name), origin, fields[name])


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return shown_keyring(value.get_secret_value())
    if isinstance(value, tuple):
        return ",".join(value) or None
    return redact_url(value) if isinstance(value, str) else value


def _row(path: tuple[str, ...], value: Any, default: Any, origin: str, field: FieldInfo) -> SettingRow:
    return SettingRow(
        name=".".join(path),
        variable=variable_of(path),
        value=_shown(value),
        origin=origin,
        default=_shown(default) if isinstance(default, tuple) else default,
        description=field.description or "",
        used_by=(),
    )
