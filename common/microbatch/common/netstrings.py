"""Netstrings: several byte strings in one field, as the scripts pack them (`5:hello3:abc`).

Rule: reading is total; what no script wrote is a `ProtocolError`. Nothing is decoded here.
"""

from __future__ import annotations

from microbatch.common.errors import ProtocolError

__all__ = ["read_netstrings"]

_SIZE_DIGITS = 10


def read_netstrings(packed: bytes) -> list[bytes]:
    """The strings, in order.

    Raises:
        ProtocolError: It is no run of netstrings.
    """
    found: list[bytes] = []
    at = 0
    while at < len(packed):
        colon = packed.find(b":", at, at + _SIZE_DIGITS + 1)
        size = packed[at : max(colon, at)]
        if not size.isdigit() or colon + 1 + int(size) > len(packed):
            raise ProtocolError("a field that should hold netstrings holds something else")
        at = colon + 1 + int(size)
        found.append(packed[colon + 1 : at])
    return found
