"""The protocol's operations: one Lua file each, and beside it one typed wrapper.

A wrapper builds a `Call`; a connection runs it. docs/protocol.md describes them for other languages.
"""

from microbatch.common.scripts.await_results import RecordView, await_results
from microbatch.common.scripts.claim import Claimed, ClaimReply, Idle, Watch, claim
from microbatch.common.scripts.heartbeat import Look, heartbeat
from microbatch.common.scripts.job_status import JobView, job_status
from microbatch.common.scripts.join import DeclaredLimits, join
from microbatch.common.scripts.quarantine import Fault, quarantine
from microbatch.common.scripts.queue_status import QueueStatus, queue_status
from microbatch.common.scripts.release import Released, release
from microbatch.common.scripts.script import Call, Script, load
from microbatch.common.scripts.settle import BatchFacts, Ending, Outcome, SettleCode, settle
from microbatch.common.scripts.step_aside import step_aside
from microbatch.common.scripts.submit import NewJob, SubmitCode, SubmitReply, submit
from microbatch.common.scripts.takeover import TakenOver, takeover

__all__ = [
    "BatchFacts",
    "Call",
    "ClaimReply",
    "Claimed",
    "DeclaredLimits",
    "Ending",
    "Fault",
    "Idle",
    "JobView",
    "Look",
    "NewJob",
    "Outcome",
    "QueueStatus",
    "RecordView",
    "Released",
    "Script",
    "SettleCode",
    "SubmitCode",
    "SubmitReply",
    "TakenOver",
    "Watch",
    "await_results",
    "claim",
    "heartbeat",
    "job_status",
    "join",
    "load",
    "quarantine",
    "queue_status",
    "release",
    "settle",
    "step_aside",
    "submit",
    "takeover",
]
