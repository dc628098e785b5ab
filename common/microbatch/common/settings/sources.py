"""Where settings are written (environment, files, `.env`), how names are spelt there, and who wrote a value.

Rule: every value that is no default has an origin that names it as its author wrote it. A name with our
prefix that is no setting is warned about once, with a guess at what was meant, and never fails: platforms add
their own. What the values mean is in `sides.py`, which imports this module and is never imported by it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel
from pydantic_settings import EnvSettingsSource, PydanticBaseSettingsSource

from microbatch.common.errors import SettingsError
from microbatch.common.identifiers import check_queue
from microbatch.common.settings.secret_files import SECRETS_DIR, secret_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

__all__ = [
    "CODE",
    "CODE_SETTINGS",
    "COMMAND_LINE",
    "DEFAULT",
    "ENV_PREFIX",
    "NO_VALUES",
    "OTHER_VARIABLES",
    "UnknownSettingWarning",
    "Variables",
    "did_you_mean",
    "queue_key",
    "variable_of",
    "with_origins",
    "written_places",
]

ENV_PREFIX: Final = "MICROBATCH_"
COMMAND_LINE: Final = "command line"
CODE: Final = "code"
CODE_SETTINGS: Final = "code (settings)"
DEFAULT: Final = "default"
OTHER_VARIABLES: Final = {"MICROBATCH_SERVER_BINARY", SECRETS_DIR}
"""Names with our prefix that are read elsewhere and are no settings."""

NO_VALUES: Final = {"queue", "origins"}
"""Fields that hold other fields."""

_QUEUE_VARIABLE: Final = re.compile(r"QUEUE__([A-Z0-9_.:-]{1,128})__([A-Z_]+)")
# Kubernetes tells every pod about every service: a service `microbatch-redis` makes these of it.
_SERVICE_LINK: Final = re.compile(
    r"MICROBATCH_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
    r"|PORT(?==(tcp|udp|sctp)://))=.*"
)

_warned: set[str] = set()


class UnknownSettingWarning(UserWarning):
    """A `MICROBATCH_` variable that is no setting, most likely a misspelt one: it has no effect."""


def queue_key(queue: str) -> str:
    """How `queue` is spelt in a variable: upper case, with `_` for `-`, `.` and `:`."""
    return re.sub(r"[-.:]", "_", queue).upper()


def variable_of(path: Iterable[object]) -> str:
    """The variable that sets a field, or a queue's field: `("queue", "EMBED", "max_wait_ms")`."""
    return ENV_PREFIX + "__".join(map(str, path)).upper()


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """The end of a sentence about a wrong name: the nearest right one, if one is near."""
    full = {name.removeprefix(ENV_PREFIX): name for name in names}  # the prefix would make all names alike
    close = get_close_matches(wrong.removeprefix(ENV_PREFIX), full, n=1)
    return f"; did you mean {full[close[0]]}?" if close else ""


def with_origins(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a constructor call plus `origins`, its queues spelt as variables spell them."""
    queues: dict[str, dict[str, object]] = {}
    origins = {name: CODE_SETTINGS for name in values if name not in NO_VALUES}
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
    """The settings that one place has: the environment, files, or `.env`. Empty text counts as unset."""

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        place: str,
        found: Mapping[str, str | None],
        *,
        known: Mapping[str, FieldInfo],
        overridable: Mapping[str, FieldInfo],
    ) -> None:
        super().__init__(settings_cls)
        self._place = place
        self._variables = {
            name: text for name, text in found.items() if text and name.upper().startswith(ENV_PREFIX)
        }
        self._known = known.keys() - NO_VALUES
        self._overridable = overridable.keys()

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: `__call__` reads all fields together."""
        raise NotImplementedError(field_name, field)

    def __call__(self) -> dict[str, Any]:
        """What this place says: values by field, and `origins`."""
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
        warnings.warn(sentence + did_you_mean(name.upper(), candidates), UnknownSettingWarning, stacklevel=6)


def written_places(
    settings_cls: type[BaseSettings],
    environment: PydanticBaseSettingsSource,
    dotenv: PydanticBaseSettingsSource,
    *,
    known: Mapping[str, FieldInfo],
    overridable: Mapping[str, FieldInfo],
) -> tuple[Variables, ...]:
    """Where settings are written, the strongest place first.

    Raises:
        SettingsError: Files that were named cannot be read.
    """
    found: dict[str, Mapping[str, str | None]] = {
        "environment": environment.env_vars if isinstance(environment, EnvSettingsSource) else {},
        "file": secret_files(os.environ, ENV_PREFIX),
        ".env": dotenv.env_vars if isinstance(dotenv, EnvSettingsSource) else {},
    }
    return tuple(
        Variables(settings_cls, place, names, known=known, overridable=overridable)
        for place, names in found.items()
    )
