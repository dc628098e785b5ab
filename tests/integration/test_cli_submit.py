"""`microbatch submit`, `result` and `status` with a real worker: answers, shapes, exit codes, order."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.integration.command import Command, ran_here, serving, until

from microbatch.common.embedded import EmbeddedServer
from microbatch.worker import batch_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., tuple[int, str, str]]

ANSWERS: dict[Any, Any] = {
    "fail": ValueError("no\x1b[31m\nway"),
    "when": datetime(2030, 1, 31, tzinfo=UTC),
    "inf": float("inf"),
}


@batch_processor(queue="echo", max_wait_ms=1)
def echo(values: list[Any]) -> list[Any]:
    return [ANSWERS.get(value, value) if isinstance(value, str) else value for value in values]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """A server with a worker for the queue `echo`, by the server's URL."""
    with EmbeddedServer() as server, serving(server.url, echo):
        yield server.url


@pytest.fixture
def run(served: str, run_main: Callable[..., Run]) -> Run:
    """Runs `microbatch` in this process: its code, stdout and stderr."""
    return run_main(served)


def write_lines(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


# --- one job --------------------------------------------------------------------------------


def test_a_job_is_submitted_for_later_and_with_an_end_to_its_patience(run: Run, served: str) -> None:
    with redis.Redis.from_url(served, decode_responses=True) as server:
        for when in (("--delay-s", "3600"), ("--run-at", "2999-12-31T09:00+01:00")):
            code, out, err = run(
                "submit", "echo", "1", *when, "--expires-in-s", "90000", "--max-attempts", "3"
            )
            assert (code, err) == (0, "")
            record = server.hgetall(f"mb:{{echo}}:job:{out.strip().partition('/')[2]}")
            assert record["state"] == "scheduled"
            assert "max_attempts" in record["parked"]
        assert record["due_ms"] == "32503622400000"
        server.delete("mb:{echo}:scheduled")
    code, out, _ = run("submit", "echo", '"soon"', "--delay-s", "0.05", "--wait")
    assert (code, out) == (0, '"soon"\n')
    for words, why in (
        (("--run-at", "tomorrow"), "no moment such as 2030-01-31T09:00"),
        (("--run-at", "2030-01-31T09:00"), "run_at is a datetime with a time zone"),
        (("--run-at", "2030-01-31T09:00Z", "--delay-s", "1"), "exclude each other"),
        (("--max-attempts", "0"), "max_attempts"),
    ):
        code, out, err = run("submit", "echo", "1", *words)
        assert (code, out) == (2, "")
        assert why in err


def test_a_submitted_job_is_told_by_its_id_and_found_again(run: Run) -> None:
    code, out, err = run("submit", "echo", '{"a": [1, null]}')
    assert (code, err) == (0, "")
    job_id = out.strip()
    assert job_id.startswith("echo/")
    assert run("result", job_id, "--wait", "--timeout-s", "20") == (0, '{"a": [1, null]}\n', "")
    assert run("result", job_id) == (0, '{"a": [1, null]}\n', "")


def test_json_tells_id_queue_and_result_key(run: Run, served: str) -> None:
    code, out, err = run("submit", "idle", "1", "--job-id", "shape", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told == {"id": "idle/shape", "queue": "idle", "result_key": "mb:{idle}:job:shape"}
    with redis.Redis.from_url(served) as client:
        assert client.hget(told["result_key"], "state") == b"queued"


@pytest.mark.parametrize(
    ("payload", "result"),
    [
        ('"hello"', '"hello"'),
        ("-5", "-5"),
        ("null", "null"),
        ('{"$bytes": "aGVsbG8="}', '{"$bytes": "aGVsbG8="}'),
        ('{"$float": "NaN"}', '{"$float": "NaN"}'),
        ('"inf"', '{"$float": "Infinity"}'),
        ('"when"', '"2030-01-31T00:00:00+00:00"'),
        ('"\\u001b[2J\\u202e"', '"\\u001b[2J\\u202e"'),
        ('"ümläut 漢字"', '"ümläut 漢字"'),
    ],
)
def test_waiting_prints_the_result_as_json(run: Run, payload: str, result: str) -> None:
    assert run("submit", "echo", payload, "--wait", "--timeout-s", "20") == (0, f"{result}\n", "")


def test_a_failed_job_is_exit_1_and_one_line_that_steers_no_terminal(run: Run) -> None:
    code, out, err = run("submit", "echo", '"fail"', "--wait", "--job-id", "bad")
    assert (code, out) == (1, "")
    assert err == "microbatch submit: job echo/bad failed: ValueError: no\\x1b[31m\\nway\n"
    code, out, err = run("result", "echo/bad", "--json")
    assert code == 1
    assert json.loads(out) == {
        "id": "echo/bad",
        "error": {"type": "ValueError", "message": "no\x1b[31m\nway"},
    }
    assert len(err.splitlines()) == 1


def test_no_result_in_time_is_exit_4_and_says_how_to_ask_again(run: Run) -> None:
    code, out, err = run("submit", "idle", "1", "--wait", "--timeout-s", "0.1", "--job-id", "late")
    assert (code, out) == (4, "")
    assert "job idle/late has no result after 0.1 s" in err
    assert "`microbatch result idle/late --wait`" in err
    code, out, err = run("result", "idle/late", "--timeout-s", "0.1", "--json")
    assert (code, json.loads(out)["error"]["type"]) == (4, "ResultTimeout")


def test_the_same_id_and_payload_is_the_same_job_and_another_payload_is_refused(run: Run) -> None:
    first, second = (run("submit", "idle", "[1]", "--job-id", "twice") for _ in range(2))
    assert first == second == (0, "idle/twice\n", "")
    code, out, err = run("submit", "idle", "[2]", "--job-id", "twice")
    assert (code, out) == (1, "")
    assert "is taken by a job with another payload" in err


def test_a_full_queue_refuses_with_exit_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_MAX_QUEUE_LENGTH", "1")
    assert run("submit", "tiny", "1")[0] == 0
    for words in ([], ["--timeout-s", "0.1"]):
        code, out, err = run("submit", "tiny", "2", *words)
        assert (code, out) == (1, "")
        assert "queue 'tiny' is full" in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (str(2**64), "cannot travel"),
        ("[" * 150 + "]" * 150, "nested deeper"),
        ('"' + "x" * 2_000_000 + '"', "the limit is 1,048,576"),
        ('"\\ud800"', "cannot travel"),
    ],
    ids=["big", "deep", "large", "surrogate"],
)
def test_a_payload_that_cannot_travel_is_refused_with_exit_1(run: Run, payload: str, complaint: str) -> None:
    code, out, err = run("submit", "echo", payload)
    assert (code, out) == (1, "")
    assert complaint in err
    assert len(err.splitlines()) == 1


