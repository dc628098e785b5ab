"""The demo's work: which docstrings are found, under which names, and how they are shared out."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from microbatch.console.demo.corpus import (
    Docstring,
    count_tokens,
    docstrings,
    read_share,
    sample,
    spread,
    standard_library,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''
"""The module."""
import sys

class Outer:
    """A class."""

    def method(self):
        """A method."""
        def inner():
            """In a method."""

    async def later(self):
        """A coroutine function."""

    class Inner:
        def silent(self): pass

if sys.platform == "win32":
    def conditional():
        """Below an if."""
else:
    try:
        pass
    except ImportError:
        def rescued():
            """Below an except."""
'''


def _file(root: Path, name: str, source: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source if isinstance(source, bytes) else source.encode())


def test_modules_classes_and_functions_are_found_under_their_dotted_names(tmp_path: Path) -> None:
    _file(tmp_path, "package/module.py", MODULE)

    assert {each.name: each.text for each in docstrings(tmp_path)} == {
        "package.module": "The module.",
        "package.module.Outer": "A class.",
        "package.module.Outer.method": "A method.",
        "package.module.Outer.method.inner": "In a method.",
        "package.module.Outer.later": "A coroutine function.",
        "package.module.conditional": "Below an if.",
        "package.module.rescued": "Below an except.",
    }


def test_a_package_has_the_name_of_its_folder(tmp_path: Path) -> None:
    _file(tmp_path, "package/__init__.py", '"""A package."""')
    _file(tmp_path, "__init__.py", '"""Odd."""')

    assert [each.name for each in docstrings(tmp_path)] == ["__init__", "package"]


@pytest.mark.parametrize(
    "name",
    [
        "test/test_x.py",
        "lib2to3/tests/x.py",
        "idlelib/idle_test/x.py",
        "site-packages/x.py",
        "dist-packages/x.py",
        "config-3.11-linux/python-config.py",
    ],
)
def test_tests_installed_packages_and_what_nobody_can_import_are_passed_over(
    tmp_path: Path, name: str
) -> None:
    _file(tmp_path, name, '"""Not this."""')

    assert list(docstrings(tmp_path)) == []


@pytest.mark.parametrize(
    "source",
    [b"def broken(:", b'"""\xff"""', b'"""\0"""', b"(" * 10_000],
    ids=["syntax", "utf-8", "nul", "deep"],
)
def test_a_file_that_does_not_parse_is_passed_over(tmp_path: Path, source: bytes) -> None:
    _file(tmp_path, "broken.py", source)
    _file(tmp_path, "whole.py", '"""Whole."""')

    assert [each.name for each in docstrings(tmp_path)] == ["whole"]


def test_an_invalid_escape_in_a_source_warns_nobody(tmp_path: Path) -> None:
    _file(tmp_path, "old.py", r'"""\d"""')

    assert [each.text for each in docstrings(tmp_path)] == [r"\d"]


def test_blank_docstrings_are_no_work_and_lone_surrogates_become_question_marks(tmp_path: Path) -> None:
    _file(tmp_path, "blank.py", '"""  """')
    _file(tmp_path, "lone.py", r'"""a \ud800 b"""')

    assert list(docstrings(tmp_path)) == [Docstring("lone", "a ? b")]


def test_a_sample_comes_from_all_over_and_in_the_order_of_names(tmp_path: Path) -> None:
    for number in range(100):
        _file(tmp_path, f"m{number:02}.py", '"""A module."""\ndef f():\n    """A function."""\n')

    found = [each.name for each in sample(tmp_path, 10)]

    assert found == sorted(found)
    assert len(found) == len(set(found)) == 10
    assert {name[1] for name in found} >= {"0", "1", "3", "4", "6"}


def test_a_sample_of_more_than_there_is_is_everything(tmp_path: Path) -> None:
    for number in range(40):
        _file(tmp_path, f"m{number:02}.py", MODULE)

    assert sample(tmp_path, 10_000) == list(docstrings(tmp_path))


def test_this_python_has_a_thousand_docstrings_and_more() -> None:
    found = list(islice(docstrings(standard_library()), 1_000))

    assert len(found) == 1_000
    assert "asyncio.events.get_event_loop" in {each.name for each in found}


def test_a_sample_is_spread_evenly_and_never_larger_than_the_whole() -> None:
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread(range(3), 10) == [0, 1, 2]
    assert spread(range(0), 10) == []


def test_shares_are_disjoint_and_complete_and_keep_their_numbers(tmp_path: Path) -> None:
    work = [Docstring(f"name{number}", f'line\n\t"{number}" \u2028 \u00e9') for number in range(7)]
    write(tmp_path / "work", work)

    shares = [read_share(tmp_path / "work", share, 2) for share in range(2)]

    assert sorted(shares[0] + shares[1], key=lambda pair: pair[0]) == list(enumerate(work))
    assert [number for number, _ in shares[1]] == [1, 3, 5]


def test_tokens_are_words() -> None:
    assert count_tokens("Run the event_loop, twice: 2 \u00e9t\u00e9s!") == 6
    assert count_tokens(" ...\n") == 0
