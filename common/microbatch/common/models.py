"""Models as values that travel: pydantic models and dataclasses, and what they hold, in the codec's words.

Rule: only what the codec refused comes here, so that plain values pay nothing. A model becomes the dict of
its fields. In it moments and bytes stay what they are, and what msgpack has no word for becomes what people
would write: a UUID, a decimal number, a date as text, an enum's value, a set as a list. Outside of models
such values are refused, as ever.
"""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from microbatch.common.codec import MAX_DEPTH, encode
from microbatch.common.errors import PayloadError, PayloadTooLarge

__all__ = ["encode_model"]


def encode_model(value: Any, refusal: PayloadError, *, limit_bytes: int | None = None) -> bytes:
    """Encode a value that the codec refused, where that was because of models in it.

    Args:
        value: The value.
        refusal: Why it was refused.
        limit_bytes: The largest encoded size; None for no limit.

    Raises:
        PayloadError: There is something in it that cannot travel, with models as dicts either.
        PayloadTooLarge: The encoded value is above `limit_bytes`.
    """
    if isinstance(refusal, PayloadTooLarge):
        raise refusal
    return encode(_dumped(value, MAX_DEPTH), limit_bytes=limit_bytes)


def _dumped(value: Any, depth: int) -> Any:
    """The same value with its models as dicts."""
    if isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return _spoken(_adapter(type(value)).dump_python(value), depth)
    if depth and type(value) is dict:
        return {key: _dumped(item, depth - 1) for key, item in value.items()}
    if depth and type(value) in (list, tuple):
        return [_dumped(item, depth - 1) for item in value]
    return value


def _spoken(value: Any, depth: int) -> Any:
    """What a model holds, in the codec's words; where it has none the codec says so."""
    if isinstance(value, Enum):
        value = value.value
    if depth and isinstance(value, dict):
        return {_spoken(key, 0): _spoken(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_spoken(item, depth - 1) for item in value]
    if isinstance(value, UUID | Decimal | PurePath):
        return str(value)
    if isinstance(value, date | time) and not isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value


@cache
def _adapter(model: type) -> TypeAdapter[Any]:
    return TypeAdapter(model)