# --- results --------------------------------------------------------------------------------


def test_an_unknown_job_is_exit_3(run: Run) -> None:
    for words in ([], ["--wait"], ["--wait", "--json"]):
        code, out, err = run("result", "echo/unknown", *words)
        assert code == 3
        assert "job echo/unknown is unknown" in err
        assert len(err.splitlines()) == 1
        assert bool(out) == ("--json" in words)


def test_a_job_that_is_not_finished_is_exit_3_and_says_where_it_is(run: Run) -> None:
    run("submit", "idle", "1", "--job-id", "waits")
    code, out, err = run("result", "idle/waits")
    assert (code, out) == (3, "")
    assert err == "microbatch result: job idle/waits is queued and has no result yet; --wait waits for it\n"
    code, out, err = run("result", "idle/waits", "--json")
    assert (code, json.loads(out)) == (3, {"id": "idle/waits", "state": "queued"})


# --- status ---------------------------------------------------------------------------------


def test_status_tells_what_waits_and_who_works(run: Run) -> None:
    run("submit", "crowd", "1")
    run("submit", "crowd", "2")
    code, out, err = run("status")
    assert (code, err) == (0, "")
    titles, *rows = [line.split() for line in out.splitlines()]
    assert titles == ["QUEUE", "WAITING", "RUNNING", "SCHEDULED", "WORKERS", "OLDEST", "DEAD", "STATE"]
    found = {row[0]: row[1:] for row in rows}
    assert found["echo"][1:4] == ["0", "0", "1"]
    assert found["crowd"][:4] == ["2", "0", "0", "0"]
    assert found["crowd"][4:7] == [found["crowd"][4], "s", "0"]


