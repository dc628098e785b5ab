"""Gauges: time, CPU per job and Redis calls between `start` and `stop`, and percentiles.

Rule: every figure is a difference over the measured stretch and counts its own calls out. CPU is what the
kernel charges a process; a platform that does not say it for another process has no such figure.
It never measures by sampling.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cell import Figures, Site

__all__ = ["Gauges", "latency_figures", "quantile"]

_OWN_COMMANDS = frozenset({"info", "config|resetstat", "client|setinfo", "client|setname", "hello"})
_SCRIPT_COMMANDS = frozenset({"eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"})


class Gauges:
    """What a producer process reads before and after.

    Args:
        site: Its server and the ids of its worker processes.
    """

    def __init__(self, site: Site) -> None:
        self._redis: Any = redis.Redis.from_url(site.url, protocol=2, decode_responses=True)
        self._worker_pids = site.worker_pids
        self._started_s = 0.0
        self._before: dict[str, float | None] = {}

    def close(self) -> None:
        """Hang up."""
        self._redis.close()

    def start(self) -> None:
        """The measured stretch begins."""
        self._redis.config_resetstat()
        self._before = self._cpu_s()
        self._started_s = time.perf_counter()

    def stop(self, jobs: int) -> Figures:
        """It ends; `jobs` were done in it."""
        elapsed_s = time.perf_counter() - self._started_s
        after = self._cpu_s()
        calls = self._calls()
        figures = {
            "jobs": float(jobs),
            "elapsed_s": elapsed_s,
            "jobs_per_s": jobs / elapsed_s,
            "commands_per_job": sum(calls.values()) / max(1, jobs),
            "script_calls": float(sum(calls.get(name, 0) for name in _SCRIPT_COMMANDS)),
        }
        figures["script_calls_per_job"] = figures["script_calls"] / max(1, jobs)
        total_us = 0.0
        for process, now_s in after.items():
            before_s = self._before[process]
            if now_s is None or before_s is None:
                return figures
            used_us = (now_s - before_s) / max(1, jobs) * 1e6
            figures[f"{process}_cpu_us"] = used_us
            total_us += used_us
        figures["cpu_us"] = total_us
        return figures

    def _cpu_s(self) -> dict[str, float | None]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        server = self._redis.info("cpu")
        return {
            "producer": own.ru_utime + own.ru_stime,
            "worker": _cpu_of_all_s(self._worker_pids),
            "redis": server["used_cpu_user"] + server["used_cpu_sys"],
        }

    def _calls(self) -> dict[str, int]:
        found = self._redis.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): int(facts["calls"]) for name, facts in found.items()}
        return {name: count for name, count in calls.items() if name not in _OWN_COMMANDS}


def _cpu_of_all_s(pids: Sequence[int]) -> float | None:
    ticks = 0
    for pid in pids:
        try:
            facts = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        ticks += int(facts[11]) + int(facts[12])  # utime and stime, all threads
    return ticks / os.sysconf("SC_CLK_TCK")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latency_figures(latencies_s: Sequence[float]) -> Figures:
    """Median, 95th and 99th percentile."""
    shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    return {name: quantile(latencies_s, share) * 1000 for name, share in shares.items()}
