"""Settings errors: one line that names each wrong setting as its author wrote it, and what it may be.

Rule: no secret and no class name of a library reaches the sentence.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from pydantic import ValidationError

from microbatch.common.errors import SettingsError
from microbatch.common.redis_url import REDIS_URLS, redact_url
from microbatch.common.settings.sources import COMMAND_LINE, did_you_mean, queue_key, variable_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo

__all__ = ["plain_error"]

SECRETS: Final = ("signing_keys", "encryption_keys")
"""Settings of which nothing may be shown."""

_CHECKED: Final = ("redis_url", "monitoring_address", "labels", *SECRETS)

_UNITS: Final = {"_bytes": "bytes", "_ms": "milliseconds", "_s": "seconds"}


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
            yield f"{_spelt(path, origins)} is no setting{did_you_mean(path[-1], fields)}"
        else:
            value = _shown(path[-1], problem["input"])
            # What has a check of its own has a sentence that says more than a range.
            allowed = str(inner) if path[-1] in _CHECKED and inner else _allowed(path[-1], fields)
            yield f"{_spelt(path, origins)} is {value!r:.80}, it must be {allowed}"


def _shown(name: str, value: Any) -> Any:
    if name in SECRETS:
        return "***"
    return redact_url(str(value)) if name == "redis_url" else value


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
        return REDIS_URLS
    field = fields.get(name)
    parts = [*field.metadata, *_parts(field.annotation)] if field else []
    choices = [repr(choice) for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices:
        return f"{', '.join(choices[:-1])} or {choices[-1]}"
    if bool in parts:
        return "true or false"
    bounds = [getattr(part, end) for end in ("ge", "le") for part in parts if hasattr(part, end)]
    if not bounds:
        return "a mapping of queue names to QueueOverrides"
    unit = next((f" of {unit}" for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
    return f"a {'whole ' if int in parts else ''}number{unit} from {bounds[0]:,} to {bounds[1]:,}"


def _parts(annotation: Any) -> Iterator[Any]:
    """The types and the rules that an annotation is made of: those of an optional value sit inside it."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for inner in (*get_args(annotation), *getattr(annotation, "metadata", ())):
            yield from _parts(inner)