def test_status_of_one_queue_as_json_is_a_list_of_one(run: Run) -> None:
    run("submit", "single", "1")
    code, out, err = run("status", "single", "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)
    assert 0 <= row.pop("oldest_age_s") < 60
    assert row == {
        "queue": "single",
        "waiting": 1,
        "running": 0,
        "scheduled": 0,
        "workers": 0,
        "dead": 0,
        "dead_trimmed": 0,
        "max_batch_size": None,
        "max_wait_ms": None,
        "paused": None,
        "draining": None,
    }


def test_status_of_an_unknown_queue_is_exit_3_with_the_nearest_name(run: Run) -> None:
    code, out, err = run("status", "ecoh")
    assert (code, out) == (3, "")
    assert err == "microbatch status: no queue 'ecoh'; did you mean echo?\n"


def test_status_without_any_queue_says_so(redis_url: str, tmp_path: Path) -> None:
    done = ran_here("status", redis_url=redis_url, here=tmp_path)
    assert (done.code, done.err) == (0, [])
    assert done.out == ["no queues yet: a queue is there from its first job or worker on"]


# --- files ----------------------------------------------------------------------------------


def test_a_file_is_answered_line_by_line_in_its_order(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "jobs.jsonl", "1", "", '"fail"', "nonsense", '{"$bytes": "aGk="}', "2")
    code, out, err = run("submit", "echo", "--file", path, "--wait", "--timeout-s", "20")
    assert code == 1
    answers = [json.loads(line) for line in out.splitlines()]
    ids = [answer.pop("id") for answer in answers]
    assert answers == [
        {"result": 1},
        {"error": {"type": "ValueError", "message": "no\x1b[31m\nway"}},
        {"error": {"type": "PayloadError", "message": "not JSON: Expecting value at column 1"}},
        {"result": {"$bytes": "aGk="}},
        {"result": 2},
    ]
    assert [job_id is None for job_id in ids] == [False, False, True, False, False]
    assert err.startswith("microbatch submit: 2 of 5 lines were answered with an error")
    assert len(err.splitlines()) == 1


def test_a_file_without_waiting_is_answered_by_one_id_a_line(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "jobs.jsonl", "1", "2", "3")
    code, out, err = run("submit", "echo", "--file", path)
    assert (code, err) == (0, "")
    ids = out.splitlines()
    results = [run("result", job_id, "--wait", "--timeout-s", "20")[1] for job_id in ids]
    assert results == ["1\n", "2\n", "3\n"]


def test_a_file_without_waiting_as_json_tells_the_keys_too(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "jobs.jsonl", "1", "{")
    code, out, _ = run("submit", "echo", "--file", path, "--json")
    assert code == 1
    first, second = (json.loads(line) for line in out.splitlines())
    assert first.keys() == {"id", "queue", "result_key"}
    assert (second["id"], second["error"]["type"]) == (None, "PayloadError")


def test_a_byte_order_mark_and_bytes_that_are_no_text_cost_no_other_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf1\r\n\xff\xfe\n2")
    code, out, _ = run("submit", "echo", "--file", str(path), "--wait", "--timeout-s", "20")
    assert code == 1
    first, second, third = (json.loads(line) for line in out.splitlines())
    assert (first["result"], second["error"]["type"], third["result"]) == (1, "PayloadError", 2)


def test_the_answers_can_go_to_a_file(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "jobs.jsonl", "1", "2")
    answers = tmp_path / "results.jsonl"
    assert run("submit", "echo", "--file", path, "--wait", "--output", str(answers)) == (0, "", "")
    assert [json.loads(line)["result"] for line in answers.read_text().splitlines()] == [1, 2]


def test_output_that_cannot_be_written_or_would_eat_the_input_is_exit_2(run: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "jobs.jsonl", "1")
    code, out, err = run("submit", "echo", "--file", path, "--output", str(tmp_path / "no" / "r"))
    assert (code, out) == (2, "")
    assert "cannot write" in err
    code, out, err = run("submit", "echo", "--file", path, "--output", path)
    assert (code, out, err) == (2, "", "microbatch submit: --output is the same file as --file\n")
    assert (tmp_path / "jobs.jsonl").read_text() == "1\n"


def test_lines_beyond_a_full_queue_are_told_one_by_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROBATCH_MAX_QUEUE_LENGTH", "2")
    path = write_lines(tmp_path / "jobs.jsonl", "1", "2", "3")
    code, out, err = run("submit", "narrow", "--file", path)
    assert code == 1
    first, second, third = out.splitlines()
    assert first.startswith("narrow/")
    assert second.startswith("narrow/")
    told = json.loads(third)
    assert (told["id"], told["error"]["type"]) == (None, "QueueFull")
    assert len(err.splitlines()) == 1


def test_a_file_that_takes_too_long_is_exit_4_and_every_submitted_line_is_answered(
    run: Run, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "jobs.jsonl", "1", "2")
    code, out, err = run("submit", "idle", "--file", path, "--wait", "--timeout-s", "0.3")
    assert code == 4
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["error"]["type"] for answer in answers] == ["ResultTimeout"] * 2
    assert all(answer["id"].startswith("idle/") for answer in answers)
    assert err == "microbatch submit: timed out: 2 lines were answered, 2 of them with an error\n"


