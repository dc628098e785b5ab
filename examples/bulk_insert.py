"""A bulk-insert worker: many programs each log one event, the database sees one transaction per batch.

Run it:     python examples/bulk_insert.py
Its worker: cd examples && EVENTS_DB=events.sqlite microbatch worker bulk_insert:insert_events
"""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from microbatch.producer import Client
from microbatch.worker import Batch, batch_processor

SCHEMA = "CREATE TABLE IF NOT EXISTS event (job_id TEXT PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL)"


@batch_processor(queue="events", max_batch_size=500, max_wait_ms=20)
def insert_events(batch: Batch[dict[str, Any]]) -> dict[str, Any]:
    """Insert the batch in one transaction.

    A job can run again after a crash, so its id is the key and the second insert does nothing. An event that
    lacks a field fails alone: its error stands in its place.
    """
    results: dict[str, Any] = {}
    with closing(sqlite3.connect(os.environ["EVENTS_DB"], timeout=30)) as database, database:
        database.execute(SCHEMA)
        for job in batch:
            try:
                row = (job.id, job.payload["kind"], job.payload["body"])
            except KeyError as missing:
                results[job.id] = ValueError(f"an event without {missing}")
                continue
            database.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?)", row)
            results[job.id] = True
    return results


def main() -> None:
    """Submit 2,000 events from plain threads' point of view, and count the rows."""
    from threading import Thread  # noqa: PLC0415 - only the demonstration needs it

    from microbatch.worker import Worker, WorkerSettings  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        os.environ["EVENTS_DB"] = str(Path(folder) / "events.sqlite")
        worker = Worker([insert_events], settings=WorkerSettings(redis_url="embedded://"))
        with Client("embedded://") as client:
            working = Thread(target=worker.run, kwargs={"burst": True})
            jobs = client.submit_many(
                "events", ({"kind": "click", "body": f"event {n}"} for n in range(2_000))
            )
            working.start()
            stored = sum(job.result(timeout_s=30) for job in jobs)
            working.join()
        with closing(sqlite3.connect(os.environ["EVENTS_DB"])) as database:
            rows = database.execute("SELECT count(*) FROM event").fetchone()[0]
    print(f"{stored} events stored, {rows} rows")


if __name__ == "__main__":
    main()
