"""What the model knows of each job and each batch: pure bookkeeping beside the real queue.

Rule: no I/O. A job is open with a carrier (an entry or a place in the schedule), open without one (somebody
deleted it), or final with one outcome of its present run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from microbatch.common.scripts import SettleCode

if TYPE_CHECKING:
    from microbatch.common.jobs.entry import Entry

__all__ = ["FINAL", "Job", "ModelBatch"]

FINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})


@dataclass
class Job:
    """One accepted job.

    Attributes:
        payload: Tells it from another submit under the same id.
        home: The lane that it asked for.
        state: As its record says.
        token: Its live entry; empty where it has none.
        carried: Whether what carries it is still there.
        holder: The batch that its entry is delivered to; empty where nobody has it.
        due: Whether it is scheduled and its time has come.
        late: Whether its deadline has passed.
        value: Its outcome's value, once final.
        run: Which run this is.
        past: The errors of earlier runs.
        crashes: How many workers died running it alone, in this run.
        written_by: The batch that last wrote an outcome of this run.
        letter: Whether it has a dead letter, and whether that one can be run again.
    """

    payload: int
    home: str = "main"
    state: str = "queued"
    token: str = ""
    carried: bool = True
    holder: str = ""
    due: bool = False
    late: bool = False
    value: bytes = b""
    run: int = 1
    past: list[bytes] = field(default_factory=list)
    crashes: int = 0
    written_by: str = ""
    letter: str = ""

    @property
    def batch_key(self) -> str:
        return self.home.partition("/")[2]

    def lane(self, kind: str) -> str:
        """Where it goes when it goes `home`, to the `front`, or `solo`."""
        if kind == "home":
            return self.home
        return f"front/{self.batch_key}" if kind == "front" and self.batch_key else kind

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def waits(self) -> bool:
        """Whether a claim may take it."""
        return self.state == "queued" and self.carried and not self.holder

    def end(self, state: str, value: bytes, *, by: str | None = None, letter: str = "") -> None:
        """It is final."""
        self.state, self.value, self.token, self.holder, self.letter = state, value, "", "", letter
        self.carried, self.due, self.late = True, False, False
        self.written_by = self.written_by if by is None else by

    def park(self, *, due: bool, by: str) -> None:
        """It waits for its time."""
        self.state, self.token, self.holder, self.due, self.written_by = "scheduled", "", "", due, by

    def redrive(self) -> None:
        """Its next run begins."""
        self.past.append(self.value)
        self.run += 1
        self.state, self.value, self.crashes, self.written_by, self.letter = "queued", b"", 0, "", ""

    def code_for(self, batch: str, entry: Entry) -> SettleCode:
        """What a settle of `entry` in the name of `batch` has to answer."""
        if self.token == entry.token:
            return SettleCode.WRITTEN
        if self.written_by == batch:
            return SettleCode.REPLAY
        return SettleCode.FINAL if self.is_final else SettleCode.MOVED


@dataclass
class ModelBatch:
    """A batch as its worker sees it: also after it was taken away."""

    worker: str
    entries: list[Entry]
    held: bool = True
    alone: bool = False
