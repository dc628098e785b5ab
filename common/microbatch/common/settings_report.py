"""Settings between people and program: how they are spelt, where they were read, how they are told.

Rule: whatever names a setting names it as its author wrote it (a variable, an option, an argument), and
whatever shows a value shows it without secrets. The values' meaning, bounds and precedence are in
`settings.py`, which imports this module and is never imported by it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, PydanticBaseSettingsSource

from microbatch.common.errors import SettingsError
from microbatch.common.identifiers import check_queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

    from microbatch.common.settings import RedisSettings

__all__ = ["SettingRow", "UnknownSettingWarning", "effective_settings", "queue_key", "redact_url"]

ENV_PREFIX: Final = "MICROBATCH_"
COMMAND_LINE: Final = "command line"
CODE: Final = "code"
CODE_SETTINGS: Final = "code (settings)"
DEFAULT: Final = "default"
OTHER_VARIABLES: Final = {"MICROBATCH_SERVER_BINARY"}
"""Names with our prefix that are read elsewhere and are no settings."""

_NO_VALUES: Final = {"queue", "origins"}
_UNITS: Final = {"_bytes": "bytes", "_ms": "milliseconds", "_s": "seconds"}
_URLS: Final = (
    "redis:// or rediss:// with host, port and database, unix:///path, embedded:// or embedded:///path"
)
_URL: Final = re.compile(
    r"rediss?://([^/?#]*@)?(\[[^\]/?#@]+\]|[^\[\]:/?#@]*)(:(?P<port>[0-9]{1,5}))?(/[0-9]*/?)?(\?[^#]*)?"
    r"|unix://([^/?#]*@)?/[^?#]+(\?[^#]*)?|embedded://(/[^?#]*)?"
)
_QUEUE_VARIABLE: Final = re.compile(r"QUEUE__([A-Z0-9_.:-]{1,128})__([A-Z_]+)")
# Kubernetes tells every pod about every service: a service `microbatch-redis` makes these of it.
_SERVICE_LINK: Final = re.compile(
    r"MICROBATCH_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
    r"|PORT(?==(tcp|udp|sctp)://))=.*"
)
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d{0,5})?")

_warned: set[str] = set()


class UnknownSettingWarning(UserWarning):
    """A `MICROBATCH_` variable that is no setting, most likely a misspelt one: it has no effect."""


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
    fields = {name: field for name, field in type(settings).model_fields.items() if name not in _NO_VALUES}
    for name, field in fields.items():
        origin = settings.origins.get(name, DEFAULT)
        yield _row((name,), getattr(settings, name), field.default, origin, field)
    for key, own in settings.queue.items():
        for name, value in own.model_dump(exclude_none=True).items():
            if name in fields:
                origin = settings.origins.get(f"queue.{key}.{name}", CODE_SETTINGS)
                yield _row(("queue", key, name), value, getattr(settings, name), origin, fields[name])


def _row(path: tuple[str, ...], value: Any, default: Any, origin: str, field: FieldInfo) -> SettingRow:
    return SettingRow(
        name=".".join(path),
        variable=variable_of(path),
        value=redact_url(value) if isinstance(value, str) else value,
        origin=origin,
        default=default,
        description=field.description or "",
        used_by=(),
    )


def queue_key(queue: str) -> str:
    """How `queue` is spelt in a variable: upper case, with `_` for `-`, `.` and `:`."""
    return re.sub(r"[-.:]", "_", queue).upper()


def variable_of(path: Iterable[object]) -> str:
    """The variable that sets a field, or a queue's field: `("queue", "EMBED", "max_wait_ms")`."""
    return ENV_PREFIX + "__".join(map(str, path)).upper()


def check_redis_url(url: str) -> str:
    """`url`, stripped (a secret made from a file ends in a newline).

    Raises:
        ValueError: It is nothing that microbatch can connect to.
    """
    match = _URL.fullmatch(url.strip())
    if not match or int(match["port"] or 6379) not in range(1, 1 << 16):
        raise ValueError(f"not {_URLS}")
    return match[0]


def redact_url(url: str) -> str:
    """`url` without its secrets, for messages and logs.

    It rather hides too much: everything between the user name and the last `@` (people forget to escape `/`
    and `@` in passwords), and an address that is not plainly `host:port`.
    """
    url = _SECRET_PARAMETER.sub(r"\1***", url)
    head, separator, rest = url.partition("://")
    scheme = head + separator if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", head) and separator else ""
    credentials, at, address = (rest if scheme else url).rpartition("@")
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    if not _ADDRESS.fullmatch(authority) or not (scheme or at or ":" in authority):
        address = "***"
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{f'{user}:***@' if colon else '***@' if at else ''}{address}"


