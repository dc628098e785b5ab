"""The guard of one queue in a worker: what comes in is bounded and opened, what goes out is sealed.

Rule: without keys nothing is opened or sealed, and nothing is paid for it. A job that the guard does not let
in is set aside alone, with the reason. Errors travel unsealed, because others than workers write them, too;
where values are encrypted, an error says its type only: its text may quote the payload.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from microbatch.common.codec import decode, encode_error
from microbatch.common.jobs.happenings import parse_error
from microbatch.common.seals import seals_of
from microbatch.common.seals.jobs import sealed_definition
from microbatch.worker.assembly import assemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.schedules.schedule import Definition, Schedule
    from microbatch.common.scripts import Claimed, Outcome
    from microbatch.common.settings import WorkerSettings
    from microbatch.worker.assembly import Assembled
    from microbatch.worker.notes import Notes

__all__ = ["WITHHELD", "Guard"]

WITHHELD = "not told, because this queue's values are encrypted"


class Guard:
    """Guards one queue.

    Args:
        queue: Its name.
        settings: The worker's.

    Raises:
        SettingsError: Encryption is asked for, and its package is not installed.
    """

    def __init__(self, queue: str, settings: WorkerSettings) -> None:
        self._queue = queue
        self._limits = settings.payload_limits
        self._seals = seals_of(settings)

    def definition(self, schedule: Schedule) -> Definition:
        """A schedule as it may travel."""
        return sealed_definition(self._seals, schedule)

    def assembled(self, claimed: Claimed, notes: Notes | None = None) -> Assembled:
        """Sort what was claimed into jobs and what no processor is to see."""
        return assemble(
            self._queue, claimed.entries, claimed.claimed_ms, notes, limits=self._limits, seals=self._seals
        )

    def sealed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Outcomes as they may travel."""
        return outcomes if self._seals is None else [self._sealed(outcome) for outcome in outcomes]

    def _sealed(self, outcome: Outcome) -> Outcome:
        assert self._seals is not None  # noqa: S101 - the caller looked
        if outcome.succeeded:
            value = self._seals.seal("result", self._queue, outcome.entry.local, outcome.value)
            return replace(outcome, value=value)
        if not self._seals.hides or outcome.state == "expired":
            return outcome
        facts = parse_error(decode(outcome.value))
        return replace(outcome, value=encode_error(facts.type, WITHHELD))
