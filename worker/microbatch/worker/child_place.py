"""Where a run takes place, as a child process has to know it: what log lines say, and the current span.

Rule: names and ids alone, as plain text. The worker says what holds where it asks, the child works within.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from microbatch.common.log_context import bound, bound_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

__all__ = ["here", "within"]


def here() -> tuple[dict[str, str], dict[str, str]]:
    """What is bound here, and the current span's context."""
    tracing = sys.modules.get("microbatch.common.tracing")  # only there where tracing is on
    return dict(bound_facts()), tracing.carrier_here() if tracing else {}


@contextmanager
def within(facts: Mapping[str, str], carrier: Mapping[str, str]) -> Iterator[None]:
    """The same place in another process."""
    with bound(**facts), _within_span(carrier) if carrier else nullcontext():
        yield


def _within_span(carrier: Mapping[str, str]) -> AbstractContextManager[None]:
    from microbatch.common.tracing import carried  # noqa: PLC0415 - an extra

    return carried(carrier)
