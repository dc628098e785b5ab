"""Values on the wire: msgpack, and nothing that msgpack cannot say exactly.

Rule: what `encode` accepts, `decode` gives back (a tuple comes back as a list); everything else is a
`PayloadError` that names the type and the place, at the sender. `decode` turns whatever a hostile peer
sends into a value or a typed error. Nothing here ever builds an object of a class named by a message.
"""

from __future__ import annotations

import gc
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from microbatch.common.errors import PayloadError, PayloadTooLarge, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LIMITS",
    "MAX_DEPTH",
    "SEAL_TYPES",
    "Limits",
    "decode",
    "encode",
    "encode_error",
    "is_deeper",
    "too_deep",
    "unpack",
    "unpacker",
]

SEAL_TYPES = (1, 2)
"""The extension types of signed and encrypted values, which `seals/` opens."""

MAX_DEPTH = 100
"""The deepest nesting of lists and dicts that travels."""


class Limits(NamedTuple):
    """What a value that is read may be: `size_bytes` encoded, `depth` levels, `items` in one list or dict."""

    size_bytes: int = 64 << 20
    depth: int = MAX_DEPTH
    items: int = 64 << 20


LIMITS = Limits()
"""What the protocol allows."""

_PLAIN_DEPTH = 8  # how deep the quick look goes; what is nested deeper takes the long one
_Trail = tuple[Any, Any] | None  # where a value is: (the trail to its container, its key or index there)
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_CONTAINERS = frozenset({list, dict})
_KEYS = frozenset({str})


class _PerThread(threading.local):
    """One packer per thread: creating one costs several small packs, sharing one mixes up two values."""

    def __init__(self) -> None:
        self.packer = msgpack.Packer(datetime=True)


_per_thread = _PerThread()


def encode(value: Any, *, limit_bytes: int | None = None) -> bytes:
    """Encode a payload or a result.

    Args:
        value: None, bool, int (64 bit), float, str, bytes, list, tuple, dict with str keys, or aware
            datetime, nested at most `MAX_DEPTH` deep.
        limit_bytes: The largest encoded size; None for no limit.

    Raises:
        PayloadError: Something inside cannot travel; the sentence names its type and place.
        PayloadTooLarge: The encoded value is above `limit_bytes`.
    """
    if type(value) not in _SCALARS and not _is_plain(value, _PLAIN_DEPTH):
        _check(value, None, 0)
    try:
        data: bytes = _per_thread.packer.pack(value)
    except OverflowError:
        raise PayloadError("an int beyond 64 bits cannot travel") from None
    except UnicodeEncodeError as error:
        raise PayloadError("a str with a lone surrogate, which is no valid Unicode, cannot travel") from error
    except (ValueError, TypeError) as error:
        raise PayloadError(f"this value cannot travel: {error}") from error
    if limit_bytes is not None and len(data) > limit_bytes:
        raise PayloadTooLarge(len(data), limit_bytes)
    return data


def _is_plain(value: Any, depth: int) -> bool:
    """Whether nothing in a value can be wrong: containers of the exact types, a few levels deep.

    Most payloads are. It runs for every job, so it builds no trail and looks at types in C.
    """
    kind = type(value)
    if kind is dict:
        if not _KEYS.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return False
    if _SCALARS.issuperset(map(type, value)):
        return True
    if not depth:
        return False
    for item in value:  # noqa: SIM110 - a generator costs more than the look
        if type(item) not in _SCALARS and not _is_plain(item, depth - 1):
            return False
    return True


def _check(value: Any, trail: _Trail, depth: int) -> None:
    """Walk containers: msgpack itself would let int keys through and name no place.

    It runs for what `_is_plain` does not vouch for, and makes a sentence only for an error.
    """
    kind = type(value)
    if kind is dict or isinstance(value, dict):
        _check_depth(trail, depth)
        for key, item in value.items():
            if type(key) is not str and not isinstance(key, str):
                raise _refusal(f"a dict key of type {type(key).__name__}", trail)
            if type(item) not in _SCALARS:
                _check(item, (trail, key), depth + 1)
    elif kind is list or kind is tuple or isinstance(value, (list, tuple)):
        _check_depth(trail, depth)
        if not _SCALARS.issuperset(map(type, value)):
            for index, item in enumerate(value):
                if type(item) not in _SCALARS:
                    _check(item, (trail, index), depth + 1)
    else:
        _check_leaf(value, trail)


