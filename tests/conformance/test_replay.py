"""The replay matrix: each script x {request lost, reply lost, executed twice, executed late}.

Requests and replies are really lost, on a link to a real server; the production connection repeats the call.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.link import Link, Trap, calls_of
from tests.conformance.replay_control import CONTROL_ROWS
from tests.conformance.replay_orders import ORDER_ROWS
from tests.conformance.replay_table import ROWS as TABLE
from tests.conformance.replay_table import Late, Row

import microbatch.common.scripts
from microbatch.common.connection import Connection, Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conformance.bench import Bench
    from tests.servers import Servers

    from microbatch.common.scripts import Call

SCRIPTS = Path(microbatch.common.scripts.__file__).parent
ROWS = [*TABLE, *CONTROL_ROWS, *ORDER_ROWS]
LATE = [(row, name) for row in ROWS for name in row.late]


def _id(value: Any) -> str:
    return value.script if isinstance(value, Row) else str(value)


@pytest.fixture
async def link(real_bench: Bench, servers: Servers) -> AsyncIterator[Link]:
    running = servers._running[real_bench.engine.name]
    async with Link(running.url.removeprefix("unix://").partition("?")[0]) as made:
        yield made


async def picture(bench: Bench) -> dict[str, object]:
    """Everything that the queue's keys say, without times and entry ids."""
    found: dict[str, object] = {}
    async for key in bench.raw.scan_iter(f"{bench.keys.prefix}*"):
        kind = (await bench.raw.type(key)).decode()
        found[key.decode()] = await _content(bench, kind, key)
    return found


async def _content(bench: Bench, kind: str, key: bytes) -> object:
    if kind == "hash":
        fields = await bench.raw.hgetall(key)
        return sorted(_without_times(name, value) for name, value in fields.items())
    if kind == "stream":
        groups = [(group["pending"], group["consumers"]) for group in await bench.raw.xinfo_groups(key)]
        entries = [fields for _, fields in await bench.raw.xrange(key)]
        return groups, [sorted(_without_times(*pair) for pair in fields.items()) for fields in entries]
    if kind == "zset":
        return sorted(await bench.raw.zrange(key, 0, -1))
    if kind == "set":
        return len(await bench.raw.smembers(key))
    return kind


def _without_times(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name.endswith(b"_ms") or name == b"dead_token":
        return name, b""
    if name == b"entry":
        return name, value.partition(b":")[0]
    return name, b" ".join(word for word in value.split(b" ") if not word[:1].isdigit() and b":" not in word)


async def run_through(link: Link, call: Call[Any]) -> Any:
    """As a process of ours runs it: repeated until a reply has come."""
    connection = Connection(Endpoint(link.url, 10.0, "replay"))
    try:
        await connection.execute("SCRIPT", "LOAD", call.script.text)  # NOSCRIPT would be a reply too
        return await connection.run(call)
    finally:
        await connection.close()


def test_every_script_has_a_row_in_the_table() -> None:
    assert {row.script for row in ROWS} == {path.stem for path in SCRIPTS.glob("*.lua")}
    assert [row.script for row in ROWS if not row.late] == []


@pytest.mark.parametrize("row", ROWS, ids=_id)
async def test_a_call_whose_request_was_lost_is_executed_once(
    real_bench: Bench, link: Link, row: Row
) -> None:
    call = await row.stage(real_bench)
    link.lay(Trap(calls_of(call.script.sha), lost="request"))

    assert row.show(await run_through(link, call)) == row.first
    assert link.happened["lost_request"] == 1


@pytest.mark.parametrize("row", ROWS, ids=_id)
async def test_a_call_whose_reply_was_lost_is_repeated_without_harm(
    real_bench: Bench, link: Link, row: Row
) -> None:
    await real_bench.run(await row.stage(real_bench))
    once = await picture(real_bench)
    await real_bench.raw.flushdb()
    call = await row.stage(real_bench)
    link.lay(Trap(calls_of(call.script.sha)))

    assert row.show(await run_through(link, call)) == row.again
    assert link.happened["lost_reply"] == 1
    assert await picture(real_bench) == once


@pytest.mark.parametrize("row", ROWS, ids=_id)
async def test_a_call_that_is_executed_twice_changes_nothing_the_second_time(
    real_bench: Bench, row: Row
) -> None:
    call = await row.stage(real_bench)
    assert row.show(await real_bench.run(call)) == row.first
    once = await picture(real_bench)

    assert row.show(await real_bench.run(call)) == row.again
    assert await picture(real_bench) == once


@pytest.mark.parametrize(("row", "name"), LATE, ids=_id)
async def test_a_call_that_is_executed_late_does_no_harm(real_bench: Bench, row: Row, name: str) -> None:
    late: Late = row.late[name]
    call = await row.stage(real_bench)
    if not late.delayed:
        await real_bench.run(call)
    await late.move(real_bench)
    before = await picture(real_bench)

    assert row.show(await real_bench.run(call)) == late.answer
    after = await picture(real_bench)
    assert (after == before) == (late.effect is None)
