"""Payloads and results as JSON: what msgpack says and JSON does not.

Rule: what `json_text` writes is valid JSON on one line without a character that steers a terminal, and
`parse_json` reads the same value back, but for two things: a datetime becomes its ISO 8601 text, a tuple a
list. Bytes are `{"$bytes": base64}`; the numbers that JSON lacks are `{"$float": "NaN"}`, `"Infinity"` and
`"-Infinity"`. A dict that only looks like one of these gets one more `$` in its key.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from datetime import datetime
from typing import Any

__all__ = ["BadJson", "json_text", "parse_json", "printable_json"]

_LOOKS_SPECIAL = re.compile(r"\$+(bytes|float)")
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class BadJson(ValueError):
    """Text that is no JSON value, or none that can be a payload; the sentence says where and why."""


def json_text(value: Any) -> str:
    """`value` as one line of JSON.

    Raises:
        BadJson: It is nested too deep; no payload or result is.
    """
    try:
        text = json.dumps(_to_json(value), ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise BadJson("nested too deep to be shown") from None
    return printable_json(text)


def printable_json(text: str) -> str:
    r"""JSON that says the same, with every character that could steer a terminal as `\u001b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def parse_json(text: str) -> Any:
    """The value that `text` says.

    Raises:
        BadJson: It says none.
    """
    try:
        return json.loads(text, object_pairs_hook=_from_pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno} column {error.colno}"
        raise BadJson(f"not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise BadJson("nested too deep") from None
    except BadJson:
        raise
    except ValueError as error:  # a number with more digits than Python converts
        raise BadJson(f"not usable: {error}") from None


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return _dict_to_json(value)
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    return value


def _dict_to_json(value: dict[Any, Any]) -> dict[str, Any]:
    # A key of bytes is none of ours, and still has to be shown.
    shown = {
        key if isinstance(key, str) else key.decode("utf-8", "backslashreplace"): _to_json(item)
        for key, item in value.items()
    }
    if len(shown) == 1:
        (key,) = shown
        if _LOOKS_SPECIAL.fullmatch(key):
            return {f"${key}": shown[key]}
    return shown


def _from_pairs(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) != 1 or not _LOOKS_SPECIAL.fullmatch(pairs[0][0]):
        return dict(pairs)
    key, value = pairs[0]
    if key == "$bytes":
        return _bytes(value)
    if key == "$float":
        if not isinstance(value, str) or value not in _FLOATS:
            raise BadJson('"$float" has to be one of "NaN", "Infinity" and "-Infinity"')
        return _FLOATS[value]
    return {key[1:]: value}


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error):
            pass
    raise BadJson('"$bytes" has to be text in base64')


def _refuse_constant(name: str) -> Any:
    raise BadJson(f'{name} is not JSON: write {{"$float": "{name}"}}')