def with_origins(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a constructor call plus `origins`, its queues spelt as variables spell them."""
    queues: dict[str, dict[str, object]] = {}
    origins = {name: CODE_SETTINGS for name in values if name not in _NO_VALUES}
    given = values.get("queue")
    if isinstance(given, Mapping) and all(isinstance(own, Mapping | BaseModel) for own in given.values()):
        for queue, own in given.items():
            try:
                key = queue_key(check_queue(queue))
            except ValueError as error:
                raise SettingsError(f"queue: {error}") from None
            fields = {name: value for name, value in dict(own).items() if value is not None}
            queues.setdefault(key, {}).update(fields)
            origins.update({f"queue.{key}.{name}": CODE_SETTINGS for name in fields})
        values = values | {"queue": queues}
    elif "queue" in values:
        origins["queue"] = CODE_SETTINGS
    return values | {"origins": origins | values.get("origins", {})}


class Variables(PydanticBaseSettingsSource):
    """The settings that one place has: the environment, or the `.env` file. Empty text counts as unset."""

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        place: str,
        source: PydanticBaseSettingsSource,
        *,
        known: Mapping[str, FieldInfo],
        overridable: Mapping[str, FieldInfo],
    ) -> None:
        super().__init__(settings_cls)
        self._place = place
        found = source.env_vars if isinstance(source, EnvSettingsSource) else {}
        self._variables = {
            name: text for name, text in found.items() if text and name.upper().startswith(ENV_PREFIX)
        }
        self._known = known.keys() - _NO_VALUES
        self._overridable = overridable.keys()

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: `__call__` reads all fields together."""
        raise NotImplementedError(field_name, field)

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        # Capitals sort first, so in this order the usual spelling has the last word over `microbatch_...`.
        for name, text in sorted(self._variables.items(), reverse=True):
            path = self._path(name)
            if not path:
                self._warn(name)
            elif path[0] in self.settings_cls.model_fields:
                at = values
                for part in path[:-1]:
                    at = at.setdefault(part, {})
                at[path[-1]] = text
                origins[".".join(path)] = f"{self._place} {name}"
        return values | {"origins": origins}

    def _path(self, variable: str) -> tuple[str, ...]:
        """The field that `variable` sets; empty where there is none."""
        name = variable.upper().removeprefix(ENV_PREFIX)
        if name.lower() in self._known:
            return (name.lower(),)
        match = _QUEUE_VARIABLE.fullmatch(name)
        if match and match[2].lower() in self._overridable:
            return ("queue", queue_key(match[1]), match[2].lower())
        return ()

    def _warn(self, name: str) -> None:
        foreign = name in OTHER_VARIABLES or _SERVICE_LINK.fullmatch(f"{name}={self._variables[name]}")
        if foreign or name in _warned:
            return
        _warned.add(name)
        rest = re.sub(r"QUEUE_+", "", name.upper().removeprefix(ENV_PREFIX), count=1)
        queue, separator, _ = rest.rpartition("__")
        ends = [field for field in self._overridable if separator or rest.endswith(f"_{field.upper()}")]
        paths = [("queue", queue or rest[: -len(field) - 1], field) for field in ends]
        candidates = [variable_of(path) for path in [*paths, *((field,) for field in self._known)]]
        sentence = f"{name} ({self._place}) is no setting of microbatch and has no effect"
        # From here up to whoever constructs the settings, through pydantic-settings.
        warnings.warn(sentence + _hint(name.upper(), candidates), UnknownSettingWarning, stacklevel=6)


def plain_error(
    error: ValidationError, origins: Mapping[str, str], fields: Mapping[str, FieldInfo]
) -> SettingsError:
    """One line that names each wrong setting, its value without secrets, and what is allowed."""
    return SettingsError("; ".join(_sentences(error, (), origins, fields)))


def _sentences(
    error: ValidationError,
    above: tuple[str, ...],
    origins: Mapping[str, str],
    fields: Mapping[str, FieldInfo],
) -> Iterator[str]:
    for problem in error.errors():
        path = (*above, *map(str, problem["loc"]))
        inner = problem.get("ctx", {}).get("error")
        if isinstance(inner, SettingsError) and isinstance(inner.__cause__, ValidationError):
            yield from _sentences(inner.__cause__, path, origins, fields)
        elif problem["type"] == "extra_forbidden":
            yield f"{_spelt(path, origins)} is no setting{_hint(path[-1], fields)}"
        else:
            value = redact_url(str(problem["input"])) if path[-1] == "redis_url" else problem["input"]
            yield f"{_spelt(path, origins)} is {value!r:.80}, it must be {_allowed(path[-1], fields)}"


def _spelt(path: tuple[str, ...], origins: Mapping[str, str]) -> str:
    """The setting's name as whoever gave the value wrote it."""
    origin = origins.get(".".join(path), origins.get(path[0]))
    if origin == COMMAND_LINE:
        return "--" + path[-1].replace("_", "-")
    if origin:
        return ".".join(path)
    variable = variable_of(path)
    return variable if any(queue_key(name) == variable for name in os.environ) else f"{variable} (.env)"


def _allowed(name: str, fields: Mapping[str, FieldInfo]) -> str:
    if name == "redis_url":
        return _URLS
    rules = fields[name].metadata if name in fields else []
    bounds = [getattr(rule, end) for end in ("ge", "le") for rule in rules if hasattr(rule, end)]
    if not bounds:
        return "a mapping of queue names to QueueOverrides"
    kinds = (fields[name].annotation, *get_args(fields[name].annotation))
    unit = next((f" of {unit}" for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    return f"a {'whole ' if int in kinds else ''}number{unit} from {bounds[0]:,} to {bounds[1]:,}"


def _hint(wrong: str, names: Iterable[str]) -> str:
    close = get_close_matches(wrong, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
