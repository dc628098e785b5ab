"""Mapping: the results of many jobs, in the order in which they were asked for.

Rule: what is raised does not depend on timing: it is the first failure in the order of the jobs, raised
as soon as all jobs before it have succeeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.errors import MicrobatchError
from microbatch.producer.waiting import Harvest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.clock import Deadline
    from microbatch.producer.ticket import Ticket

__all__ = ["in_order"]


async def in_order(
    tickets: Sequence[Ticket], timeout_s: float | None, deadline: Deadline, *, return_exceptions: bool
) -> list[Any]:
    """Wait for all tickets.

    Args:
        tickets: Which.
        timeout_s: How long all of it may take, in seconds; None: without end.
        deadline: The same as a moment.
        return_exceptions: Give errors in place of results.

    Raises:
        JobError: The first failure in order.
        ResultTimeout: Some are not settled in time.
    """
    errors: dict[Ticket, MicrobatchError] = {}
    results: list[Any] = []
    async with Harvest(tickets, timeout_s, deadline) as harvest:
        while len(results) < len(tickets):
            batch = await harvest.next_batch()
            errors.update((ticket, error) for ticket, error in batch if error is not None)
            while len(results) < len(tickets):
                ticket = tickets[len(results)]
                if ticket.state is None and ticket not in errors:
                    break
                results.append(_outcome(ticket, errors.get(ticket), return_exceptions=return_exceptions))
    return results


def _outcome(ticket: Ticket, error: MicrobatchError | None, *, return_exceptions: bool) -> Any:
    try:
        if error is not None:
            raise error
        return ticket.outcome()
    except MicrobatchError as failure:
        if return_exceptions:
            return failure
        raise
    finally:
        del error  # as in `wait_for`
