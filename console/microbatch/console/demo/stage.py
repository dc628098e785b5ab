"""One pass of the work: a server, two workers and two producers, on fresh files.

Rule: nothing is measured before everybody is ready, and nobody waits without a bound. A process that ends
before its time ends the pass. `stop` may be called at any moment and repeated; it leaves nothing running.
"""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from microbatch.common.connection import BlockingConnection, Endpoint
from microbatch.common.embedded import EmbeddedServer
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import queue_status
from microbatch.common.worker_facts import HEARTBEAT_LIMIT_S
from microbatch.console.demo.child import Child, DemoFailed, Ended, Event, Said
from microbatch.console.demo.processor import INDEX_VARIABLE, QUEUE
from microbatch.console.demo.producer import STYLES
from microbatch.console.demo.work import Report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from microbatch.console.demo.interruption import Interruption

__all__ = ["WORKERS", "Stage"]

WORKERS = 2
_PROCESSOR = "microbatch.console.demo.processor:index"
_READY_TIMEOUT_S = 30.0
_SILENCE_LIMIT_S = 60.0
_DRAIN_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_LOOK_INTERVAL_S = 0.02
_COMMAND_TIMEOUT_S = 5.0


class Stage:
    """The processes of one pass.

    Args:
        directory: For the pass's files; exists.
        index: The SQLite file; exists.
        docstrings: The work; exists.
        max_batch_size: How many jobs a batch may have.
    """

    def __init__(self, directory: Path, *, index: Path, docstrings: Path, max_batch_size: int) -> None:
        self._directory = directory
        self._index = index
        self._docstrings = docstrings
        self._worker_options = ["--max-batch-size", str(max_batch_size)]
        self._server = EmbeddedServer()
        self._workers: list[Child] = []
        self._reported: set[Child] = set()
        self._producers: list[Child] = []
        self._events: SimpleQueue[Event] = SimpleQueue()

    def start(self, interruption: Interruption) -> None:
        """Start everybody and wait until all are ready.

        Args:
            interruption: Holds signals back while something is being started, so that `stop` knows it.

        Raises:
            DemoFailed: One of them ended or took too long.
            EmbeddedServerError: The server cannot be started.
        """
        with interruption.held():
            self._server.start()
        for number in range(1, WORKERS + 1):
            with interruption.held():
                self._workers.append(self._worker(f"worker {number}"))
        for share, style in enumerate(STYLES):
            with interruption.held():
                self._producers.append(self._producer(f"producer {share + 1}", style, share))
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        ready: set[Child] = set()
        while len(ready) < len(self._producers):
            said = self._heard(deadline_s - time.monotonic())
            if "ready" in said.message:
                ready.add(said.child)
        self._wait_for_workers(deadline_s)

    def run(self, on_progress: Callable[[int], None]) -> list[Report]:
        """Let the producers do the work.

        Args:
            on_progress: Called with the number of jobs that have ended, now and then.

        Returns:
            Each producer's report.

        Raises:
            DemoFailed: A process ended, or nothing happened for too long.
        """
        for producer in self._producers:
            producer.begin()
        done = dict.fromkeys(self._producers, 0)
        reports: dict[Child, Report] = {}
        while len(reports) < len(self._producers):
            said = self._heard(_SILENCE_LIMIT_S)
            if "outcomes" in said.message:
                self._reported.add(said.child)
                reports[said.child] = report = Report.from_message(said.message)
                done[said.child] = len(report.outcomes)
            else:
                done[said.child] = said.message.get("done", done.get(said.child, 0))
            on_progress(sum(done.values()))
        return list(reports.values())

    def leave(self) -> None:
        """Let the workers drain, and stop everything.

        Raises:
            DemoFailed: A worker did not leave as it should.
        """
        for worker in self._workers:
            worker.ask_to_leave()
        for worker in self._workers:
            exit_code = worker.end(_DRAIN_TIMEOUT_S)
            if exit_code:
                raise worker.failure(f"did not drain in time or failed: it left with {exit_code}")
        self.stop()

    def stop(self) -> None:
        """Stop what still runs, at once or nearly so."""
        children = self._producers + self._workers
        for child in children:
            child.ask_to_leave()
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        for child in children:
            child.end(max(0.0, deadline_s - time.monotonic()))
        self._server.stop()

    def _worker(self, name: str) -> Child:
        arguments = ["worker", _PROCESSOR, "--redis-url", self._server.url, *self._worker_options]
        return self._child(name, ["-m", "microbatch.console.demo.tether", *arguments])

    def _producer(self, name: str, style: str, share: int) -> Child:
        arguments = [style, self._server.url, str(self._docstrings), str(share), str(len(STYLES))]
        return self._child(name, ["-m", "microbatch.console.demo.producer", *arguments])

    def _child(self, name: str, arguments: list[str]) -> Child:
        return Child(name, arguments, self._directory, {INDEX_VARIABLE: str(self._index)}, self._events)

    def _heard(self, timeout_s: float) -> Said:
        """The next thing that somebody says; an end that is no good one is raised."""
        while True:
            try:
                event = self._events.get(timeout=max(0.0, timeout_s))
            except Empty:
                raise DemoFailed(f"nothing happened for {max(0.0, timeout_s):.0f} s") from None
            if isinstance(event, Said):
                return event
            self._judge(event)

    def _judge(self, event: Ended) -> None:
        if event.exit_code or event.child in self._workers:
            raise event.child.failure(f"ended unexpectedly ({_how(event.exit_code)})")
        if event.child not in self._reported:
            raise event.child.failure("ended without its report")

    def _wait_for_workers(self, deadline_s: float) -> None:
        """Ask the queue, which is who has to know them."""
        connection = BlockingConnection(Endpoint(self._server.url, _COMMAND_TIMEOUT_S, "microbatch:demo"))
        look = queue_status(QueueKeys(QUEUE), heartbeat_limit_ms=round(HEARTBEAT_LIMIT_S * 1000))
        try:
            while connection.run(look).workers < WORKERS:
                if time.monotonic() > deadline_s:
                    raise DemoFailed(f"the workers were not ready within {_READY_TIMEOUT_S:g} s")
                try:
                    event = self._events.get(timeout=_LOOK_INTERVAL_S)
                except Empty:
                    continue
                if isinstance(event, Ended):
                    self._judge(event)
        finally:
            connection.close()


def _how(exit_code: int) -> str:
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
