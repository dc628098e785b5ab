"""Which parts of a batch to run again after the processor raised for the whole, until culprits stand alone.

Rule: a pure plan, told only how each run ended. With k culprits among n jobs it takes at most 2 * k * log2(n)
runs: what is known to hold a culprit (the whole raised, its first half did not) is split without a run. Every
job that is left runs alone or in a part that succeeds, so that none is blamed by inference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Ending", "halves"]

Ending = Literal["clean", "raised", "decided"]
"""How a run ended: answered; raised, so that somebody in it is to blame; with one verdict for all of it."""


def halves(start: int, stop: int) -> Generator[tuple[int, int], Ending, None]:
    """The parts of jobs `start` to `stop` (for which the processor raised) to run, each as (start, stop).

    Send it how the run of a part ended, and it yields the next part, until there is none.
    """
    middle = start + (stop - start) // 2
    first = yield start, middle
    if first == "raised" and middle - start > 1:
        yield from halves(start, middle)
    if first == "clean" and stop - middle > 1:
        yield from halves(middle, stop)
        return
    second = yield middle, stop
    if second == "raised" and stop - middle > 1:
        yield from halves(middle, stop)
