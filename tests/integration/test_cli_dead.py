"""`microbatch dead`: list, show, retry and purge on a real server, with letters of every kind in it."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from microbatch.common import scripts
from microbatch.common.codec import encode, encode_error
from microbatch.common.connection import Connection, Endpoint
from microbatch.common.errors import ClientClosed, ConnectionFailed
from microbatch.common.identifiers import payload_digest
from microbatch.common.keys import KNOWN_QUEUES, QueueKeys
from microbatch.common.scripts import BatchFacts, Claimed, NewJob, Outcome, RedriveCode
from microbatch.console.admin import Admin
from microbatch.producer import AsyncClient, ClientSettings, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]

KEYS = QueueKeys("work")
ERROR = encode_error("ValueError", "bad\x1b[2J\nvalue", "Traceback (most recent call last):\n  in \x1b[31m")


@pytest.fixture
def run(redis_url: str, run_main: Callable[..., Run]) -> Run:
    """Runs `microbatch dead` in this process: its code, stdout and stderr."""
    return run_main(redis_url, "dead")


def fail(url: str, *locals_: str, payload: Any = None) -> None:
    """Jobs that were submitted, claimed and failed."""
    asyncio.run(_fail(url, locals_, encode({"n": 1} if payload is None else payload)))


async def _fail(url: str, locals_: tuple[str, ...], payload: bytes) -> None:
    connection = Connection(Endpoint(url, 5.0, "test"))
    try:
        await connection.execute("SADD", KNOWN_QUEUES, "work")
        jobs = [NewJob(local, payload_digest(payload), payload) for local in locals_]
        await connection.run(scripts.submit(KEYS, "c", jobs, max_queue_length=10_000))
        call = scripts.claim(KEYS, "w1", "b1", max_batch_size=10_000, max_wait_ms=0, max_batch_bytes=1 << 24)
        claimed = await connection.run(call)
        assert isinstance(claimed, Claimed)
        outcomes = [Outcome(entry, "failed", ERROR) for entry in claimed.entries]
        facts = BatchFacts("w1", "b1", "wait", len(outcomes), 5)
        await connection.run(scripts.settle(KEYS, facts, outcomes, ttl_ms=60_000, dead_max_length=9_999))
    finally:
        await connection.close()


def letter_ids(url: str) -> list[str]:
    """The oldest first."""
    with redis.Redis.from_url(url, protocol=2) as server:
        return [letter_id.decode() for letter_id, _ in server.xrange(KEYS.dead)]


def record(url: str, local: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(url, protocol=2) as server:
        found: dict[bytes, bytes] = server.hgetall(KEYS.job(local))
        return found


def put_garbage(url: str) -> None:
    letters: list[dict[Any, Any]] = [
        {"hello": b"\xff\x00"},
        {b"\x1b[2J": b"\x1b[31m", "dead_error": b"\xc1", "payload": b"\xc1", "id": b"\xff"},
        {"v": "1", "id": "x", "payload": b"\xdd\xff\xff\xff\xff", "dead_attempt": "many"},
    ]
    with redis.Redis.from_url(url, protocol=2) as server:
        server.sadd(KNOWN_QUEUES, "work")
        for fields in letters:
            server.xadd(KEYS.dead, fields)


# --- list -----------------------------------------------------------------------------------


def test_the_list_has_the_newest_first_in_one_line_each(run: Run, redis_url: str) -> None:
    fail(redis_url, "a", "b", "c")
    code, out, err = run("list", "work")
    assert (code, err) == (0, "")
    titles, *rows = out.splitlines()
    assert titles.split() == ["LETTER", "JOB", "TIME", "ATTEMPTS", "ERROR", "MESSAGE"]
    assert [row.split()[1] for row in rows] == ["work/c", "work/b", "work/a"]
    assert [row.split()[0] for row in rows] == letter_ids(redis_url)[::-1]
    assert "\x1b" not in out
    assert "bad\\x1b[2J\\nvalue" in rows[0]


def test_the_list_is_limited_and_told_as_json(run: Run, redis_url: str) -> None:
    fail(redis_url, "a", "b", "c")
    code, out, err = run("list", "work", "--limit", "2", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["id"] for row in rows] == ["work/c", "work/b"]
    assert rows[0].keys() == {"letter", "id", "died_at", "attempts", "run", "error"}
    assert rows[0]["error"] == {"type": "ValueError", "message": "bad\x1b[2J\nvalue"}
    assert (rows[0]["attempts"], rows[0]["run"]) == (1, 1)


def test_a_queue_without_letters_says_so_and_an_unknown_one_is_exit_3(run: Run, redis_url: str) -> None:
    fail(redis_url, "a")
    assert run("purge", "work", "--all")[0] == 0
    assert run("list", "work") == (0, "no dead letters in work\n", "")
    assert run("list", "work", "--json") == (0, "[]\n", "")
    code, out, err = run("list", "wrok")
    assert (code, out) == (3, "")
    assert err == "microbatch dead: no queue 'wrok'; did you mean work?\n"


# --- show -----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["letter", "full", "local"])
def test_one_letter_is_shown_whole(run: Run, redis_url: str, by: str) -> None:
    fail(redis_url, "order-17", "other")
    name = {"letter": letter_ids(redis_url)[0], "full": "work/order-17", "local": "order-17"}[by]
    code, out, err = run("show", "work", name)
    assert (code, err) == (0, "")
    assert "job       work/order-17" in out
    assert "error     ValueError: bad" in out
    assert "          Traceback (most recent call last):" in out
    assert 'payload   {"n": 1}' in out
    assert "\x1b" not in out


def test_a_letter_as_json_has_the_payload_and_the_traceback(run: Run, redis_url: str) -> None:
    fail(redis_url, "a", payload=[b"\x00", None])
    code, out, _ = run("show", "work", "a", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["payload"] == [{"$bytes": "AA=="}, None]
    assert shown["error"]["traceback"].startswith("Traceback")
    assert (shown["worker"], shown["batch"]) == ("w1", "b1")


@pytest.mark.parametrize("name", ["1-1", "none", "work/none", "x" * 200, ""])
def test_no_such_letter_is_exit_3(run: Run, redis_url: str, name: str) -> None:
    fail(redis_url, "a")
    code, out, err = run("show", "work", name)
    assert (code, out) == (3, "")
    assert err.endswith("list lists them\n")


def test_garbage_in_the_letters_breaks_nothing(run: Run, redis_url: str) -> None:
    fail(redis_url, "good")
    put_garbage(redis_url)
    code, out, err = run("list", "work")
    assert (code, err, len(out.splitlines())) == (0, "", 5)
    assert "\x1b" not in out
    for letter_id in letter_ids(redis_url):
        assert run("show", "work", letter_id)[0] == 0
        code, out, _ = run("show", "work", letter_id, "--json")
        assert code == 0
        assert json.loads(out)["letter"] == letter_id
        assert "\x1b" not in out
    assert run("show", "work", "good")[0] == 0
    code, out, err = run("retry", "work", "--all")
    assert (code, out) == (
        1,
        "2 jobs will run again\n",
    )  # one has a payload that cannot be read: it will fail again
    assert err.count("it holds no job that could be run") == 2
    assert run("purge", "work", "--all") == (0, "2 dead letters deleted\n", "")


# --- retry ----------------------------------------------------------------------------------


def test_named_jobs_run_again(run: Run, redis_url: str) -> None:
    fail(redis_url, "a", "b", "c")
    first = letter_ids(redis_url)[0]
    assert run("retry", "work", first, "work/b") == (0, "2 jobs will run again\n", "")
    assert [record(redis_url, local)[b"state"] for local in "abc"] == [b"queued", b"queued", b"failed"]
    assert record(redis_url, "a")[b"run"] == b"2"
    assert len(letter_ids(redis_url)) == 1


def test_a_letter_that_is_not_there_is_told_and_the_others_go_on(run: Run, redis_url: str) -> None:
    fail(redis_url, "a")
    code, out, err = run("retry", "work", "1-1", "a", "none")
    assert (code, out) == (3, "1 job will run again\n")
    assert sorted(err.splitlines()) == [
        "microbatch dead: 1-1: no such letter",
        "microbatch dead: none: no such letter",
    ]


def test_a_job_that_is_not_failed_any_more_is_exit_1(run: Run, redis_url: str) -> None:
    fail(redis_url, "a")
    (letter,) = letter_ids(redis_url)
    with redis.Redis.from_url(redis_url, protocol=2) as server:
        server.hset(KEYS.job("a"), "state", "succeeded")
    code, out, err = run("retry", "work", letter, "--json")
    assert code == 1
    assert json.loads(out) == {"retried": 0, "refused": [{"letter": letter, "reason": "not_failed"}]}
    assert "its job is not failed any more" in err
    assert letter_ids(redis_url) == [letter]


def test_all_of_many_letters_are_retried_page_by_page(run: Run, redis_url: str) -> None:
    names = [f"j{n:03}" for n in range(600)]
    fail(redis_url, *names)
    assert run("retry", "work", "--all") == (0, "600 jobs will run again\n", "")
    assert letter_ids(redis_url) == []
    with redis.Redis.from_url(redis_url, protocol=2) as server:
        assert server.xlen(KEYS.lane("main")) == 600


def test_progress_is_shown_on_a_terminal(run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(redis_url, *(f"j{n:03}" for n in range(300)))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, out, err = run("retry", "work", "--all")
    assert (code, out) == (0, "300 jobs will run again\n")
    assert err == "\r256 of 300\r300 of 300\n"


# --- purge ----------------------------------------------------------------------------------


def test_named_letters_are_deleted_and_the_jobs_stay_failed(run: Run, redis_url: str) -> None:
    fail(redis_url, "a", "b")
    assert run("purge", "work", "a") == (0, "1 dead letter deleted\n", "")
    assert record(redis_url, "a")[b"state"] == b"failed"
    assert len(letter_ids(redis_url)) == 1
    code, out, err = run("purge", "work", "a", "1-1")
    assert (code, out, err) == (3, "0 dead letters deleted\n", "microbatch dead: a: no such letter\n")


def test_all_letters_are_deleted(run: Run, redis_url: str) -> None:
    fail(redis_url, *(f"j{n}" for n in range(1_200)))
    assert run("purge", "work", "--all", "--json") == (0, '{"purged": 1200}\n', "")
    assert letter_ids(redis_url) == []


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("YES\n", 0), ("n\n", 2), ("\n", 2), ("", 2)])
def test_it_asks_on_a_terminal(
    run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    fail(redis_url, "a", "b")
    monkeypatch.setattr("sys.stdin", Keyboard(answer))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    code, _, err = run("purge", "work", "--all")
    assert "delete 2 dead letters? [y/N]" in err
    assert len(letter_ids(redis_url)) == left
    assert code == (1 if left else 0)
    assert ("nothing was deleted" in err) is bool(left)


def test_yes_asks_nothing(run: Run, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(redis_url, "a")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert run("purge", "work", "--all", "--yes") == (0, "1 dead letter deleted\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("list", "work", "1-1"),
        ("show", "work"),
        ("show", "work", "a", "b"),
        ("show", "work", "--all"),
        ("retry", "work"),
        ("retry", "work", "a", "--all"),
        ("purge", "work"),
        ("list", "wo rk"),
        ("list", "work", "--limit", "0"),
        ("revive", "work"),
        (),
    ],
)
def test_wrong_usage_is_exit_2_and_one_line(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)


# --- the operators' client ------------------------------------------------------------------


async def test_an_admin_finds_redrives_and_purges(redis_url: str) -> None:
    await _fail(redis_url, ("a", "b"), encode(1))
    async with Admin(redis_url) as admin, AsyncClient(redis_url) as client:
        assert await admin.queues() == ["work"]
        letters = admin.dead_letters("work")
        letter = await letters.find("a")
        assert letter is not None
        assert (letter.job_id, letter.payload, letter.run) == ("work/a", 1, 1)
        assert [[one.code for one in step] async for step in letters.redrive([letter.letter_id])] == [
            [RedriveCode.REDRIVEN]
        ]
        status = await client.job("work/a").status()
        assert (status.state, status.run, status.attempt) == (JobState.QUEUED, 2, 0)
        (past,) = status.history
        assert (past.run, past.state, past.attempts) == (1, JobState.FAILED, 1)
        assert past.error is not None
        assert past.error.type == "ValueError"
        assert [left.job_id for left in await letters.newest(10)] == ["work/b"]
        assert [number async for number in letters.purge_all()] == [1]
        assert (await admin.queue_status("work")).dead == 0


async def test_an_admin_that_is_not_open_or_finds_no_server_says_so(redis_url: str) -> None:
    admin = Admin(redis_url)
    with pytest.raises(ClientClosed):
        admin.dead_letters("work")
    with pytest.raises(ConnectionFailed):
        async with Admin(
            "unix:///tmp/microbatch-no-such-socket?db=0", settings=ClientSettings(command_timeout_s=0.3)
        ):
            pass
