"""Models travel as the dicts of their fields; what is no model is refused as ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from microbatch.common.codec import decode, encode
from microbatch.common.errors import PayloadError, PayloadTooLarge
from microbatch.common.models import encode_model

AT = datetime(2030, 1, 31, 9, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


class Point(BaseModel):
    x: int
    y: float = 0.5


@dataclass
class Line:
    points: list[Point]
    colour: Colour = Colour.RED
    at: datetime = AT
    raw: bytes = b"\x00"


class Odd(BaseModel):
    id: UUID = UUID(int=7)
    price: Decimal = Decimal("1.50")
    day: date = date(2030, 1, 31)
    wait: timedelta = timedelta(seconds=90)
    path: PurePosixPath = PurePosixPath("/tmp/x")  # noqa: S108 - only a name
    tags: frozenset[int] = frozenset({3})
    by_colour: dict[Colour, int] = {Colour.RED: 1}


def travelled(value: Any, limit_bytes: int | None = None) -> Any:
    with pytest.raises(PayloadError) as refused:
        encode(value)
    return decode(encode_model(value, refused.value, limit_bytes=limit_bytes))


def test_models_and_dataclasses_become_dicts_wherever_they_are() -> None:
    line = {"points": [{"x": 1, "y": 0.5}], "colour": "red", "at": AT, "raw": b"\x00"}
    assert travelled(Line([Point(x=1)])) == line
    assert travelled({"lines": [Line([Point(x=1)])], "n": (1, Point(x=2))}) == {
        "lines": [line],
        "n": [1, {"x": 2, "y": 0.5}],
    }


def test_in_a_model_everything_has_a_word() -> None:
    assert travelled(Odd()) == {
        "id": "00000000-0000-0000-0000-000000000007",
        "price": "1.50",
        "day": "2030-01-31",
        "wait": 90.0,
        "path": "/tmp/x",  # noqa: S108 - only a name
        "tags": [3],
        "by_colour": {"red": 1},
    }


@pytest.mark.parametrize(
    "value", [{1, 2}, UUID(int=7), Decimal(1), date(2030, 1, 31), Colour.RED, object(), Point]
)
def test_outside_of_models_nothing_has_changed(value: object) -> None:
    for place in (value, [value], {"a": value}):
        with pytest.raises(PayloadError) as refused:
            encode(place)
        with pytest.raises(PayloadError, match=type(value).__name__):
            encode_model(place, refused.value)


def test_a_model_that_is_too_large_or_holds_the_impossible_is_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        travelled(Point(x=1), limit_bytes=3)
    with pytest.raises(PayloadTooLarge):
        encode_model("text", PayloadTooLarge(9, 3), limit_bytes=3)

    class Loose(BaseModel):
        what: Any = None

    with pytest.raises(PayloadError, match="64 bits"):
        travelled(Loose(what=1 << 70))
    with pytest.raises(PayloadError, match="time zone"):
        travelled(Loose(what=datetime(2030, 1, 31)))  # noqa: DTZ001 - that is what is refused