def _check_leaf(value: Any, trail: _Trail) -> None:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise _refusal("a datetime without a time zone", trail)
    elif not isinstance(value, (bool, int, float, str, bytes)):
        raise _refusal(f"a value of type {type(value).__name__}", trail)


def _refusal(what: str, trail: _Trail) -> PayloadError:
    return PayloadError(f"{what} cannot travel, at {_place(trail)}")


def _check_depth(trail: _Trail, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise PayloadError(f"nested deeper than {MAX_DEPTH} levels at {_place(trail)[:60]}...")


def _place(trail: _Trail) -> str:
    keys: list[str] = []
    while trail is not None:
        trail, key = trail
        keys.append(f"[{key!r}]")
    return "value" + "".join(reversed(keys))


def decode(data: bytes, limits: Limits = LIMITS) -> Any:
    """Decode a payload or a result.

    Raises:
        ProtocolError: The bytes are not one value that `encode` can have written, or are beyond `limits`.
    """
    value = unpack(data, limits)
    if len(data) > limits.depth and type(value) not in _SCALARS and is_deeper(value, limits.depth):
        raise too_deep(limits.depth)
    return value


def too_deep(depth: int) -> ProtocolError:
    """The error of a value that has more than `depth` levels."""
    return ProtocolError(f"a value that is nested deeper than {depth} levels")


def unpack(data: bytes, limits: Limits) -> Any:
    """Decode a value, but for its depth: whoever has many looks at all of them at once (`is_deeper`).

    Size and counts are refused before anything is built. msgpack itself keeps its place on a stack of 1,024
    levels, so that no nesting makes it recurse; what it lets through is measured level by level.

    Raises:
        ProtocolError: As for `decode`, but for the depth.
    """
    size_bytes = len(data)
    if size_bytes > limits.size_bytes:
        raise ProtocolError(f"{size_bytes:,} bytes, where the limit is {limits.size_bytes:,}")
    try:
        if size_bytes <= limits.items:  # it cannot hold more: each item takes a byte, and msgpack knows that
            return msgpack.unpackb(data, timestamp=3, ext_hook=_refuse_extension, strict_map_key=True)
        return msgpack.unpackb(
            data,
            timestamp=3,
            ext_hook=_refuse_extension,
            strict_map_key=True,
            max_array_len=limits.items,
            max_map_len=limits.items,
        )
    except ProtocolError:
        raise
    except Exception as error:  # hostile bytes raise many types: ValueError, OverflowError, RecursionError
        raise ProtocolError(
            f"{size_bytes} bytes that are not a msgpack value: {type(error).__name__}"
        ) from error


def is_deeper(value: Any, depth: int) -> bool:
    """Whether a decoded value has more levels of lists and dicts than `depth`.

    The collector knows what holds what: it walks in C, level by level, and scalars hold nothing.
    """
    level = value if type(value) is list else value.values() if type(value) is dict else ()
    for _ in range(depth - 1):
        level = gc.get_referents(*level)
        if not level:
            return False
    return not _CONTAINERS.isdisjoint(map(type, level))


def unpacker(size_bytes: int, on_extension: Callable[[int, bytes], Any] | None = None) -> msgpack.Unpacker:
    """A stream of values, for messages that carry several; its errors are the caller's to translate.

    `size_bytes`: how much will be fed; without it a few bytes could claim a list of gigabytes.
    `on_extension`: what to make of an extension type; None: an error.
    """
    hook = on_extension or _refuse_extension
    return msgpack.Unpacker(
        timestamp=3, ext_hook=hook, strict_map_key=True, max_buffer_size=max(1, size_bytes)
    )


def _refuse_extension(code: int, _data: bytes) -> Any:
    if code in SEAL_TYPES:
        raise ProtocolError("a sealed value, and there are no keys for it here")
    raise ValueError(f"msgpack extension type {code}")


def encode_error(error_type: str, message: str, traceback: str = "") -> bytes:
    """Encode an error that takes a result's place; never fails, whatever an exception put into its text."""
    fields = {"type": error_type, "message": message, "traceback": traceback}
    clean = {key: text.encode("utf-8", "replace").decode() for key, text in fields.items()}
    data: bytes = _per_thread.packer.pack(clean)
    return data
