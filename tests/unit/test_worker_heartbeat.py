"""The heartbeat thread against a scripted Redis: no queue's trouble stops it or silences the others."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.kit import until

from microbatch.common.errors import ConnectionFailed, ServerError
from microbatch.common.keys import QueueKeys
from microbatch.common.scripts import Look, Released, TakenOver
from microbatch.common.settings import WorkerSettings
from microbatch.worker.bell import Bell
from microbatch.worker.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = Look(work_waits=False, orphans=[], dead=[])
IDLE_AT = 3  # among the arguments of a heartbeat


class ScriptedRedis:
    """Answers each script by a function of the queue's prefix; remembers the calls by script."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, list[Any]]] = []
        self.look: Callable[[str], Look] = lambda _prefix: NOTHING
        self.release: Callable[[str], Released] = lambda _batch: Released(1, 0)
        self.takeover: Callable[[str], TakenOver] = lambda _dead: TakenOver(1, 0, 0)
        self.is_closed = False

    def run(self, call: Any, **_options: Any) -> Any:
        self.calls.append((call.script.name, call.prefix, list(call.args)))
        match call.script.name:
            case "heartbeat":
                return self.look(call.prefix)
            case "release":
                return self.release(call.args[1])
            case "takeover":
                return self.takeover(call.args[1])
        return 0

    def close(self) -> None:
        self.is_closed = True

    def beats(self, queue: str) -> int:
        prefix = QueueKeys(queue).prefix
        return sum(1 for name, where, _ in list(self.calls) if name == "heartbeat" and where == prefix)


