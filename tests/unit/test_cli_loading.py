"""`MODULE:ATTR`: what it may name, and whose fault is told when it names nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from microbatch.common.errors import ProcessorError
from microbatch.common.schedules.schedule import Schedule
from microbatch.console.exits import UsageError
from microbatch.console.loading import load_processor, show_user_traceback
from microbatch.worker.processor import BatchProcessor, FunctionProcessor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = """
from microbatch.worker import BatchProcessor, batch_processor

@batch_processor(queue="embed")
def embed(texts):
    return texts

class Index(BatchProcessor):
    queue = "index"
    def process(self, batch):
        return list(batch.payloads)

class NeedsModel(BatchProcessor):
    queue = "needs"
    def __init__(self, model):
        self.model = model
    def process(self, batch):
        return []

class Breaks(Index):
    def __init__(self):
        raise LookupError("no model file")

class holder:
    index = Index()

not_one = 5
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh current directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "cli_tasks.py").write_text(TASKS)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("cli_"):
            del sys.modules[name]


def complaint(spec: str) -> str:
    with pytest.raises((UsageError, ProcessorError)) as caught:
        load_processor(spec)
    return str(caught.value)


def test_a_decorated_function_of_the_current_directory_is_found() -> None:
    assert isinstance(load_processor("cli_tasks:embed"), FunctionProcessor)


@pytest.mark.parametrize("spec", ["cli_tasks:Index", "cli_tasks:holder.index"])
def test_a_class_and_an_instance_inside_of_something_are_found(spec: str) -> None:
    found = load_processor(spec)
    assert isinstance(found, BatchProcessor)
    assert found.queue == "index"


def test_a_module_in_a_package_is_found(here: Path) -> None:
    (here / "cli_package").mkdir()
    (here / "cli_package" / "tasks.py").write_text(TASKS)
    assert load_processor("cli_package.tasks:embed").queue == "embed"


@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        ("cli_tasks", "write MODULE:ATTR, such as cli_tasks:embed"),
        ("cli_tasks:", "such as cli_tasks:embed"),
        (":embed", "such as tasks:embed"),
        ("cli_tasks.py:index", "such as cli_tasks:index"),
        ("./app/cli_tasks.py:index", "such as app.cli_tasks:index"),
        ("os;evil:x", "such as tasks:x"),
    ],
)
def test_a_wrong_spelling_is_told_with_the_right_one(spec: str, advice: str) -> None:
    assert advice in complaint(spec)


def test_a_module_that_is_not_there_is_told_with_the_directory(here: Path) -> None:
    assert (
        complaint("cli_nowhere:embed") == f"no module 'cli_nowhere' here ({here}) or among the installed ones"
    )
    assert "no module 'cli_nowhere'" in complaint("cli_nowhere.tasks:embed")


def test_a_misspelt_attribute_is_told_with_the_processors_that_are_there() -> None:
    assert complaint("cli_tasks:embde").endswith("did you mean cli_tasks:embed?")
    assert complaint("cli_tasks:xyz").endswith(
        "it has cli_tasks:embed, cli_tasks:Index, cli_tasks:NeedsModel, cli_tasks:Breaks"
    )
    assert "it has no processor: decorate a function" in complaint("json:xyz")


def test_what_is_no_processor_is_told() -> None:
    assert "5 is no processor" in complaint("cli_tasks:not_one")
    assert "NeedsModel needs arguments" in complaint("cli_tasks:NeedsModel")


def test_when_the_user_s_module_raises_only_the_user_s_frames_are_shown(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "cli_inner.py").write_text("def boom():\n    raise ValueError('bo\\x1bom')\n")
    (here / "cli_outer.py").write_text("import cli_inner\n\ncli_inner.boom()\n")
    assert complaint("cli_outer:embed") == "cli_outer does not import: ValueError: bo\x1bom"
    shown = capsys.readouterr().err.splitlines()
    files = [line.split('"')[1] for line in shown if line.startswith("  File ")]
    assert files == [str(here / "cli_outer.py"), str(here / "cli_inner.py")]
    assert shown[-1] == "ValueError: bo\\x1bom"


def test_a_wrong_declaration_shows_the_user_s_line_and_none_of_ours(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "cli_wrong.py").write_text(
        "from microbatch.worker import batch_processor\n\n"
        "@batch_processor(queue='a/b')\ndef f(texts):\n    return texts\n"
    )
    assert "does not import: ProcessorError: f: a queue name has" in complaint("cli_wrong:f")
    shown = capsys.readouterr().err.splitlines()
    files = {line.split('"')[1] for line in shown if line.startswith("  File ")}
    assert files == {str(here / "cli_wrong.py")}


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("def f(:\n", "SyntaxError"),
        ("import cli_missing_dependency\n", "ModuleNotFoundError"),
        ("import sys; sys.exit('no')\n", "SystemExit"),
        (
            "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e\n",
            "ZeroDivisionError",
        ),
    ],
)
def test_whatever_keeps_a_module_from_importing_is_shown(
    code: str, word: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "cli_bad.py").write_text(code)
    assert complaint("cli_bad:f").startswith("cli_bad does not import: ")
    shown = capsys.readouterr().err
    assert word in shown
    assert str(here / "cli_bad.py") in shown
    assert "importlib" not in shown
    assert "microbatch/console" not in shown


def test_a_class_whose_constructor_raises_shows_the_user_s_traceback(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint("cli_tasks:Breaks") == "cli_tasks:Breaks cannot be made: LookupError: no model file"
    shown = capsys.readouterr().err
    assert shown.count("  File ") == 1
    assert str(here / "cli_tasks.py") in shown


def test_without_a_frame_of_the_user_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_user_traceback(ValueError("never raised"))
    assert capsys.readouterr().err == ""


def test_a_schedule_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timed_tasks.py").write_text(
        "from microbatch.worker import Schedule\npoll = Schedule('poll', queue='q', every_s=5)\n"
    )
    monkeypatch.chdir(tmp_path)
    found = load_processor("timed_tasks:poll")
    assert isinstance(found, Schedule)
    assert found.name == "poll"
