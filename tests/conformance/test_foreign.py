"""Keys of ours that something else wrote to: work goes on, and the value is set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from microbatch.common.scripts import join

if TYPE_CHECKING:
    from tests.conformance.bench import Bench

NAMES = (
    *("lane:main", "lane:front", "lane:solo", "dead", "recent", "workers", "idle", "scheduled"),
    *("tombstones", "settings", "watchers", "listeners", "counters", "unique", "schedules", "about"),
)


@pytest.mark.parametrize("name", NAMES)
async def test_a_heartbeat_sets_a_foreign_value_aside_and_work_goes_on(bench: Bench, name: str) -> None:
    key = bench.keys.prefix + name
    await bench.raw.set(key, "oops")

    assert (await bench.beat("w1", thorough=True)).aside == (name,)

    assert await bench.raw.get(bench.keys.aside(name)) == b"oops"
    assert (await bench.beat("w1", thorough=True)).aside == ()
    await bench.submit("a")
    assert [entry.local for entry in await bench.take("b1")] == ["a"]
    assert (await bench.queue()).running == 1


async def test_a_watcher_of_another_type_is_set_aside_too(bench: Bench) -> None:
    await bench.raw.rpush(bench.keys.watcher, "oops")

    assert (await bench.beat("w1", thorough=True)).aside == ("watcher",)


@pytest.mark.parametrize("name", ["settings", "workers", "idle", "lane:main"])
async def test_a_worker_can_arrive_although_a_key_is_broken(bench: Bench, name: str) -> None:
    await bench.raw.set(bench.keys.prefix + name, "oops")

    await bench.run(join(bench.keys, "w1", max_batch_size=3, max_wait_ms=5))

    assert (await bench.queue()).workers == 1


@pytest.mark.parametrize("name", NAMES)
async def test_the_status_names_a_foreign_key_and_tells_the_rest(bench: Bench, name: str) -> None:
    await bench.submit("a")
    await bench.raw.delete(bench.keys.prefix + name)
    await bench.raw.set(bench.keys.prefix + name, "oops")

    status = await bench.queue()

    assert status.foreign == (name,)
    assert status.waiting == (0 if name.startswith("lane:") else 1)


async def test_a_look_says_when_the_next_worker_would_count_as_dead(bench: Bench) -> None:
    assert (await bench.beat("w1")).next_dead_s is None
    await bench.raw.zadd(bench.keys.workers, {"w2": await bench.now_ms() - 10_000})

    left_s = (await bench.beat("w1")).next_dead_s

    assert left_s is not None
    assert 0 <= left_s <= 6
