"""Recurring jobs: a cron expression, an interval, and one run at once, with two workers and one job a tick.

Run it: `python examples/recurring.py` (it starts a server of its own; needs `microbatch[cron]`).
"""

from __future__ import annotations

import asyncio

from microbatch.console.admin import Admin
from microbatch.worker import Batch, Schedule, Worker, WorkerSettings, batch_processor

URL = "embedded://"
ENOUGH = 3
ran: list[str] = []
enough = asyncio.Event()


@batch_processor(queue="report", max_wait_ms=5)
async def report(batch: Batch[str]) -> list[str]:
    """Write a report; the headers say for which tick."""
    for job in batch:
        ran.append(f"{job.headers['schedule']} for {job.headers['tick']:%H:%M:%S}")
        print(f"{job.payload}: {ran[-1]}")
    if len(ran) >= ENOUGH:
        enough.set()
    return ["written" for _ in batch]


nightly = Schedule("nightly", queue="report", cron="0 3 * * *", timezone="Europe/Berlin", payload="all of it")
poll = Schedule("poll", queue="report", every_s=1, payload="news", missed="skip")


async def main() -> None:
    """Two workers that declare the same schedules; each tick has one job all the same."""
    settings = WorkerSettings(redis_url=URL)
    workers = [Worker([report, nightly, poll], settings=settings) for _ in range(2)]
    async with workers[0], workers[1], Admin(URL) as admin:
        await admin.schedules("report").run_now("nightly")
        await asyncio.wait_for(enough.wait(), 30)
        for schedule in await admin.schedules("report").all():
            print(f"{schedule.name}: {schedule.rule}, next at {schedule.next_at:%Y-%m-%d %H:%M:%S}Z")
    print(f"each tick once: {len(ran) == len(set(ran))}")


if __name__ == "__main__":
    asyncio.run(main())
