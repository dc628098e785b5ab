"""The two sides' settings: what a producer and what a worker uses, and what each value means.

Rule: the environment wins over `.env`. A value given to a settings class in code
(`WorkerSettings(max_wait_ms=3)`) stands where the environment stands, and before it. A value that cannot be
used is a `SettingsError` of one line. Nothing here prints, connects or shows a password. What both sides use
is in `redis.py`, what may differ by queue in `queue.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from microbatch.common.bind_address import check_bind_address
from microbatch.common.settings import lanes as lane_settings
from microbatch.common.settings.bounds import (
    MIB,
    Attempts,
    BackoffS,
    BatchError,
    Batching,
    BatchSize,
    BatchTimeoutS,
    Concurrency,
    Cost,
    Executor,
    ManyBatches,
    ManyBytes,
    ManyKeys,
    QueueLength,
    RssBytes,
    StarvationS,
    TargetMs,
    TtlS,
    ValueBytes,
    WaitMs,
)
from microbatch.common.settings.defence import PayloadLimits
from microbatch.common.settings.redis import RedisSettings
from microbatch.common.worker_facts import HEARTBEAT_LIMIT_S, check_labels

__all__ = ["ClientSettings", "WorkerSettings"]


class ClientSettings(RedisSettings):
    """What a producer uses."""

    max_payload_bytes: ValueBytes = Field(
        default=MIB,
        description="The largest encoded payload; a larger one is `PayloadTooLarge`. More costs memory; "
        "keep large things elsewhere and submit where they are.",
    )
    max_queue_length: QueueLength = Field(
        default=1_000_000,
        description="Jobs a queue holds before `QueueFull`. More buffers longer bursts, in Redis memory.",
    )
    max_batch_keys: ManyKeys = lane_settings.MAX_BATCH_KEYS
    max_job_cost: Cost | None = lane_settings.MAX_JOB_COST
    result_ttl_s: TtlS | None = Field(
        default=None,
        description="How long a result is kept after the job's end; 0 keeps none. Unset: the worker's value.",
    )
    poll_interval_s: Annotated[float, Field(ge=0.05, le=3_600)] = Field(
        default=5.0,
        description="How often records of awaited jobs are read although a push should have come. Less finds "
        "results sooner after a lost connection, more spares Redis.",
    )

    replicas: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1,
        description='Replicas that must have a job submitted with `durability="replicated"`.',
    )

    def max_queue_length_for(self, queue: str) -> int:
        """The length limit of `queue`: its own, else the process-wide one."""
        return self.overrides_for(queue).max_queue_length or self.max_queue_length

    def max_batch_keys_for(self, queue: str) -> int:
        """How many lanes with jobs `queue` may have: its own limit, else the process-wide one."""
        return self.overrides_for(queue).max_batch_keys or self.max_batch_keys

    def max_job_cost_for(self, queue: str) -> int | None:
        """The highest cost of a job of `queue`: its own limit, else the process-wide one."""
        return self.overrides_for(queue).max_job_cost or self.max_job_cost

    def result_ttl_s_for(self, queue: str) -> float | None:
        """How long to keep results of `queue`: its own, else the process-wide time; `None`: the worker's."""
        own = self.overrides_for(queue).result_ttl_s
        return self.result_ttl_s if own is None else own


