"""A producer's share of the work while it is being done: handed out, checked, timed, reported.

Rule: a result counts only when it was checked against what this producer computed by itself. Safe for
threads. It never talks to Redis: how jobs travel is `producer.py`'s matter.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Literal, Self

from microbatch.common.errors import JobFailed, MicrobatchError
from microbatch.console.demo.corpus import Docstring, count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Item", "Outcome", "Report", "Work"]

_PROGRESS_INTERVAL_S = 0.1

Ending = Literal["result", "failed", "silent", "refused"]
"""A result; an error as the result; accepted and nothing came; not accepted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one job went, as its producer saw it.

    Attributes:
        number: Which docstring of the pass it was.
        ending: How it ended.
        job_id: Its full id; empty where it was not accepted.
        row: The row that the result names; 0 without a result.
        tokens_match: Whether the result has this docstring's number of words.
        latency_ms: From before the submit to the result in hand.
        error: What went wrong; empty where nothing did.
    """

    number: int
    ending: Ending
    job_id: str = ""
    row: int = 0
    tokens_match: bool = False
    latency_ms: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a producer did: every outcome, and how long it took from the signal to begin."""

    outcomes: tuple[Outcome, ...]
    elapsed_s: float

    def to_line(self) -> str:
        """The report as one line of JSON."""
        rows = [[getattr(each, name) for name in Outcome.__slots__] for each in self.outcomes]
        return json.dumps({"elapsed_s": self.elapsed_s, "outcomes": rows})

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """Read what `to_line` wrote, decoded."""
        return cls(tuple(Outcome(*row) for row in message["outcomes"]), message["elapsed_s"])


class Item:
    """One job on its way: `accepted` by the queue, then `answered`; or `went_wrong`."""

    def __init__(self, work: Work, number: int, docstring: Docstring) -> None:
        self.payload = {"name": docstring.name, "text": docstring.text}
        self._work = work
        self._number = number
        self._tokens = count_tokens(cleandoc(docstring.text))
        self._job_id = ""
        self._started_s = time.perf_counter()

    def accepted(self, job_id: str) -> None:
        """The queue has it."""
        self._job_id = job_id

    def answered(self, result: dict[str, int]) -> None:
        """Its result is here."""
        latency_ms = (time.perf_counter() - self._started_s) * 1000
        match = result["tokens"] == self._tokens
        self._work.note(
            Outcome(self._number, "result", self._job_id, result["row"], match, round(latency_ms, 3))
        )

    def went_wrong(self, error: MicrobatchError) -> None:
        """There will be no result."""
        ending: Ending = "refused"
        if self._job_id:
            ending = "failed" if isinstance(error, JobFailed) else "silent"
        self._work.note(Outcome(self._number, ending, self._job_id, error=f"{type(error).__name__}: {error}"))


class Work:
    """The share: iterating it hands out the next item, to whichever task or thread asks.

    Args:
        share: The docstrings with their numbers.
    """

    def __init__(self, share: Sequence[tuple[int, Docstring]]) -> None:
        self._share = iter(share)
        self._mutex = threading.Lock()
        self._outcomes: list[Outcome] = []
        self._told_s = 0.0
        self._given_up = False
        self._started_s = time.perf_counter()

    def __iter__(self) -> Iterator[Item]:
        while (item := self._next()) is not None:
            yield item

    def note(self, outcome: Outcome) -> None:
        """Keep an outcome and tell the demo how far this producer is."""
        with self._mutex:
            self._outcomes.append(outcome)
            # Where one result did not come in all the time that it was given, nobody waits for the rest.
            self._given_up = self._given_up or outcome.ending == "silent"
            now_s = time.perf_counter()
            if now_s - self._told_s >= _PROGRESS_INTERVAL_S:
                self._told_s = now_s
                print(json.dumps({"done": len(self._outcomes)}), flush=True)

    def report(self) -> Report:
        """Everything, after the end."""
        return Report(tuple(self._outcomes), time.perf_counter() - self._started_s)

    def _next(self) -> Item | None:
        with self._mutex:
            number, docstring = next(self._share, (0, None))
        return None if docstring is None or self._given_up else Item(self, number, docstring)
