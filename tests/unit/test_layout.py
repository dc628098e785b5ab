"""The house rules that no linter knows: where packages live, what is public, how long a file may be."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("common", "producer", "worker", "console")
SOURCE_LIMIT_LINES = 300
TEST_LIMIT_LINES = 400


def sources() -> list[Path]:
    return [path for root in SOURCE_ROOTS for path in (ROOT / root).rglob("*.py")]


def test_microbatch_stays_a_namespace_package() -> None:
    assert [str(path) for path in ROOT.glob("*/microbatch/__init__.py")] == []


@pytest.mark.parametrize("name", SOURCE_ROOTS)
def test_each_package_tells_type_checkers_that_it_is_typed(name: str) -> None:
    assert (ROOT / name / "microbatch" / name / "py.typed").is_file()


@pytest.mark.parametrize("name", ["common", "producer", "worker"])
def test_every_public_name_exists_and_the_list_is_sorted(name: str) -> None:
    package = importlib.import_module(f"microbatch.{name}")

    assert [public for public in package.__all__ if not hasattr(package, public)] == []
    assert list(package.__all__) == sorted(package.__all__)


def test_no_source_file_has_outgrown_its_reader() -> None:
    files = sources() + [path for root in SOURCE_ROOTS for path in (ROOT / root).rglob("*.lua")]
    long = {str(path): len(path.read_text().splitlines()) for path in files}

    assert {path: lines for path, lines in long.items() if lines > SOURCE_LIMIT_LINES} == {}


def test_no_test_file_has_outgrown_its_reader() -> None:
    long = {str(path): len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}

    assert {path: lines for path, lines in long.items() if lines > TEST_LIMIT_LINES} == {}


def test_every_source_file_opens_with_its_job_description() -> None:
    silent = [str(path) for path in sources() if not path.read_text().startswith('"""')]

    assert silent == []
