"""What a hostile peer may write: bytes at random, and bytes that are almost right.

Rule: almost right finds more than random, so most of it is made of true messages that are cut, spliced,
doubled and overwritten, and of values of the wrong type in the right place.
"""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import strategies as st

__all__ = ["VALUES", "damaged", "hashes", "packed", "texts"]

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=8)),
    st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999)),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=6), st.integers(0, 9), st.binary(max_size=3)), inner, max_size=3
        ),
    ),
    max_leaves=12,
)
_BOMBS = st.sampled_from(
    [
        b"",
        b"\xc1",
        b"\x91" * 101,
        b"\x91" * 5_000,
        b"\x81\xa1k" * 500,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\x7f\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xc6\xff\xff\xff\xff",
        b"\xd6\xff\xff\xff\xff\xff",
    ]
)


def packed(value: Any) -> bytes:
    """Any value as msgpack, also one that no payload may hold."""
    data: bytes = msgpack.packb(value, datetime=True)
    return data


@st.composite
def damaged(draw: st.DrawFn, *models: bytes) -> bytes:
    """One of `models` after an accident; or a value of another kind, a bomb, anything."""
    kind = draw(st.sampled_from(["cut", "overwritten", "spliced", "doubled", "foreign", "bomb", "any"]))
    if kind == "foreign":
        return packed(draw(VALUES))
    if kind == "bomb":
        return draw(_BOMBS)
    if kind == "any" or not models:
        return draw(st.binary(max_size=60))
    model = draw(st.sampled_from(models))
    at = draw(st.integers(0, len(model)))
    if kind == "cut":
        return model[:at]
    if kind == "doubled":
        return model + model[at:]
    extra = draw(st.binary(min_size=1, max_size=6))
    return model[:at] + extra + model[at + (len(extra) if kind == "overwritten" else 0) :]


def texts(*models: str) -> st.SearchStrategy[str]:
    """Text as people and programs write it wrong."""
    broken = damaged(*(model.encode() for model in models)).map(lambda data: data.decode("utf-8", "replace"))
    return st.one_of(broken, st.text(max_size=80), st.sampled_from(models))


_NUMBERS = st.one_of(
    st.integers(-5, 10**20).map(lambda number: str(number).encode()),
    st.sampled_from([b"9" * 5_000, b"nan", b"-1", b"1e9", b"", b"0x1", "\u0663".encode()]),
)


def hashes(*names: str) -> st.SearchStrategy[dict[bytes, bytes]]:
    """Fields of a record, an entry or a schedule, with anything in them."""
    field = st.one_of(damaged(packed({"type": "E", "message": "m", "traceback": ""})), _NUMBERS)
    return st.dictionaries(
        st.one_of(st.sampled_from([name.encode() for name in names]), st.binary(max_size=6)),
        field,
        max_size=8,
    )
