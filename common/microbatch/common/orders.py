"""Orders: what operators can tell workers to do, as words that both sides agree on.

Rule: this table is all there is. An order is a name and named values of it, checked by the same function
before it is sent and before it is carried out. Reading is total: what somebody broke is an order that nobody
carries out. How orders travel is in `order.lua`; who carries them out is the worker's foreman.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from microbatch.common.codec import Limits, decode, encode
from microbatch.common.errors import MicrobatchError
from microbatch.common.limits import check_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ORDERS", "Answer", "Order", "OrderKind", "check_order"]

MOST_ANSWER_BYTES: Final = 128 * 1024
LEVELS: Final = ("debug", "info", "warning", "error")
_CONCURRENCY_LIMIT: Final = 1_000
_LOGGER: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_WHO_LIMIT: Final = 100


def _concurrency(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= _CONCURRENCY_LIMIT:
        raise ValueError(f"concurrency={value}: it takes a whole number from 1 to {_CONCURRENCY_LIMIT:,}")
    return str(int(value))


def _level(value: str) -> str:
    if value.lower() not in LEVELS:
        raise ValueError(f"level={value}: it takes {', '.join(LEVELS)}")
    return value.lower()


def _logger(value: str) -> str:
    if not _LOGGER.fullmatch(value):
        raise ValueError(f"logger={value!r:.80}: it takes the dotted name of a logger")
    return value


@dataclass(frozen=True, slots=True)
class OrderKind:
    """One order that there is.

    Attributes:
        meaning: What it does.
        values: What can be said with it, and how each is checked.
        required: Those that must be said; with `set`, one at least.
        by_queue: Whether it concerns the queue through which it came, and not the whole worker.
    """

    meaning: str
    values: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    by_queue: bool = False


ORDERS: Final[Mapping[str, OrderKind]] = {
    "quiet": OrderKind("claim nothing new; what runs is finished"),
    "resume": OrderKind("claim again"),
    "stop": OrderKind("drain and leave, as on TERM"),
    "resize": OrderKind(
        "run so many batches of a queue at a time",
        {"concurrency": _concurrency},
        ("concurrency",),
        by_queue=True,
    ),
    "set": OrderKind(
        "limit the batches of the queue, for all its workers",
        {
            "max_batch_size": lambda value: check_limit("max_batch_size", value),
            "max_wait_ms": lambda value: check_limit("max_wait_ms", value),
        },
        by_queue=True,
    ),
    "ping": OrderKind("answer"),
    "stats": OrderKind("tell what it has done, and what it uses"),
    "dump": OrderKind("tell where each of its threads is, and which batches are open"),
    "log-level": OrderKind("log more, or less", {"level": _level, "logger": _logger}, ("level",)),
}
"""Each order by its name."""


def check_order(name: str, values: Mapping[str, str]) -> dict[str, str]:
    """The values of an order as they are sent.

    Raises:
        ValueError: No such order, or not values for it; the sentence says what would be.
    """
    kind = ORDERS.get(name)
    if kind is None:
        raise ValueError(f"no order {name!r:.80}; there are {', '.join(ORDERS)}")
    strange = [each for each in values if each not in kind.values]
    if strange:
        takes = " and ".join(kind.values) or "nothing"
        raise ValueError(f"{name} takes {takes}, not {strange[0]!r:.80}")
    missing = [each for each in kind.required if each not in values]
    if missing or (name == "set" and not values):
        raise ValueError(f"{name} needs {missing[0] if missing else ' or '.join(kind.values)}")
    return {each: kind.values[each](value) for each, value in values.items()}


@dataclass(frozen=True, slots=True)
class Order:
    """One order, as it travels.

    Attributes:
        id: By which it is carried out at most once by each worker.
        name: What to do.
        values: With what.
        who: Who says so.
    """

    id: str
    name: str
    values: Mapping[str, str]
    who: str

    def text(self) -> str:
        """As it is written: a line of words, then who says so."""
        words = [self.name, *(f"{name}={value}" for name, value in self.values.items())]
        return f"{' '.join(words)}\n{' '.join(self.who.split())[:_WHO_LIMIT] or '-'}"

    @classmethod
    def read(cls, order_id: bytes, text: bytes) -> Order:
        """Read what is written; what cannot be understood is found by `check_order`."""
        line, _, who = text.decode("utf-8", "replace").partition("\n")
        name, *words = line.split(" ")
        pairs = [word.partition("=") for word in words]
        return cls(order_id.decode("ascii", "replace"), name, {key: value for key, _, value in pairs}, who)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says to an order.

    Attributes:
        status: `done`; `refused`: it makes no sense there, `error` says why; `failed`: a bug of ours.
        value: What it tells.
        error: Why not.
    """

    status: Literal["done", "refused", "failed"]
    value: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    def encoded(self) -> bytes:
        """As it is written."""
        return encode({"status": self.status, "value": dict(self.value), "error": self.error})

    @classmethod
    def read(cls, data: bytes) -> Answer:
        """Read what is written; what is none is a failure that says so."""
        try:
            raw = decode(data, Limits(MOST_ANSWER_BYTES, 10, 10_000))
        except MicrobatchError as error:
            return cls("failed", error=f"the answer cannot be read: {error}")
        match raw:
            case {
                "status": ("done" | "refused" | "failed") as status,
                "value": dict(value),
                "error": str(why),
            }:
                return cls(status, {str(name): _told(each) for name, each in value.items()}, why)
        return cls("failed", error="the answer cannot be read: it is something else")


def _told(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
