"""Tickets, mailboxes and waits, without a server: results are delivered by hand."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, cast

import pytest

from microbatch.common.clock import Deadline, SystemClock
from microbatch.common.codec import decode, encode_error
from microbatch.common.errors import (
    ClientClosed,
    JobCancelled,
    JobExpired,
    JobFailed,
    ProtocolError,
    ResultNotFound,
    ResultTimeout,
)
from microbatch.common.keys import QueueKeys
from microbatch.producer.handle import AsyncJobHandle
from microbatch.producer.mailbox import Hearing, Mailbox
from microbatch.producer.mapping import in_order
from microbatch.producer.waiting import Harvest

if TYPE_CHECKING:
    from microbatch.producer.newsroom import Newsroom
    from microbatch.producer.records import RecordReader
    from microbatch.producer.ticket import Ticket


NEVER = Deadline.after(None, SystemClock())


class Looks:
    """Notes which tickets somebody wanted to look at."""

    def __init__(self) -> None:
        self.wanted: list[Ticket] = []

    def look(self, ticket: Ticket) -> None:
        self.wanted.append(ticket)


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
def mailbox(looks: Looks) -> Mailbox:
    return Mailbox(QueueKeys("q"), Hearing(cast("RecordReader", looks), cast("Newsroom", None)))


async def waiting(*tasks: asyncio.Task[object], mailbox: Mailbox, count: int = 1) -> None:
    """Let tasks run until so many tickets are awaited."""

    while len(mailbox.awaited) < count and not all(task.done() for task in tasks):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_every_task_that_awaits_a_job_gets_its_result(mailbox: Mailbox) -> None:
    job = AsyncJobHandle(mailbox.own("a"))
    tasks = [asyncio.create_task(job.result()) for _ in range(3)]
    await waiting(*tasks, mailbox=mailbox)
    mailbox.deliver([["a", "succeeded", {"x": 1}]])

    assert await asyncio.gather(*tasks) == [{"x": 1}] * 3
    assert await job == {"x": 1}
    assert not mailbox.awaited


async def test_cancelling_one_waiter_does_not_hurt_another(mailbox: Mailbox) -> None:
    job = AsyncJobHandle(mailbox.own("a"))
    first, second = (asyncio.create_task(job.result()) for _ in range(2))
    await waiting(first, second, mailbox=mailbox)
    first.cancel()
    await asyncio.wait([first])
    mailbox.deliver([["a", "succeeded", 1]])

    assert first.cancelled()
    assert await second == 1


async def test_a_wait_that_was_cancelled_leaves_nothing_behind(mailbox: Mailbox) -> None:
    ticket = mailbox.own("a")
    task = asyncio.create_task(AsyncJobHandle(ticket).result())
    await waiting(task, mailbox=mailbox)
    task.cancel()
    await asyncio.wait([task])

    assert not mailbox.awaited
    assert ticket.waiters == ()


async def test_a_result_that_arrives_before_anyone_awaits_it_stays_with_the_handle(mailbox: Mailbox) -> None:
    job = AsyncJobHandle(mailbox.own("a"))
    mailbox.deliver([["a", "succeeded", 5]])

    assert await job.result(timeout_s=0) == 5


async def test_a_second_outcome_changes_nothing(mailbox: Mailbox) -> None:
    ticket = mailbox.own("a")
    ticket.settle("succeeded", 1)
    mailbox.settle(ticket, "failed", {})

    assert await AsyncJobHandle(ticket) == 1


def test_a_handle_that_nobody_holds_leaves_no_trace(mailbox: Mailbox) -> None:
    for number in range(1000):
        AsyncJobHandle(mailbox.own(f"job{number}"))

    assert mailbox.tickets == {}


def test_a_ticket_in_a_cycle_leaves_no_trace_either(mailbox: Mailbox) -> None:
    loop: list[object] = [mailbox.own("a")]
    loop.append(loop)
    del loop
    gc.collect()

    assert mailbox.tickets == {}


def test_forgetting_an_old_ticket_keeps_a_younger_one_of_the_same_id(mailbox: Mailbox) -> None:
    old = mailbox.own("a")
    young = mailbox.own("a")
    del old

    assert mailbox.open_ticket("a") is young


async def test_a_result_that_comes_too_late_is_a_result_timeout(mailbox: Mailbox) -> None:
    job = AsyncJobHandle(mailbox.own("a"))

    with pytest.raises(ResultTimeout) as caught:
        await job.result(timeout_s=0.001)

    assert (caught.value.job_id, caught.value.timeout_s) == ("q/a", 0.001)
    assert isinstance(caught.value, TimeoutError)
    assert not mailbox.awaited


FAILURE = decode(encode_error("ValueError", "bad", "Traceback ..."))


@pytest.mark.parametrize(
    ("state", "value", "error"),
    [
        ("failed", FAILURE, JobFailed),
        ("cancelled", None, JobCancelled),
        ("expired", None, JobExpired),
        ("failed", {"type": 1}, ProtocolError),
        ("failed", None, ProtocolError),
        ("succeeded", ProtocolError("bytes"), ProtocolError),
    ],
)
async def test_each_final_state_has_its_error(
    mailbox: Mailbox, state: str, value: object, error: type[Exception]
) -> None:
    ticket = mailbox.own("a")
    ticket.settle(state, value)

    for _ in range(2):
        with pytest.raises(error, match=r"q/a|error is not"):
            await AsyncJobHandle(ticket)


async def test_a_failed_job_tells_what_failed_it(mailbox: Mailbox) -> None:
    ticket = mailbox.own("a")
    ticket.settle("failed", FAILURE)

    with pytest.raises(JobFailed) as caught:
        await AsyncJobHandle(ticket)

    failed = caught.value
    assert (failed.error_type, failed.error_message, failed.error_traceback) == (
        "ValueError",
        "bad",
        "Traceback ...",
    )


async def test_awaiting_a_job_whose_push_may_have_been_missed_looks_at_its_record(
    mailbox: Mailbox, looks: Looks
) -> None:
    old, fresh = mailbox.own("old"), None
    mailbox.hearing.number += 1
    fresh = mailbox.own("fresh")
    tasks = [asyncio.create_task(AsyncJobHandle(ticket).result()) for ticket in (old, fresh)]
    await waiting(*tasks, mailbox=mailbox, count=2)

    assert looks.wanted == [old]

    mailbox.deliver([["old", "succeeded", 1], ["fresh", "succeeded", 2]])
    assert await asyncio.gather(*tasks) == [1, 2]


async def test_a_push_without_its_value_sends_whoever_awaits_to_the_record(
    mailbox: Mailbox, looks: Looks
) -> None:
    ticket = mailbox.own("a")
    mailbox.deliver([["a", "succeeded"]])

    assert looks.wanted == []

    task = asyncio.create_task(AsyncJobHandle(ticket).result())
    await waiting(task, mailbox=mailbox)

    assert looks.wanted == [ticket]

    mailbox.settle(ticket, "succeeded", "large")
    assert await task == "large"


async def test_a_job_by_id_shares_the_open_ticket_of_a_live_handle(mailbox: Mailbox) -> None:
    own = mailbox.own("a")

    assert mailbox.foreign("a") is own
    assert mailbox.foreign("b").heard != own.heard


async def test_a_closed_client_refuses_a_wait_but_not_a_result_that_is_here(mailbox: Mailbox) -> None:
    here, open_ = mailbox.own("a"), mailbox.own("b")
    here.settle("succeeded", 1)
    mailbox.hearing.closed = True

    assert await AsyncJobHandle(here) == 1
    with pytest.raises(ClientClosed):
        await AsyncJobHandle(open_)
    with pytest.raises(ClientClosed):
        await AsyncJobHandle(here).status()
    with pytest.raises(ClientClosed):
        async with Harvest([open_], None):
            pass


async def test_a_harvest_gives_each_ticket_once_and_those_that_are_here_at_once(mailbox: Mailbox) -> None:
    first, second = mailbox.own("a"), mailbox.own("b")
    first.settle("succeeded", 1)
    async with Harvest([first, second, first], None) as harvest:
        assert await harvest.next_batch() == [(first, None)]
        mailbox.deliver([["b", "failed", FAILURE]])
        assert await harvest.next_batch() == [(second, None)]
        assert await harvest.next_batch() == []


async def test_a_harvest_that_is_left_early_waits_for_nothing(mailbox: Mailbox) -> None:
    tickets = [mailbox.own(str(number)) for number in range(100)]
    async with Harvest(tickets, None):
        assert len(mailbox.awaited) == 100

    assert not mailbox.awaited


async def test_a_harvest_says_how_many_are_missing(mailbox: Mailbox) -> None:
    tickets = [mailbox.own(str(number)) for number in range(3)]
    async with Harvest(tickets, 0.001) as harvest:
        tickets[0].settle("succeeded", 0)
        await harvest.next_batch()
        with pytest.raises(ResultTimeout, match=r"2 jobs have no result after 0\.001 s"):
            await harvest.next_batch()


async def test_mapping_raises_the_first_failure_in_order_once_all_before_it_succeeded(
    mailbox: Mailbox,
) -> None:
    tickets = [mailbox.own(str(number)) for number in range(4)]
    task = asyncio.create_task(in_order(tickets, None, NEVER, return_exceptions=False))
    await waiting(task, mailbox=mailbox, count=4)
    mailbox.deliver([["2", "failed", FAILURE], ["1", "cancelled", None]])
    await asyncio.sleep(0)

    assert not task.done()

    mailbox.deliver([["0", "succeeded", 0]])
    with pytest.raises(JobCancelled):
        await task
    assert not mailbox.awaited


async def test_mapping_gives_errors_in_place_of_results_where_that_is_wanted(mailbox: Mailbox) -> None:
    tickets = [mailbox.own(str(number)) for number in range(3)]
    task = asyncio.create_task(in_order(tickets, None, NEVER, return_exceptions=True))
    await waiting(task, mailbox=mailbox, count=3)
    mailbox.deliver([["2", "succeeded", 2], ["1", "failed", FAILURE]])
    tickets[0].tell(ResultNotFound("q/0"))
    missing, failed, result = await task

    assert isinstance(missing, ResultNotFound)
    assert isinstance(failed, JobFailed)
    assert result == 2
