"""What can grow: in the processes, as the kernel tells it, and in Redis."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError
from tests.chaos.run.workload import QUEUES

from microbatch.common.keys import GROUP, LANES, QueueKeys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tests.chaos.run.unit import Unit

__all__ = ["in_processes", "in_redis", "in_tasks"]

_NAMED = re.compile(r"mb:\{[^}]+\}:(\w+)")


def in_processes(units: Iterable[Unit]) -> dict[str, float]:
    """Memory, threads and open files of each process that is up."""
    found: dict[str, float] = {}
    for unit in units:
        folder = Path(f"/proc/{unit.pid}")
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            found[f"{unit.name} rss_kib"] = float(status["VmRSS"].split()[0])
            found[f"{unit.name} threads"] = float(status["Threads"])
            found[f"{unit.name} fds"] = float(len(list((folder / "fd").iterdir())))
        except (OSError, KeyError):  # it is down, or ends right now
            continue
    return found


def in_tasks(folder: Path, units: Iterable[Unit]) -> dict[str, float]:
    """The asyncio tasks of each process, as it last said itself."""
    found = {}
    for unit in units:
        for path in folder.glob(f"*-{unit.pid}.tasks"):
            if text := path.read_text():
                found[f"{unit.name} tasks"] = float(text)
    return found


async def in_redis(admin: Any) -> dict[str, float]:
    """Connections, channels, memory, keys by kind; for each queue its entries, pending ones and consumers."""
    try:
        found = {
            "redis connections": float((await admin.info("clients"))["connected_clients"]),
            "redis memory_kib": float((await admin.info("memory"))["used_memory"]) / 1024,
            "redis channels": float(len(await admin.pubsub_channels("mb:*"))),
        }
        kinds: Counter[str] = Counter()
        async for key in admin.scan_iter("mb:*", count=1000):
            named = _NAMED.match(key.decode())
            kinds[named[1] if named else "other"] += 1
        found |= {f"redis {kind} keys": float(count) for kind, count in kinds.items()}
        for queue in QUEUES:
            found |= await _in_queue(admin, QueueKeys(queue))
    except (RedisError, OSError):  # it is down, or was killed right now
        return {}
    return found


async def _in_queue(admin: Any, keys: QueueKeys) -> dict[str, float]:
    found = {f"{keys.queue} {what}": 0.0 for what in ("entries", "pending", "consumers")}
    for lane in LANES:
        found[f"{keys.queue} entries"] += await admin.xlen(keys.lane(lane))
        try:
            groups = [
                group
                for group in await admin.xinfo_groups(keys.lane(lane))
                if group["name"] == GROUP.encode()
            ]
        except ResponseError:  # this lane was never used
            continue
        found[f"{keys.queue} pending"] += sum(group["pending"] for group in groups)
        found[f"{keys.queue} consumers"] += sum(group["consumers"] for group in groups)
    return found
