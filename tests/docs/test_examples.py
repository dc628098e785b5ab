"""Every example runs, and says what its first lines promise.

Rule: what a newcomer runs first (the quickstart, the README's lines) runs as a process; the others run as the
main module of this one, which costs no start of an interpreter.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import pytest
from tests.integration.command import serving

RunHere = Callable[[str], str]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
README = (ROOT / "README.md").read_text()


def run(*command: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
    done = subprocess.run(  # noqa: PLW1510 - the output is part of the failure's message
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Runs an example in this process: what it printed."""
    for name in [name for name in os.environ if name.startswith("MICROBATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> str:
        run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_quickstart_answers_a_hundred_callers_in_few_calls(tmp_path: Path) -> None:
    output = run(sys.executable, str(EXAMPLES / "quickstart.py"), cwd=tmp_path)

    assert "HELLO 0 ... HELLO 99" in output
    assert 1 <= output.count("one call for") < 100


def test_the_bulk_insert_worker_stores_each_event_once(run_here: RunHere) -> None:
    output = run_here("bulk_insert.py")

    assert "2000 events stored, 2000 rows" in output


def test_the_class_with_setup_embeds_texts_and_fails_the_empty_one_alone(run_here: RunHere) -> None:
    output = run_here("model_with_setup.py")

    assert output.count("-> [") == 2
    assert output.count("ValueError nothing to embed") == 1


def test_the_flaky_service_is_asked_again_and_the_hopeless_one_given_up(run_here: RunHere) -> None:
    output = run_here("flaky_service.py")

    assert output.count("found in run 2") == 2
    assert output.count("given up after 4 runs: an address must not be empty") == 1


def test_the_recurring_jobs_come_once_a_tick_with_two_workers(run_here: RunHere) -> None:
    output = run_here("recurring.py")

    assert output.count("all of it: nightly") == 1
    assert output.count("news: poll") >= 2
    assert "nightly: 0 3 * * * (Europe/Berlin), next at" in output
    assert "each tick once: True" in output


def test_a_hundred_callers_of_one_key_cause_one_computation(run_here: RunHere) -> None:
    output = run_here("single_flight.py")

    assert output == "100 answers, 2 computed: ['sunny in Oslo', 'sunny in Rome']\n"


def test_kinds_get_their_own_jobs_and_a_wrong_payload_fails_alone(run_here: RunHere) -> None:
    output = run_here("kinds.py")

    assert output.splitlines()[:2] == ["{'value': 5}", "6"]
    assert output.splitlines()[2].startswith("PayloadInvalid: a: Input should be a valid integer")


def test_short_jobs_of_a_batch_do_not_wait_for_the_long_one(run_here: RunHere) -> None:
    output = run_here("partial_results.py")

    assert output.splitlines()[:2] == ["done after 1 steps | running", "done after 3 steps | running"]
    assert "progress 0 steps left" in output
    assert output.splitlines()[-1] == "done after 8 steps | done, while 0 others go on"


def test_the_web_endpoint_awaits_the_result_of_its_worker(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    monkeypatch.setenv("MICROBATCH_REDIS_URL", redis_url)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import web_endpoint  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 - an example

    with serving(redis_url, web_endpoint.sentiment), testclient.TestClient(web_endpoint.app) as client:
        answer = client.get("/sentiment", params={"text": "what a lovely day"})

    assert answer.status_code == 200
    assert answer.json() == {"score": 0.25}


def test_the_readme_example_runs_as_it_stands(tmp_path: Path) -> None:
    [source] = re.findall(r"<!-- example: readme -->\n```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "readme.py"
    script.write_text(source)

    assert run(sys.executable, str(script), cwd=tmp_path) == "HELLO 0\n"


def test_the_readme_has_the_two_commands_and_the_makefile_knows_them() -> None:
    makefile = (ROOT / "Makefile").read_text()

    for target in ("demo", "test"):
        assert f"make {target} " in README
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_page_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