class WorkerSettings(PayloadLimits, RedisSettings):
    """What a worker process uses. `queue_settings` resolves what may differ by queue."""

    concurrency: Concurrency = Field(
        default=1,
        description="Batches in flight per queue and process. More overlaps waiting inside of them.",
    )
    max_batch_size: BatchSize = Field(
        default=32, description="The most jobs per call. More is cheaper per job, and slower per call."
    )
    max_wait_ms: WaitMs = Field(
        default=5.0,
        description="How long a job may wait for company, counted from its submit. More fills batches better "
        "and adds as much latency; 0 dispatches at once.",
    )
    max_starvation_s: StarvationS = lane_settings.MAX_STARVATION_S
    max_batch_bytes: ManyBytes | None = lane_settings.MAX_BATCH_BYTES
    max_batch_cost: Cost | None = lane_settings.MAX_BATCH_COST
    batching: Batching = lane_settings.BATCHING
    target_p95_ms: TargetMs | None = lane_settings.TARGET_P95_MS
    max_result_bytes: ValueBytes = Field(
        default=MIB,
        description="The largest encoded result; a larger one fails its own job. More costs Redis.",
    )
    result_ttl_s: TtlS = Field(
        default=3_600.0,
        description="How long a result is kept after the job's end where the producer named no time; 0 keeps "
        "none. More costs Redis memory, less leaves less time to fetch it.",
    )
    heartbeat_limit_s: Annotated[float, Field(ge=1, le=3_600)] = Field(
        default=HEARTBEAT_LIMIT_S,
        description="A worker silent this long loses its jobs. Less recovers sooner, more tolerates pauses.",
    )
    drain_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=25.0,
        description="How long running batches may take to finish when the worker leaves; the rest is handed "
        "back. Keep it below the orchestrator's kill delay (Kubernetes: 30 s).",
    )
    max_crashes: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=2, description="After that many deaths of workers a job fails, `WorkerLost`. More is patient."
    )
    loop_stall_limit_s: Annotated[float, Field(ge=0.1, le=86_400)] = Field(
        default=30.0,
        description="How long the event loop may be stuck before the heartbeat stops and others take the "
        "jobs. Less finds hung workers sooner, more tolerates blocking code.",
    )
    labels: Annotated[tuple[str, ...], BeforeValidator(check_labels)] = Field(
        default=(),
        description="Labels of this worker, several with commas: `microbatch workers` shows them, and "
        "`microbatch workers send --label` addresses workers by them.",
    )
    monitoring_address: Annotated[str, AfterValidator(check_bind_address)] | None = Field(
        default=None,
        description="Where a worker serves `/metrics`, `/livez`, `/readyz` and `/startupz` over HTTP, "
        "such as `0.0.0.0:9464`; a port alone listens on 127.0.0.1. Unset: nowhere.",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="How `microbatch worker` logs: `console` is for people, `json` one object a line, `auto` "
        "is JSON where stderr is no terminal.",
    )
    liveness_limit_s: Annotated[float, Field(ge=0.5, le=86_400)] = Field(
        default=20.0,
        description="How long the event loop may be stuck before `/livez` says so, unless a batch holds it "
        "within its `batch_timeout_s`. Less finds hung workers sooner, more tolerates blocking code.",
    )
    max_attempts: Attempts | None = Field(
        default=None,
        description="Runs of a job that fails, all together; between them it waits (`retry_backoff_s`). "
        "Unset: a raised exception fails the job at once, and a `Retry` gets up to 5 runs.",
    )
    retry_backoff_s: BackoffS = Field(
        default=1.0,
        description="The longest wait before a job's second run; it doubles with each further run, and the "
        "wait is random between 0 and that. More spares what fails, less succeeds sooner.",
    )
    retry_backoff_limit_s: BackoffS = Field(
        default=300.0, description="Where the doubling of `retry_backoff_s` ends."
    )
    on_batch_error: BatchError = Field(
        default="bisect",
        description="When the processor raises for several jobs: `bisect` runs halves until the culprits "
        "stand alone, so innocent jobs run again; `fail` fails all of them; `retry` runs all of them again, "
        "as often as `max_attempts` allows.",
    )
    batch_timeout_s: BatchTimeoutS | None = Field(
        default=None,
        description="How long one call of the processor may take; then its jobs run again, each alone, and "
        "one that hangs alone fails: `BatchTimeout`. Unset: for ever. More tolerates slow batches.",
    )
    executor: Executor = Field(
        default="thread",
        description="Where processors run: `thread` in the worker's process (`async def` on its event loop, "
        "`def` in threads), `process` in child processes, whose death costs only their batch.",
    )
    max_batches_per_child: ManyBatches | None = Field(
        default=None,
        description="Batches after which a child process (`executor=process`) is replaced. Unset: never.",
    )
    max_batches: ManyBatches | None = Field(
        default=None, description="Batches after which the worker drains and exits with 0. Unset: never."
    )
    max_rss_bytes: RssBytes | None = Field(
        default=None,
        description="Memory (resident set) above which the worker drains and exits with 0, to be "
        "restarted; its child processes do not count. Unset: no limit.",
    )
    job_log_limit_lines: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=1_000,
        description="Lines that a job's log keeps; the oldest go first. 0 keeps no logs.",
    )
    job_log_limit_bytes: Annotated[int, Field(ge=1_024, le=8 * MIB)] = Field(
        default=64 * 1_024,
        description="The same in bytes. More costs Redis memory, as long as the job's result.",
    )
    dead_max_length: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        default=100_000,
        description="Dead letters that a queue keeps; the oldest go first. More costs memory.",
    )
