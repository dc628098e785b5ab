"""The foreman: what each order does, what is refused, and that nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from microbatch.common.limits import BatchLimits
from microbatch.common.orders import ORDERS, Answer, Order
from microbatch.common.settings import WorkerSettings, queue_settings
from microbatch.common.worker_facts import WorkerFacts
from microbatch.worker import foreman as foreman_module
from microbatch.worker.bell import Bell
from microbatch.worker.foreman import Foreman
from microbatch.worker.retirement import Retirement
from microbatch.worker.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator


class Site:
    """A foreman with two queues that do nothing, on the running loop."""

    def __init__(self) -> None:
        settings = WorkerSettings(concurrency=2)
        self.resized: list[int] = []
        self.agents = [self._agent(queue_settings(queue, settings=settings)) for queue in ("a", "b")]
        self.retirement = Retirement(settings, lambda: None)
        tally = Tally([agent.settings for agent in self.agents])
        loop = asyncio.get_running_loop()
        self.foreman = Foreman(("gpu",), self.agents, self.retirement, tally, loop)

    def _agent(self, settings: Any) -> Any:
        return SimpleNamespace(
            settings=settings,
            ledger=SimpleNamespace(slots=settings.concurrency, running=1, batch_ids=lambda: ["b1"]),
            claimer=SimpleNamespace(
                is_quiet=False, state="", form=SimpleNamespace(limits=BatchLimits(8, None))
            ),
            bell=Bell(),
            resize=self.resized.append,
            runner=SimpleNamespace(sidelines=list),
        )

    def order(self, name: str, order_id: str = "o1", **values: str) -> Answer:
        return self.order_at(0, name, order_id, **values)

    def order_at(self, queue: int, name: str, order_id: str = "o1", **values: str) -> Answer:
        order = Order(order_id, name, values, "me@here")
        return Answer.read(self.foreman.answer(self.agents[queue], order, loop_silent_s=1.5))


@pytest.fixture
async def site() -> Site:
    return Site()


@pytest.fixture
def mended_levels() -> Iterator[None]:
    before = logging.getLogger("microbatch.test").level
    yield
    logging.getLogger("microbatch.test").setLevel(before)


async def test_every_order_that_there_is_is_carried_out(site: Site, mended_levels: None) -> None:
    values = {
        "resize": {"concurrency": "3"},
        "set": {"max_batch_size": "8"},
        "log-level": {"level": "debug", "logger": "microbatch.test"},
    }
    site.retirement.is_heeded = True
    for name in ORDERS:
        if name != "stop":
            assert site.order(name, name, **values.get(name, {})).status == "done", name
    assert site.order("stop", "stop").status == "done"


async def test_quiet_and_resume_concern_every_queue_and_wake_the_claim_loops(site: Site) -> None:
    assert site.order("quiet", "o1") == Answer("done", {"running": 2})
    assert [agent.claimer.is_quiet for agent in site.agents] == [True, True]
    await asyncio.sleep(0)
    assert all(agent.bell.is_rung for agent in site.agents)
    assert site.order("resume", "o2").status == "done"
    assert [agent.claimer.is_quiet for agent in site.agents] == [False, False]


async def test_orders_are_carried_out_from_another_thread(site: Site) -> None:
    thread = threading.Thread(target=lambda: site.order("resize", concurrency="5"))
    thread.start()
    await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    assert site.resized == [5]


async def test_an_order_that_comes_again_is_answered_again_and_not_carried_out(site: Site) -> None:
    first = site.order("quiet")
    for agent in site.agents:
        agent.claimer.is_quiet = False
    assert site.order("quiet") == first
    site.foreman.answered(site.agents[0], Order("o1", "quiet", {}, ""))
    assert site.order("quiet").status == "done"
    assert not site.agents[0].claimer.is_quiet


async def test_resize_concerns_the_queue_through_which_it_came(site: Site) -> None:
    for queue, name in enumerate("ab"):
        answer = site.order_at(queue, "resize", "o1", concurrency=str(queue + 4))
        assert answer.value == {"queue": name, "concurrency": queue + 4, "before": 2}
    assert [agent.ledger.slots for agent in site.agents] == [4, 5]
    await asyncio.sleep(0)
    assert site.resized == [4, 5]


async def test_set_says_what_holds_now(site: Site) -> None:
    assert site.order("set", max_batch_size="8").value == {
        "queue": "a",
        "max_batch_size": 8,
        "max_wait_ms": 5.0,
    }


async def test_stop_is_a_wish_to_leave_and_is_told_at_once(site: Site) -> None:
    told: list[str] = []
    site.retirement.is_heeded = True
    site.retirement.on_order = lambda: told.append("at once")
    assert site.order("stop").status == "done"
    assert told == ["at once"]
    assert site.retirement.why == "me@here ordered it"
    await asyncio.wait_for(site.retirement.wait(), 30)


async def test_who_leaves_does_not_resume_or_grow(site: Site) -> None:
    site.retirement.is_heeded = True
    site.order("stop", "o1")
    assert site.order("resume", "o2").status == "refused"
    assert "leaving" in site.order("resize", "o3", concurrency="9").error
    assert site.agents[0].ledger.slots == 2


async def test_a_worker_inside_of_a_program_refuses_to_stop(site: Site) -> None:
    answer = site.order("stop")
    assert (answer.status, site.retirement.why) == ("refused", "")


@pytest.mark.parametrize(("name", "values"), [("explode", {}), ("resize", {}), ("\ufffd", {"\ufffd": "x"})])
async def test_what_makes_no_sense_is_refused(site: Site, name: str, values: dict[str, str]) -> None:
    assert site.order(name, **values).status == "refused"


async def test_a_bug_of_ours_is_an_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise LookupError("no stacks")

    monkeypatch.setattr(foreman_module, "stacks", broken)
    assert site.order("dump") == Answer("failed", error="LookupError: no stacks")


async def test_a_ping_says_how_long_the_loop_has_been_silent(site: Site) -> None:
    assert site.order("ping").value["loop_silent_s"] == 1.5


async def test_a_dump_shows_where_threads_are_and_no_values(site: Site) -> None:
    go, begun = threading.Event(), threading.Event()

    def wait_with_a_secret() -> None:
        hidden = "hunter" + "2"
        begun.set()
        go.wait(10 if hidden else 0)

    thread = threading.Thread(target=wait_with_a_secret, name="the-waiting-one")
    thread.start()
    await asyncio.to_thread(begun.wait, 10)
    answer = site.order("dump")
    go.set()
    await asyncio.to_thread(thread.join)
    assert answer.value["open_batches"] == {"a": ["b1"], "b": ["b1"]}
    assert "thread the-waiting-one:" in answer.value["stacks"]
    assert "wait_with_a_secret" in answer.value["stacks"]
    assert "hunter2" not in answer.value["stacks"]


async def test_stats_are_numbers_that_json_knows(site: Site) -> None:
    value = site.order("stats").value
    assert json.loads(json.dumps(value)) == value
    assert value["queues"]["a"]["concurrency"] == 2
    assert value["rss_bytes"] > 1_000_000


async def test_a_level_is_set_and_the_one_before_is_told(site: Site, mended_levels: None) -> None:
    logger = logging.getLogger("microbatch.test")
    logger.setLevel(logging.ERROR)
    assert site.order("log-level", level="debug", logger="microbatch.test").value["before"] == "error"
    assert logger.level == logging.DEBUG


async def test_it_says_who_the_worker_is(site: Site) -> None:
    facts = WorkerFacts.parse(site.foreman.about(site.agents[0]).encode())
    assert (facts.state, facts.concurrency, facts.labels) == ("", 2, ("gpu",))
    site.agents[0].claimer.state = "quiet"
    assert WorkerFacts.parse(site.foreman.about(site.agents[0]).encode()).state == "quiet"
    site.retirement.stuck("it hangs")
    assert WorkerFacts.parse(site.foreman.about(site.agents[0]).encode()).state == "stuck"


async def test_what_was_carried_out_is_forgotten_after_a_thousand_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreman_module, "MOST_REMEMBERED", 3)
    for number in range(9):
        site.order("ping", f"o{number}")
    assert len(site.foreman._answers) == 3