def an_agent(queue: str, *batches: str, begun: tuple[str, ...] = (), unseen: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(
        keys=QueueKeys(queue),
        settings=SimpleNamespace(queue=queue, result_ttl_s=60.0),
        ledger=SimpleNamespace(
            batch_ids=lambda: list(batches),
            ids_to_release=lambda: list(batches),
            is_unseen=unseen.__contains__,
            offer=SimpleNamespace(ids=()),
            holds=lambda _batch_id: False,
        ),
        claimer=SimpleNamespace(is_idle=True, form=SimpleNamespace(heed=lambda _limits: None)),
        runner=SimpleNamespace(due_s=list, blocks_loop=True),
        bell=Bell(),
        ground=lambda: None,
        has_begun=begun.__contains__,
    )


def a_heartbeat(redis: ScriptedRedis, *agents: Any, interval_s: float = 0.002) -> Heartbeat:
    settings = WorkerSettings(heartbeat_limit_s=1, loop_stall_limit_s=5, max_crashes=2)
    heartbeat = Heartbeat(redis, "me", settings, agents)  # type: ignore[arg-type] # fakes
    heartbeat._interval_s = interval_s
    return heartbeat


async def test_it_beats_for_every_queue_and_ends_when_told() -> None:
    redis = ScriptedRedis()
    heartbeat = a_heartbeat(redis, an_agent("a", "b1"), an_agent("b"))

    heartbeat.start()
    await until(lambda: redis.beats("a") > 3 and redis.beats("b") > 3)
    await heartbeat.stop()

    assert redis.is_closed
    assert not heartbeat._thread.is_alive()
    assert redis.calls[0][2][6:] == ["b1"]


@pytest.mark.parametrize(
    "error", [ServerError("WRONGTYPE"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")]
)
async def test_a_queue_whose_keys_are_damaged_silences_neither_itself_nor_the_others(
    error: Exception,
) -> None:
    redis = ScriptedRedis()
    damaged = QueueKeys("a").prefix

    def look(prefix: str) -> Look:
        if prefix == damaged:
            raise error
        return Look(work_waits=False, orphans=[], dead=["gone"])

    redis.look = look
    heartbeat = a_heartbeat(redis, an_agent("a"), an_agent("b"))

    heartbeat.start()
    await until(lambda: redis.beats("a") > 5 and redis.beats("b") > 5)
    await until(lambda: any(name == "takeover" for name, _, _ in list(redis.calls)))
    await heartbeat.stop()


async def test_a_dead_worker_that_cannot_be_taken_over_does_not_hide_the_next_one() -> None:
    redis = ScriptedRedis()
    redis.look = lambda _prefix: Look(work_waits=False, orphans=[], dead=["cursed", "gone"])
    taken: list[str] = []

    def take(dead: str) -> TakenOver:
        if dead == "cursed":
            raise ServerError("attempt to concatenate nil")
        taken.append(dead)
        return TakenOver(1, 0, 0)

    redis.takeover = take
    heartbeat = a_heartbeat(redis, an_agent("a"))

    heartbeat.start()
    await until(lambda: taken)
    await heartbeat.stop()


async def test_nobody_is_called_dead_before_three_beats_in_a_row_have_arrived() -> None:
    redis = ScriptedRedis()
    beats = 0
    at_takeover: list[int] = []

    def look(_prefix: str) -> Look:
        nonlocal beats
        beats += 1
        if beats == 2:
            raise ConnectionFailed("gone")
        return Look(work_waits=False, orphans=[], dead=["other"])

    def take(_dead: str) -> TakenOver:
        at_takeover.append(beats)
        return TakenOver(1, 0, 0)

    redis.look, redis.takeover = look, take
    heartbeat = a_heartbeat(redis, an_agent("a"))

    heartbeat.start()
    await until(lambda: at_takeover)
    await heartbeat.stop()

    assert at_takeover[0] == 6  # the failure is forgotten after three good beats: 3, 4 and 5


async def test_it_never_takes_over_from_itself() -> None:
    redis = ScriptedRedis()
    redis.look = lambda _prefix: Look(work_waits=False, orphans=[], dead=["me"])
    heartbeat = a_heartbeat(redis, an_agent("a"))

    heartbeat.start()
    await until(lambda: redis.beats("a") > 8)
    await heartbeat.stop()

    assert not [name for name, _, _ in redis.calls if name == "takeover"]


async def test_a_takeover_in_chunks_goes_on_until_nothing_is_left_and_rings_the_bell() -> None:
    redis = ScriptedRedis()
    redis.look = lambda _prefix: Look(work_waits=False, orphans=[], dead=["gone"])
    replies = [TakenOver(256, 0, 10), TakenOver(10, 0, 0)]
    redis.takeover = lambda _dead: replies.pop(0) if replies else TakenOver(-1, 0, 0)
    agent = an_agent("a")
    heartbeat = a_heartbeat(redis, agent)

    heartbeat.start()
    await until(lambda: not replies)
    await until(lambda: agent.bell.is_rung)
    await heartbeat.stop()


async def test_orphaned_batches_count_as_runs_unless_their_claims_were_never_answered() -> None:
    redis = ScriptedRedis()
    redis.look = lambda _prefix: Look(work_waits=False, orphans=["b8", "b9"], dead=[])
    left = [Released(0, 0), Released(256, 1)]
    redis.release = lambda _batch: left.pop() if left else Released(0, 0)
    heartbeat = a_heartbeat(redis, an_agent("a", unseen=("b9",)))

    heartbeat.start()
    await until(lambda: sum(name == "release" for name, _, _ in list(redis.calls)) > 2)
    await heartbeat.stop()

    released = [args for name, _, args in redis.calls if name == "release"]
    again = ["me", "b8", 1, "front", 0]
    assert released[:3] == [again, again, ["me", "b9", 0, "front", 0]]


async def test_a_stuck_loop_silences_the_heartbeat_until_it_ticks_again() -> None:
    redis = ScriptedRedis()
    heartbeat = a_heartbeat(redis, an_agent("a"))
    heartbeat._vitality._loop_stall_limit_s = 0.05

    heartbeat.start()
    await until(lambda: redis.beats("a") > 2)
    time.sleep(0.15)  # noqa: ASYNC251 - blocking the loop is the point
    beats = redis.beats("a")
    time.sleep(0.1)  # noqa: ASYNC251 - as above
    assert redis.beats("a") == beats
    await until(lambda: redis.beats("a") > beats + 2)
    await heartbeat.stop()


async def test_handing_everything_back_counts_runs_that_began_and_forgets_the_worker() -> None:
    redis = ScriptedRedis()
    heartbeat = a_heartbeat(redis, an_agent("a", "b1", "b2", begun=("b1",)), an_agent("b", "b3"))

    moved: list[int] = []
    thread = threading.Thread(target=lambda: moved.append(heartbeat.hand_back_all()))
    thread.start()
    thread.join(5)

    assert moved == [3]
    steps = [(name, args[1], args[2]) for name, _, args in redis.calls if name == "release"]
    assert steps == [("release", "b1", 1), ("release", "b2", 0), ("release", "b3", 0)]
    assert [args for name, _, args in redis.calls if name == "step_aside"] == [["me", 1]] * 2


async def test_when_the_loop_is_closed_the_thread_ends() -> None:
    redis = ScriptedRedis()
    heartbeat = a_heartbeat(redis, an_agent("a"))

    class ClosedLoop:
        def call_soon_threadsafe(self, _callback: object) -> None:
            raise RuntimeError("Event loop is closed")

    heartbeat._loop = ClosedLoop()  # type: ignore[assignment] # a fake
    heartbeat._thread.start()

    heartbeat._thread.join(5)
    assert not heartbeat._thread.is_alive()


async def test_a_worker_whose_loop_is_held_up_is_idle_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis, agent = ScriptedRedis(), an_agent("a")
    unlisted = threading.Event()

    def look(_prefix: str) -> Look:
        if redis.calls[-1][2][IDLE_AT] == 0:
            unlisted.set()
        return NOTHING

    redis.look = look
    heartbeat = a_heartbeat(redis, agent, interval_s=0.1)
    monkeypatch.setattr(heartbeat._vitality, "_loop_stall_limit_s", 60.0)
    heartbeat.start()
    await until(lambda: any(args[IDLE_AT] == 1 for name, _, args in list(redis.calls) if name == "heartbeat"))
    assert unlisted.wait(30)  # the loop stands still meanwhile
    await heartbeat.stop()


async def test_an_orphan_that_was_offered_is_given_up_on_the_loop_before_it_is_handed_back() -> None:
    redis, agent, missed = ScriptedRedis(), an_agent("a"), list[str]()

    def miss(batch_id: str) -> None:
        missed.append(batch_id)
        agent.ledger.offer.ids = ()
        assert not any(name == "release" for name, _, _ in redis.calls)

    agent.ledger.offer.ids = ("b1",)
    agent.ledger.miss = miss
    redis.look = lambda _prefix: Look(work_waits=False, orphans=["b1"], dead=[])
    redis.release = lambda _batch: Released(0, 0)
    heartbeat = a_heartbeat(redis, agent)
    heartbeat.start()
    await until(lambda: any(name == "release" for name, _, _ in list(redis.calls)))
    await heartbeat.stop()
    assert missed[:1] == ["b1"]
