"""The protocol's operations: one Lua file each, and beside it one typed wrapper.

A wrapper builds a `Call`; a connection runs it. docs/protocol.md describes them for other languages.
"""

from microbatch.common.scripts.acknowledge import ANSWER_KEPT_MS, acknowledge
from microbatch.common.scripts.await_results import KEPT_MS, RecordView, await_results
from microbatch.common.scripts.cancel import CANCEL_MESSAGE, MOST_CANCELLED, cancel, cancel_all
from microbatch.common.scripts.claim import (
    HANDED_MESSAGE,
    BatchTerms,
    Claimed,
    ClaimReply,
    Hold,
    Idle,
    Watch,
    claim,
    read_handed,
)
from microbatch.common.scripts.dead_letters import RawLetter, dead_letters
from microbatch.common.scripts.fleet import Fleet, WorkerSight, fleet
from microbatch.common.scripts.heartbeat import Look, heartbeat
from microbatch.common.scripts.hold import Held, HoldAction, QueueGate, hold
from microbatch.common.scripts.job_entry import job_entry
from microbatch.common.scripts.job_log import LogView, job_log
from microbatch.common.scripts.job_records import BriefRecord, BriefRecords, job_records
from microbatch.common.scripts.job_sight import JobSight
from microbatch.common.scripts.job_status import JobView, job_status
from microbatch.common.scripts.join import DeclaredLimits, join
from microbatch.common.scripts.lane_jobs import LaneJobs, Which, lane_jobs
from microbatch.common.scripts.limit import limit
from microbatch.common.scripts.listen import EVERYTHING, LEASE_MS, listen
from microbatch.common.scripts.note import JobNote, note
from microbatch.common.scripts.order import ORDER_MESSAGE, OrderCode, order
from microbatch.common.scripts.orders import orders
from microbatch.common.scripts.pace import pace
from microbatch.common.scripts.purge import Purged, purge
from microbatch.common.scripts.purge_dead import purge_dead
from microbatch.common.scripts.quarantine import Fault, quarantine
from microbatch.common.scripts.queue_status import QueueStatus, queue_status
from microbatch.common.scripts.redis_time import redis_time
from microbatch.common.scripts.redrive import RedriveCode, redrive
from microbatch.common.scripts.release import Released, release
from microbatch.common.scripts.run_alone import run_alone
from microbatch.common.scripts.run_now import run_now
from microbatch.common.scripts.schedule_advance import TickJob, schedule_advance
from microbatch.common.scripts.schedule_change import ScheduleAction, schedule_change
from microbatch.common.scripts.schedule_put import MOST_SCHEDULES, PutAnswer, schedule_put
from microbatch.common.scripts.scheduled_jobs import NOWHERE, ScheduledJobs, ScheduledPlace, scheduled_jobs
from microbatch.common.scripts.schedules import ScheduleView, ScheduleViews, schedules
from microbatch.common.scripts.script import Call, Script, load
from microbatch.common.scripts.settle import BatchFacts, Ending, Outcome, SettleCode, settle
from microbatch.common.scripts.step_aside import step_aside
from microbatch.common.scripts.submit import JobOptions, NewJob, SubmitCode, SubmitReply, submit
from microbatch.common.scripts.takeover import CrashTerms, TakenOver, takeover

__all__ = [
    "ANSWER_KEPT_MS",
    "CANCEL_MESSAGE",
    "EVERYTHING",
    "HANDED_MESSAGE",
    "KEPT_MS",
    "LEASE_MS",
    "MOST_CANCELLED",
    "MOST_SCHEDULES",
    "NOWHERE",
    "ORDER_MESSAGE",
    "BatchFacts",
    "BatchTerms",
    "BriefRecord",
    "BriefRecords",
    "Call",
    "ClaimReply",
    "Claimed",
    "CrashTerms",
    "DeclaredLimits",
    "Ending",
    "Fault",
    "Fleet",
    "Held",
    "Hold",
    "HoldAction",
    "Idle",
    "JobNote",
    "JobOptions",
    "JobSight",
    "JobView",
    "LaneJobs",
    "LogView",
    "Look",
    "NewJob",
    "OrderCode",
    "Outcome",
    "Purged",
    "PutAnswer",
    "QueueGate",
    "QueueStatus",
    "RawLetter",
    "RecordView",
    "RedriveCode",
    "Released",
    "ScheduleAction",
    "ScheduleView",
    "ScheduleViews",
    "ScheduledJobs",
    "ScheduledPlace",
    "Script",
    "SettleCode",
    "SubmitCode",
    "SubmitReply",
    "TakenOver",
    "TickJob",
    "Watch",
    "Which",
    "WorkerSight",
    "acknowledge",
    "await_results",
    "cancel",
    "cancel_all",
    "claim",
    "dead_letters",
    "fleet",
    "heartbeat",
    "hold",
    "job_entry",
    "job_log",
    "job_records",
    "job_status",
    "join",
    "lane_jobs",
    "limit",
    "listen",
    "load",
    "note",
    "order",
    "orders",
    "pace",
    "purge",
    "purge_dead",
    "quarantine",
    "queue_status",
    "read_handed",
    "redis_time",
    "redrive",
    "release",
    "run_alone",
    "run_now",
    "schedule_advance",
    "schedule_change",
    "schedule_put",
    "scheduled_jobs",
    "schedules",
    "settle",
    "step_aside",
    "submit",
    "takeover",
]