def test_many_lines_come_back_complete_and_in_order(served: str, tmp_path: Path) -> None:
    count = 10_000
    path = write_lines(tmp_path / "jobs.jsonl", *map(str, range(count)))
    words = ("submit", "echo", "--file", path, "--wait", "--output", "out.jsonl")
    assert ran_here(*words, redis_url=served, here=tmp_path) == (0, [], [])
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [answer["result"] for answer in answers] == list(range(count))
    assert len({answer["id"] for answer in answers}) == count


def test_a_line_from_stdin_is_answered_before_the_next_one_is_written(served: str, tmp_path: Path) -> None:
    with Command("submit", "echo", "--file", "-", "--wait", redis_url=served, here=tmp_path) as command:
        command.write('"one"\n')
        assert json.loads(command.wait_for("one", stream="out"))["result"] == "one"
        command.write('"two"\n')
        assert json.loads(command.wait_for("two", stream="out"))["result"] == "two"
        command.close_stdin()
        assert command.end() == 0


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read from /proc")
def test_the_memory_for_a_file_does_not_grow_with_its_length(served: str, tmp_path: Path) -> None:
    """Stdin is kept open, so that the process can be looked at when all is answered."""

    def most_memory_kib(lines: int) -> int:
        with Command("submit", "echo", "--file", "-", "--wait", redis_url=served, here=tmp_path) as command:
            payload = json.dumps("x" * 1500)
            for _ in range(lines // 500):
                command.write(f"{payload}\n" * 500)
            until(lambda: len(command.out) == lines, f"{lines} answers")
            status = Path(f"/proc/{command.process.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0])

    assert most_memory_kib(15_000) < most_memory_kib(3_000) + 12_000


def test_ctrl_c_ends_a_submission_that_waits_without_a_word(served: str, tmp_path: Path) -> None:
    with Command("submit", "echo", "--file", "-", "--wait", redis_url=served, here=tmp_path) as command:
        command.write("1\n")
        command.wait_for("result", stream="out")
        command.tell(signal.SIGINT)
        assert command.end() == 130
        assert command.err == []
