"""The typed side of `dead_letters.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from microbatch.common.keys import QueueKeys

__all__ = ["RawLetter", "dead_letters"]


@dataclass(frozen=True, slots=True)
class RawLetter:
    """A dead letter as it is stored: the entry's own fields, and those that begin with `dead_`."""

    letter_id: str
    fields: dict[bytes, bytes]


def dead_letters(keys: QueueKeys, *, newest: str = "+", count: int = 100) -> Call[list[RawLetter]]:
    """A page of dead letters, the newest first; `newest="(" + letter_id` goes on behind that one."""
    return Call(load("dead_letters"), keys.prefix, (newest, count), _parse)


def _parse(reply: Any) -> list[RawLetter]:
    return [RawLetter(letter_id.decode(), _first_wins(flat or [])) for letter_id, flat in reply]


def _first_wins(flat: list[bytes]) -> dict[bytes, bytes]:
    """Ours come first, and a foreign entry may bear fields of the same names."""
    fields: dict[bytes, bytes] = {}
    for name, value in zip(flat[::2], flat[1::2], strict=False):
        fields.setdefault(name, value)
    return fields
