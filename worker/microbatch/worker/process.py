"""A worker as a process: its loop in a thread, its signals in the main thread.

Rule: Python runs signal handlers in the main thread, so that thread does nothing else: a processor that
blocks the loop cannot make the second signal deaf. The first TERM or INT drains; a second one, or the
deadline, hands the rest back over the heartbeat's connection and leaves at once. TSTP quiets, CONT resumes,
USR1 dumps. A service manager is told, and its watchdog is fed from here, while the loop and its claims live.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import DrainTimeout, MicrobatchError
from microbatch.worker.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microbatch.worker.worker import Worker

__all__ = ["run_in_process"]

log = logging.getLogger("microbatch.worker")
GRACE_S = 3.0
LOOK_S = 0.5
_DONE = 0
_RETIRING = -1
_SIGNALS = ("SIGTERM", "SIGINT", "SIGTSTP", "SIGCONT", "SIGUSR1")


def run_in_process(worker: Worker, *, burst: bool) -> None:
    """Run `worker` until it has left; see `Worker.run`."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("Worker.run() blocks; inside a running event loop use `async with worker:`")
    events: SimpleQueue[int] = SimpleQueue()
    notifier = Notifier.from_environment(os.environ, os.getpid())
    shell = _LoopThread(worker, events.put, notifier, burst=burst)
    with _signals_to(events):
        shell.start()
        _supervise(worker, shell, events, notifier)
    shell.result()


class _LoopThread:
    """The thread in which the worker's event loop runs."""

    def __init__(
        self, worker: Worker, tell: Callable[[int], None], notifier: Notifier, *, burst: bool
    ) -> None:
        self._worker = worker
        self._burst = burst
        self._tell = tell
        self._notifier = notifier
        self._leave = asyncio.Event()
        self._told_to_leave = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="microbatch-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just closed: it has left already
                loop.call_soon_threadsafe(function)

    def leave(self) -> None:
        """Begin to drain."""
        self._told_to_leave = True  # also where the loop does not run yet
        self.call(self._leave.set)

    def result(self) -> None:
        """Wait for the end and raise what ended it."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                self._loop = runner.get_loop()
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001 - raised again by result(), in the main thread
            self._error = error
        finally:
            self._tell(_DONE)

    async def _main(self) -> None:
        if self._told_to_leave:
            return
        started = asyncio.ensure_future(self._worker.start())
        leaving = asyncio.ensure_future(self._leave.wait())
        await asyncio.wait((started, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not started.done():  # told to leave while it was starting
            started.cancel()
            await asyncio.gather(started, return_exceptions=True)
            return
        try:
            started.result()
        except BaseException:
            leaving.cancel()
            raise
        self._notifier.ready(self._worker.queues)
        retirement = self._worker.retirement
        retirement.on_order = lambda: self._tell(_RETIRING)  # the deadline runs although the loop be blocked
        retiring = asyncio.ensure_future(retirement.wait())
        dry = asyncio.ensure_future(self._worker.wait_until_dry()) if self._burst else None
        reasons = [leaving, retiring, *([dry] if dry else [])]
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        if retiring.done():
            self._tell(_RETIRING)
        for waiting in reasons:
            waiting.cancel()
        self._notifier.stopping()
        handed_back = await self._worker.stop()
        if dry is not None and dry.done() and not dry.cancelled():
            dry.result()
        if retirement.is_stuck:
            raise DrainTimeout(handed_back + retirement.given_up, retirement.why)
        if handed_back or not self._worker.drained:
            raise DrainTimeout(handed_back)


def _supervise(worker: Worker, shell: _LoopThread, events: SimpleQueue[int], notifier: Notifier) -> None:
    deadline_s: float | None = None
    was_told = False
    while True:
        _feed(notifier, worker, shell)
        left_s = LOOK_S if deadline_s is None else deadline_s - time.monotonic()
        if left_s <= 0:
            _hand_back_now(worker, "the drain deadline passed")
        try:
            # Not for ever: the system may give a signal to another thread, and that does not wake this one.
            event = events.get(timeout=min(LOOK_S, left_s))
        except Empty:
            if worker.heartbeat is not None and worker.heartbeat.is_blocked():
                # Not handed back: a takeover sends its jobs to run alone, and counts what hangs alone.
                raise DrainTimeout(0, "a batch blocks the event loop past its time-out") from None
            continue
        if event == _DONE:
            return
        if event in {signal.SIGTERM, signal.SIGINT}:
            if was_told:
                _hand_back_now(worker, "a second signal came")
            was_told = True
            notifier.stopping()
            deadline_s = deadline_s or _deadline_s(worker)
            shell.leave()
            log.warning(
                "%s: draining (at most %g s)", signal.Signals(event).name, worker.settings.drain_timeout_s
            )
        elif event == _RETIRING:
            deadline_s = deadline_s or _deadline_s(worker)
        else:
            _heed(worker, shell, event)


def _feed(notifier: Notifier, worker: Worker, shell: _LoopThread) -> None:
    """Feed the watchdog while this worker lives, judged as `/livez` does."""
    now_s = time.monotonic()
    if notifier.wants_food(now_s):
        health = worker.observation.health
        shell.call(lambda: health.ticked(time.monotonic()))
        notifier.feed(now_s, health.why_not_live(now_s))


def _heed(worker: Worker, shell: _LoopThread, event: int) -> None:
    """Do what a signal asks that is not about leaving."""
    if event == getattr(signal, "SIGTSTP", None):
        shell.call(worker.quiet)
        log.warning("SIGTSTP: quiet, no new claims")
    elif event == getattr(signal, "SIGCONT", None):
        shell.call(worker.resume)
        log.warning("SIGCONT: claiming again")
    elif event == getattr(signal, "SIGUSR1", None):
        log.warning("SIGUSR1: %r, open batches: %s", worker, worker.open_batches())
        faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr, all_threads=True)


def _deadline_s(worker: Worker) -> float:
    """When to leave whatever happens: the loop keeps the deadline itself, this is for one that is blocked."""
    return time.monotonic() + worker.settings.drain_timeout_s + GRACE_S


def _hand_back_now(worker: Worker, why: str) -> None:
    handed_back = 0
    if worker.heartbeat is not None:
        try:
            handed_back = worker.heartbeat.hand_back_all()
        except MicrobatchError as error:
            log.error("could not hand back: %s; other workers take over after the heartbeat limit", error)
    log.warning("%s: handed %d jobs back, leaving at once", why, handed_back)
    raise DrainTimeout(handed_back, why)


@contextlib.contextmanager
def _signals_to(events: SimpleQueue[int]) -> Iterator[None]:
    """Route the signals to the queue while the worker runs, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in _SIGNALS if hasattr(signal, name)]
    previous: dict[int, Any] = {}
    for name in names:
        number = getattr(signal, name)
        previous[number] = signal.signal(number, lambda received, _frame: events.put(received))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where that is installed; else the standard one."""
    try:
        import uvloop  # noqa: PLC0415 - the `speed` extra
    except ImportError:
        return None
    return uvloop.new_event_loop  # type: ignore[no-any-return, unused-ignore]
