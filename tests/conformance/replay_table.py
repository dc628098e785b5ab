"""What each script answers when it is executed again, or too late: the table of `test_replay`.

Rule: every script has a row, with at least one way in which the state moves on before a late execution. A row
says what is answered; that nothing else changes is the rule, and `late_effect` names the exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.conformance.bench import DEAD_MAX_LENGTH, LIMIT_MS, LONG_MS, OK, TTL_MS, Bench, job

from microbatch.common import scripts
from microbatch.common.codec import encode
from microbatch.common.scripts import BatchFacts, Call, Claimed, CrashTerms, Fault, Outcome, RedriveCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from microbatch.common.scripts.settle import Ending

__all__ = ["ROWS", "Late", "Row"]

OTHER = encode("another outcome")


@dataclass(frozen=True)
class Late:
    """One way to be too late.

    Attributes:
        move: What happens before it.
        answer: What the late one answers.
        effect: What it changes all the same, in words; None: nothing at all.
        delayed: Whether its first execution comes late; else the call was executed before the move too.
    """

    move: Callable[[Bench], Awaitable[object]]
    answer: object
    effect: str | None = None
    delayed: bool = False


@dataclass(frozen=True)
class Row:
    """One call of one script.

    Attributes:
        stage: Prepares the queue and makes the call.
        first: What its first execution answers.
        again: What the same call answers when it is executed a second time, at once.
        late: What it answers when the state has moved on.
        show: Reduces a reply to what can be written down here.
    """

    script: str
    stage: Callable[[Bench], Awaitable[Call[Any]]]
    first: object
    again: object
    late: dict[str, Late] = field(default_factory=dict)
    show: Callable[[Any], object] = lambda reply: reply


# --- stages: the queue before the call -----------------------------------------------------------------


async def to_submit(bench: Bench) -> Call[Any]:
    return scripts.submit(bench.keys, "c1", [job("a")], max_queue_length=100)


async def to_claim(bench: Bench) -> Call[Any]:
    await bench.submit("a", "b")
    return scripts.claim(bench.keys, "w1", "b1", max_batch_size=8, max_wait_ms=0, max_batch_bytes=1 << 20)


async def _held(bench: Bench) -> Any:
    await bench.submit("a")
    (entry,) = await bench.take("b1")
    return entry


def to_settle(state: Ending) -> Callable[[Bench], Awaitable[Call[Any]]]:
    async def stage(bench: Bench) -> Call[Any]:
        entry = await _held(bench)
        facts = BatchFacts("w1", "b1", "wait", 1, await bench.now_ms())
        outcomes = [Outcome(entry, state, OK, int(LONG_MS) if state == "retry" else 0)]
        return scripts.settle(bench.keys, facts, outcomes, ttl_ms=TTL_MS, dead_max_length=DEAD_MAX_LENGTH)

    return stage


async def to_release(bench: Bench) -> Call[Any]:
    await _held(bench)
    return scripts.release(bench.keys, "w1", "b1", ran=True)


async def to_quarantine(bench: Bench) -> Call[Any]:
    entry = await _held(bench)
    fault = Fault("ProtocolError", "nothing can read it")
    return scripts.quarantine(
        bench.keys, ("w1", "b1"), entry, fault, ttl_ms=TTL_MS, dead_max_length=DEAD_MAX_LENGTH
    )


async def to_take_over(bench: Bench) -> Call[Any]:
    await _held(bench)
    await bench.die("w1")
    terms = CrashTerms(2, TTL_MS, DEAD_MAX_LENGTH)
    return scripts.takeover(bench.keys, "w9", "w1", heartbeat_limit_ms=LIMIT_MS, terms=terms)


async def to_beat(bench: Bench) -> Call[Any]:
    await _held(bench)
    return scripts.heartbeat(
        bench.keys, "w1", ["b1"], heartbeat_limit_ms=LIMIT_MS, stale_claim_ms=5_000, idle=False
    )


async def to_join(bench: Bench) -> Call[Any]:
    return scripts.join(bench.keys, "w1", max_batch_size=8, max_wait_ms=5)


async def to_leave(bench: Bench) -> Call[Any]:
    await bench.beat("w1")
    return scripts.step_aside(bench.keys, "w1", leaving=True)


async def to_await(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.await_results(bench.keys, "c2", ["a"], register=True, check=True)


async def to_look(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.job_status(bench.keys, "a")


async def to_look_at_queue(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.queue_status(bench.keys, heartbeat_limit_ms=LIMIT_MS)


async def to_ask_the_time(bench: Bench) -> Call[Any]:
    return scripts.redis_time(bench.keys)


async def to_cancel(bench: Bench) -> Call[Any]:
    await bench.submit("a")
    return scripts.cancel(bench.keys, "a", ttl_ms=TTL_MS)


async def _letter(bench: Bench) -> str:
    entry = await _held(bench)
    await bench.settle("b1", [entry], succeeded=False)
    ((letter_id, _),) = await bench.raw.xrange(bench.keys.dead)
    found: str = letter_id.decode()
    return found


async def to_redrive(bench: Bench) -> Call[Any]:
    return scripts.redrive(bench.keys, [await _letter(bench)])


async def to_purge(bench: Bench) -> Call[Any]:
    return scripts.purge_dead(bench.keys, [await _letter(bench)])


async def to_read_letters(bench: Bench) -> Call[Any]:
    await _letter(bench)
    return scripts.dead_letters(bench.keys)


# --- moves: what happens before a late execution ----------------------------------------------------------


async def nothing(_: Bench) -> None:
    pass


async def end_the_job(bench: Bench) -> None:
    """Another worker takes it and settles it with another outcome."""
    entries = await bench.take("b2", "w2")
    await bench.settle("b2", entries, "w2", value=OTHER)


async def hand_over(bench: Bench) -> None:
    await bench.die("w1")
    await bench.takeover("w1", "w2")


async def hand_over_and_end(bench: Bench) -> None:
    await hand_over(bench)
    await end_the_job(bench)


async def cancel_it(bench: Bench) -> None:
    await bench.run(scripts.cancel(bench.keys, "a", ttl_ms=TTL_MS))


async def purge(bench: Bench) -> None:
    await bench.run(scripts.purge_dead(bench.keys))


async def end_the_batch(bench: Bench) -> None:
    """The worker has settled it, and another job has come."""
    await bench.settle("b1", await bench.take("b1"))
    await bench.submit("c")


async def end_and_start_anew(bench: Bench) -> None:
    """The record is past its time, and its id is used again."""
    await bench.raw.delete(bench.keys.job("a"))
    await bench.submit("a", client="c7")


async def come_back(bench: Bench) -> None:
    await bench.beat("w1")


async def leave(bench: Bench) -> None:
    await bench.release("b1")
    await bench.settle("b2", await bench.take("b2", "w2"), "w2")
    await bench.step_aside("w1", leaving=True)


async def leave_at_once(bench: Bench) -> None:
    await bench.step_aside("w1", leaving=True)


ORPHAN = "the heartbeat's orphan look hands it back"
GHOST = "the worker is in the books again, until the living find it silent"

ROWS = [
    Row(
        "submit",
        to_submit,
        None,
        [1],
        {
            "while it runs": Late(lambda bench: bench.take("b1"), [1]),
            "after its end": Late(end_the_job, [1]),
        },
        lambda reply: reply.codes,
    ),
    Row(
        "claim",
        to_claim,
        ["a", "b"],
        ["a", "b"],
        {
            "after the batch was handed over": Late(
                hand_over,
                ["a"],
                "a batch that nobody runs: " + ORPHAN,
            ),
            "after the batch was settled": Late(
                end_the_batch,
                ["c"],
                "a batch that nobody runs: " + ORPHAN,
            ),
        },
        lambda reply: [entry.local for entry in reply.entries] if isinstance(reply, Claimed) else reply,
    ),
    Row(
        "settle",
        to_settle("succeeded"),
        None,
        [1],
        {
            "after its id was used again": Late(end_and_start_anew, [3]),
            "delayed, after a takeover": Late(hand_over, [3], delayed=True),
            "delayed, after another worker ended it": Late(hand_over_and_end, [2], delayed=True),
            "delayed, after a cancel": Late(cancel_it, [2], "its batch is closed", delayed=True),
        },
    ),
    Row(
        "settle",
        to_settle("failed"),
        None,
        [1],
        {"delayed, after another worker ended it": Late(hand_over_and_end, [2], delayed=True)},
    ),
    Row(
        "settle",
        to_settle("expired"),
        None,
        [1],
        {"delayed, after another worker ended it": Late(hand_over_and_end, [2], delayed=True)},
    ),
    Row(
        "settle",
        to_settle("retry"),
        None,
        [1],
        {
            "after a cancel": Late(cancel_it, [1]),
            "delayed, after a takeover": Late(hand_over, [3], delayed=True),
        },
    ),
    Row(
        "release",
        to_release,
        (1, 0),
        (0, 0),
        {
            "after another worker ended it": Late(end_the_job, (0, 0)),
            "delayed, after a takeover": Late(hand_over, (0, 0), delayed=True),
        },
        lambda reply: (reply.moved, reply.left),
    ),
    Row(
        "quarantine",
        to_quarantine,
        True,
        False,
        {
            "after its id was used again": Late(end_and_start_anew, False),
            "delayed, after a takeover": Late(hand_over, False, delayed=True),
        },
    ),
    Row(
        "takeover",
        to_take_over,
        (1, 0, 0),
        (0, 0, 0),
        {
            "after the worker came back": Late(come_back, (-1, 0, 0)),
            "delayed, after the worker came back": Late(come_back, (-1, 0, 0), delayed=True),
            "after another worker ended the job": Late(end_the_job, (0, 0, 0)),
        },
        lambda reply: (reply.moved, reply.failed, reply.left),
    ),
    Row(
        "heartbeat",
        to_beat,
        (False, [], []),
        (False, [], []),
        {"after the worker left": Late(leave, (False, [], []), GHOST)},
        lambda reply: (reply.work_waits, reply.orphans, reply.dead),
    ),
    Row(
        "join",
        to_join,
        ("", ""),
        ("8", "5"),
        {"after the worker left": Late(leave_at_once, ("8", "5"), GHOST)},
        lambda reply: (reply.max_batch_size, reply.max_wait_ms),
    ),
    Row("step_aside", to_leave, 0, 0, {"after it was forgotten": Late(nothing, 0)}),
    Row(
        "await_results",
        to_await,
        ["queued"],
        ["queued"],
        {"after its end": Late(end_the_job, ["succeeded"])},
        lambda reply: [view.state for view in reply],
    ),
    Row(
        "job_status",
        to_look,
        b"queued",
        b"queued",
        {"after its end": Late(end_the_job, b"succeeded")},
        lambda reply: reply.record[b"state"],
    ),
    Row(
        "queue_status",
        to_look_at_queue,
        (1, 0),
        (1, 0),
        {"while it runs": Late(lambda bench: bench.take("b1"), (0, 1))},
        lambda reply: (reply.waiting, reply.running),
    ),
    Row("redis_time", to_ask_the_time, True, True, {"later": Late(nothing, True)}, lambda reply: reply > 0),
    Row(
        "cancel",
        to_cancel,
        "cancelled",
        "cancelled",
        {
            "after its id was used again": Late(end_and_start_anew, "cancelled", "the new job is cancelled"),
            "delayed, after the end": Late(end_the_job, "succeeded", delayed=True),
        },
    ),
    Row(
        "redrive",
        to_redrive,
        [RedriveCode.REDRIVEN],
        [RedriveCode.GONE],
        {
            "after the new run ended": Late(end_the_job, [RedriveCode.GONE]),
            "delayed, after a purge": Late(purge, [RedriveCode.GONE], delayed=True),
        },
    ),
    Row("purge_dead", to_purge, 1, 0, {"later": Late(nothing, 0)}),
    Row("dead_letters", to_read_letters, 1, 1, {"later": Late(nothing, 1)}, len),
]
