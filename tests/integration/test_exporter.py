"""`microbatch exporter` as a process: each queue once, however many workers there are."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from tests.integration.command import Command, free_port, ran_here, until
from tests.integration.monitoring import asked, check_by_promtool, names, samples

from microbatch.common.embedded import EmbeddedServer
from microbatch.console.exporter import EXPORTER_METRICS
from microbatch.producer import Client

if TYPE_CHECKING:
    from pathlib import Path


def begin(here: Path, redis_url: str, *words: object) -> tuple[Command, str]:
    command = Command("exporter", "--monitoring-address", "0", *words, redis_url=redis_url, here=here)
    try:
        url = command.wait_for("http://", stream="out")
    except BaseException:
        command.__exit__()
        raise
    return command, url.removeprefix("http://").removesuffix("/metrics")


def test_it_says_what_each_queue_holds(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "tasks.py").write_text(
        "from microbatch.worker import batch_processor\n"
        "@batch_processor(queue='broken')\n"
        "def broken(values):\n    raise LookupError\n"
    )
    with Client(redis_url) as client:
        client.submit_many("waiting", range(7))
        client.submit("waiting", "later", delay_s=3600)
        client.submit("broken", 1)
        assert ran_here("worker", "tasks:broken", "--burst", redis_url=redis_url, here=tmp_path).code == 0
    command, address = begin(tmp_path, redis_url)
    with command:
        seen = samples(address)
        assert seen["microbatch_queue_waiting_jobs", ("waiting",)] == 7
        assert seen["microbatch_queue_scheduled_jobs", ("waiting",)] == 1
        assert seen["microbatch_queue_oldest_age_seconds", ("waiting",)] > 0
        assert seen["microbatch_queue_oldest_age_seconds", ("broken",)] == 0
        assert seen["microbatch_queue_dead_letters", ("broken",)] == 1
        assert seen["microbatch_queue_workers", ("broken",)] == 0
        assert seen["microbatch_redis_up", ()] == 1
        assert names(address) == set(EXPORTER_METRICS)
        assert asked(address, "/readyz").status == 200
        check_by_promtool(address)
        command.tell(signal.SIGTERM)
        assert command.end() == 0


def test_it_looks_only_at_the_queues_that_were_named(tmp_path: Path, redis_url: str) -> None:
    with Client(redis_url) as client:
        client.submit("one", 1)
        client.submit("two", 1)
    command, address = begin(tmp_path, redis_url, "--queue", "two", "--queue", "three")
    with command:
        waiting = {queue: n for (name, queue), n in samples(address).items() if "waiting" in name}
        assert waiting == {("two",): 1, ("three",): 0}


def test_it_starts_without_redis_and_says_when_redis_has_come(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with Command(
        "exporter",
        *("--monitoring-address", "0", "--json"),
        redis_url=url,
        here=tmp_path,
        MICROBATCH_COMMAND_TIMEOUT_S="0.5",
    ) as command:
        page = json.loads(command.wait_for("http://", stream="out"))["url"]
        address = page.removeprefix("http://").removesuffix("/metrics")
        assert samples(address)["microbatch_redis_up", ()] == 0
        assert (asked(address, "/livez").status, asked(address, "/readyz").status) == (200, 503)
        with EmbeddedServer(port=port):
            until(lambda: samples(address)["microbatch_redis_up", ()] == 1, "Redis")
    assert {json.loads(line)["event"] for line in command.err} == {"look_failed"}


def test_a_name_that_is_no_queue_is_wrong_usage(tmp_path: Path, redis_url: str) -> None:
    done = ran_here("exporter", "--queue", "no/queue", redis_url=redis_url, here=tmp_path)
    assert (done.code, len(done.err)) == (2, 1)


def test_an_address_that_is_taken_may_be_free_at_the_next_start(tmp_path: Path, redis_url: str) -> None:
    command, address = begin(tmp_path, redis_url)
    with command:
        done = ran_here("exporter", "--monitoring-address", address, redis_url=redis_url, here=tmp_path)
        assert done.code == 1  # no 2: a supervisor is to try again
        assert f"cannot listen at {address}" in done.err[-1]
