"""What each script answers when it is executed again, or too late: the table of `test_replay`.

Rule: every script has a row, with at least one way in which the state moves on before a late execution. A row
says what is answered; that nothing else changes is the rule, and `late_effect` names the exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.conformance import replay_stages as stages

from microbatch.common.scripts import Call, Claimed, RedriveCode, SubmitCode, Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.conformance.bench import Bench


__all__ = ["ROWS", "Late", "Row"]


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


ORPHAN = "the heartbeat's orphan look hands it back"
GHOST = "the worker is in the books again, until the living find it silent"

ROWS = [
    Row(
        "submit",
        stages.to_submit,
        None,
        [1],
        {
            "while it runs": Late(lambda bench: bench.take("b1"), [1]),
            "after its end": Late(stages.end_the_job, [1]),
        },
        lambda reply: reply.codes,
    ),
    Row(
        "submit",
        stages.to_submit_unique,
        None,
        [SubmitCode.SAME],
        {
            "after its end": Late(stages.end_the_job, [SubmitCode.SAME]),
            "delayed, after another got the key": Late(stages.take_the_key, [SubmitCode.TAKEN], delayed=True),
        },
        lambda reply: reply.codes,
    ),
    Row(
        "claim",
        stages.to_claim,
        ["a", "b"],
        ["a", "b"],
        {
            "after the batch was handed over": Late(
                stages.hand_over,
                ["a"],
                "a batch that nobody runs: " + ORPHAN,
            ),
            "after the batch was settled": Late(
                stages.end_the_batch,
                ["c"],
                "a batch that nobody runs: " + ORPHAN,
            ),
        },
        lambda reply: [entry.local for entry in reply.entries] if isinstance(reply, Claimed) else reply,
    ),
    Row(
        "submit",
        stages.to_submit_to_a_lane,
        None,
        [1],
        {
            "while it runs": Late(lambda bench: bench.take("b1"), [1]),
            "after its end": Late(stages.end_the_job, [1]),
        },
        lambda reply: reply.codes,
    ),
    Row(
        "claim",
        stages.to_claim_from_a_lane,
        ["a", "b"],
        ["a", "b"],
        {
            "after the batch was settled": Late(
                stages.end_the_batch, ["c"], "a batch that nobody runs: " + ORPHAN
            )
        },
        lambda reply: [entry.local for entry in reply.entries] if isinstance(reply, Claimed) else reply,
    ),
    Row(
        "claim",
        stages.to_claim_within_limits,
        ["a", "b"],
        ["a", "b"],
        {"after the batch was settled": Late(stages.end_the_batch, Watch(1.0), "it watches for tokens")},
        lambda reply: [entry.local for entry in reply.entries] if isinstance(reply, Claimed) else reply,
    ),
    Row(
        "settle",
        stages.to_settle_from_a_lane,
        None,
        [1],
        {
            "after its id was used again": Late(stages.end_and_start_anew, [3]),
            "delayed, after a takeover": Late(stages.hand_over, [3], delayed=True),
            "delayed, after another worker ended it": Late(stages.hand_over_and_end, [2], delayed=True),
            "delayed, after a cancel": Late(stages.cancel_it, [2], "its batch is closed", delayed=True),
        },
    ),
    Row(
        "release",
        stages.to_release_to_a_lane,
        (1, 0),
        (0, 0),
        {
            "after another worker ended it": Late(stages.end_the_job, (0, 0)),
            "delayed, after a takeover": Late(stages.hand_over, (0, 0), delayed=True),
        },
        lambda reply: (reply.moved, reply.left),
    ),
    Row(
        "settle",
        stages.to_settle("succeeded"),
        None,
        [1],
        {
            "after its id was used again": Late(stages.end_and_start_anew, [3]),
            "delayed, after a takeover": Late(stages.hand_over, [3], delayed=True),
            "delayed, after another worker ended it": Late(stages.hand_over_and_end, [2], delayed=True),
            "delayed, after a cancel": Late(stages.cancel_it, [2], "its batch is closed", delayed=True),
        },
    ),
    Row(
        "settle",
        stages.to_settle("failed"),
        None,
        [1],
        {"delayed, after another worker ended it": Late(stages.hand_over_and_end, [2], delayed=True)},
    ),
    Row(
        "settle",
        stages.to_settle("expired"),
        None,
        [1],
        {"delayed, after another worker ended it": Late(stages.hand_over_and_end, [2], delayed=True)},
    ),
    Row(
        "settle",
        stages.to_settle("retry"),
        None,
        [1],
        {
            "after a cancel": Late(stages.cancel_it, [1]),
            "delayed, after a takeover": Late(stages.hand_over, [3], delayed=True),
        },
    ),
    Row(
        "release",
        stages.to_release,
        (1, 0),
        (0, 0),
        {
            "after another worker ended it": Late(stages.end_the_job, (0, 0)),
            "delayed, after a takeover": Late(stages.hand_over, (0, 0), delayed=True),
        },
        lambda reply: (reply.moved, reply.left),
    ),
    Row(
        "quarantine",
        stages.to_quarantine,
        True,
        False,
        {
            "after its id was used again": Late(stages.end_and_start_anew, False),
            "delayed, after a takeover": Late(stages.hand_over, False, delayed=True),
        },
    ),
    Row(
        "takeover",
        stages.to_take_over,
        (1, 0, 0),
        (0, 0, 0),
        {
            "after the worker came back": Late(stages.come_back, (-1, 0, 0)),
            "delayed, after the worker came back": Late(stages.come_back, (-1, 0, 0), delayed=True),
            "after another worker ended the job": Late(stages.end_the_job, (0, 0, 0)),
        },
        lambda reply: (reply.moved, reply.failed, reply.left),
    ),
    Row(
        "heartbeat",
        stages.to_beat,
        (False, [], []),
        (False, [], []),
        {"after the worker left": Late(stages.leave, (False, [], []), GHOST)},
        lambda reply: (reply.work_waits, reply.orphans, reply.dead),
    ),
    Row(
        "pace",
        stages.to_pace,
        [1, 10, 5, 100, 50],
        [2, 20, 10, 200, 100],
        {"after others": Late(stages.run_elsewhere, [3, 21, 11, 201, 101])},
        lambda reply: [round(value) for value in reply],
    ),
    Row(
        "join",
        stages.to_join,
        ("", ""),
        ("8", "5"),
        {"after the worker left": Late(stages.leave_at_once, ("8", "5"), GHOST)},
        lambda reply: (reply.max_batch_size, reply.max_wait_ms),
    ),
    Row(
        "run_alone",
        stages.to_run_alone,
        True,
        True,
        {
            "after it handed the batch back": Late(stages.give_back, False),
            "delayed, after a takeover": Late(stages.hand_over, False, delayed=True),
        },
    ),
    Row("step_aside", stages.to_leave, 0, 0, {"after it was forgotten": Late(stages.nothing, 0)}),
    Row(
        "await_results",
        stages.to_await,
        ["queued"],
        ["queued"],
        {"after its end": Late(stages.end_the_job, ["succeeded"])},
        lambda reply: [view.state for view in reply],
    ),
    Row(
        "job_status",
        stages.to_look,
        b"queued",
        b"queued",
        {"after its end": Late(stages.end_the_job, b"succeeded")},
        lambda reply: reply.record[b"state"],
    ),
    Row(
        "queue_status",
        stages.to_look_at_queue,
        (1, 0),
        (1, 0),
        {"while it runs": Late(lambda bench: bench.take("b1"), (0, 1))},
        lambda reply: (reply.waiting, reply.running),
    ),
    Row(
        "fleet",
        stages.to_look_at_workers,
        [("w1", 1, 1)],
        [("w1", 1, 1)],
        {"after its batch ended": Late(lambda bench: bench.release("b1"), [("w1", 0, 0)])},
        lambda reply: [(sight.worker, sight.batches, sight.jobs) for sight in reply.workers],
    ),
    Row(
        "redis_time",
        stages.to_ask_the_time,
        True,
        True,
        {"later": Late(stages.nothing, True)},
        lambda reply: reply > 0,
    ),
    Row(
        "cancel",
        stages.to_cancel,
        "cancelled",
        "cancelled",
        {
            "after its id was used again": Late(
                stages.end_and_start_anew, "cancelled", "the new job is cancelled"
            ),
            "delayed, after the end": Late(stages.end_the_job, "succeeded", delayed=True),
        },
    ),
    Row(
        "redrive",
        stages.to_redrive,
        [RedriveCode.REDRIVEN],
        [RedriveCode.GONE],
        {
            "after the new run ended": Late(stages.end_the_job, [RedriveCode.GONE]),
            "delayed, after a purge": Late(stages.purge, [RedriveCode.GONE], delayed=True),
        },
    ),
    Row(
        "schedule_put",
        stages.to_put_a_schedule,
        "new",
        "same",
        {
            "after it was removed": Late(stages.remove_the_schedule, "new", "the schedule is there again"),
            "delayed, after another declaration": Late(
                stages.put_another_schedule, "changed", "the later declaration counts", delayed=True
            ),
        },
    ),
    Row(
        "schedules",
        stages.to_read_schedules,
        [("s", [])],
        [("s", [])],
        {"after it was removed": Late(stages.remove_the_schedule, [])},
        lambda reply: [(view.name, view.waiting) for view in reply.views],
    ),
    Row(
        "schedule_advance",
        stages.to_advance_a_schedule,
        True,
        False,
        {
            "after its job ended": Late(stages.promote_and_end, False),
            "delayed, after it was changed": Late(stages.put_another_schedule, False, delayed=True),
            "delayed, after it was removed": Late(stages.remove_the_schedule, False, delayed=True),
        },
    ),
    Row(
        "schedule_change",
        stages.to_pause_a_schedule,
        True,
        True,
        {
            "after it was resumed": Late(stages.resume_the_schedule, True, "it is paused again"),
            "delayed, after it was removed": Late(stages.remove_the_schedule, False, delayed=True),
        },
    ),
    Row(
        "note",
        stages.to_note,
        1,
        1,
        {
            "after the job's end": Late(stages.end_the_batch, 0),
            "delayed, after a takeover": Late(stages.hand_over, 0, delayed=True),
            "delayed, after a cancel": Late(stages.cancel_it, 0, delayed=True),
        },
    ),
    Row(
        "listen",
        stages.to_listen,
        1,
        1,
        {"after the job's end": Late(stages.end_the_job, 1)},
    ),
    Row(
        "job_log",
        stages.to_read_a_log,
        1,
        1,
        {"after the job's end": Late(stages.end_the_batch, 1)},
        lambda view: view.total,
    ),
    Row("purge_dead", stages.to_purge, 1, 0, {"later": Late(stages.nothing, 0)}),
    Row("dead_letters", stages.to_read_letters, 1, 1, {"later": Late(stages.nothing, 1)}, len),
]
