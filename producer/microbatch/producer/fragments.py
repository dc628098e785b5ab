"""Fragments: what workers push to a client, one msgpack array per finished job.

Rule: a message is a stream of `[local id, state, value]`, or `[local id, state]` where only the record
has the value. A message with anything else in it is refused whole: the records know better.

Pure: bytes in, values out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from microbatch.common.codec import MAX_DEPTH, is_deeper, unpacker
from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.states import FINAL_STATES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WITH_VALUE", "Seal", "parse_fragments"]

WITH_VALUE = 3
"""The length of a fragment that carries its value."""

_BARE = 2
_FINAL = frozenset(str(state) for state in FINAL_STATES)


class Seal(bytes):
    """A sealed value as it came, encoded."""

    __slots__ = ()


def parse_fragments(message: bytes, *, sealed: bool = False) -> list[list[Any]]:
    """Read one message; `sealed`: a value may be a seal, which stays encoded in its place.

    Returns:
        Lists of `[local, state, value]` or `[local, state]`, both of the two str. A state that this version
        does not know makes the fragment a bare one.

    Raises:
        ProtocolError: The message is not a stream of fragments.
    """
    seals: dict[int, bytes] = {}

    def keep(code: int, data: bytes) -> bytes:
        seal: bytes = msgpack.packb(msgpack.ExtType(code, data))
        seals[id(seal)] = seal
        return seal

    fragments = _values(message, keep if sealed else None)
    if len(message) > MAX_DEPTH and is_deeper(fragments, MAX_DEPTH + _BARE):
        raise ProtocolError(f"a message with a value that is nested deeper than {MAX_DEPTH} levels")
    for fragment in fragments:
        if type(fragment) is not list or not _BARE <= len(fragment) <= WITH_VALUE:
            raise ProtocolError("a message with something else than fragments in it")
        if type(fragment[0]) is not str or type(fragment[1]) is not str:
            raise ProtocolError("a fragment without id or state")
        if fragment[1] not in _FINAL:
            seals.pop(id(fragment[-1]), None)
            del fragment[_BARE:]
    if seals:
        _mark(fragments, seals)
    return fragments


def _values(message: bytes, on_extension: Callable[[int, bytes], Any] | None) -> list[Any]:
    stream = unpacker(len(message), on_extension)
    values: list[Any] = []
    whole = 0
    try:
        stream.feed(message)
        for value in stream:
            values.append(value)
            whole = stream.tell()  # at the end it would count a fragment that is cut off
    except Exception as error:  # hostile bytes raise many types, as in `codec.decode`
        raise ProtocolError(f"a message of {len(message)} bytes that is not msgpack") from error
    if whole != len(message):
        raise ProtocolError(f"a message of {len(message)} bytes that ends inside a fragment")
    return values


def _mark(fragments: list[list[Any]], seals: dict[int, bytes]) -> None:
    for fragment in fragments:
        if len(fragment) == WITH_VALUE and id(fragment[2]) in seals:
            fragment[2] = Seal(seals.pop(id(fragment[2])))
    if seals:
        raise ProtocolError("a message with a seal that is not all of a result")
