"""The contenders, by name: the limit, microbatch, and those peers that are installed.

Rule: a contender is imported only in the processes that run it, so that none pays for another. One whose
package is not installed is left out, and the run says so.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Contender

__all__ = ["CONTENDERS", "LIMIT", "LIMIT_MSGPACK", "OURS", "PEERS", "contender", "missing_package"]

LIMIT = "limit"
LIMIT_MSGPACK = "limit-msgpack"
OURS = "microbatch"
PEERS = ("saq", "huey")

_WHERE = {
    LIMIT: ("benchmarks.contenders.limit", "JSON_LIMIT"),
    LIMIT_MSGPACK: ("benchmarks.contenders.limit", "MSGPACK_LIMIT"),
    OURS: ("benchmarks.contenders.ours", "CONTENDER"),
    **{peer: (f"benchmarks.contenders.peers.{peer}", "CONTENDER") for peer in PEERS},
}
CONTENDERS = tuple(_WHERE)
"""All names, installed or not."""


def contender(name: str) -> Contender:
    """Import a contender."""
    module, attribute = _WHERE[name]
    return cast("Contender", getattr(importlib.import_module(module), attribute))


def missing_package(name: str) -> str | None:
    """The package that a contender needs and that is not installed here."""
    return name if name in PEERS and find_spec(name) is None else None
