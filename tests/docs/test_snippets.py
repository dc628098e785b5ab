"""What the pages show can be typed in: Python that parses and imports, commands and options that exist."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from pathlib import Path

import pytest

from microbatch.console.main import COMMANDS
from microbatch.console.options import add_common_options

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "deploy/README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/decisions/*.md"),
    ]
)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
COMMAND = re.compile(
    r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*microbatch ([a-z].*)$|`microbatch ([a-z][^`]*)`", re.MULTILINE
)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def snippets() -> list[tuple[str, str]]:
    return [(named(page), source) for page in PAGES for source in PYTHON.findall(page.read_text())]


def commands() -> list[tuple[str, str]]:
    return [
        (named(page), line or quoted) for page in PAGES for line, quoted in COMMAND.findall(page.read_text())
    ]


def options_of(command: str) -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(COMMANDS[command][0]).add_arguments(parser)
    add_common_options(parser)
    return set(parser._option_string_actions)


def test_there_is_something_to_look_at() -> None:
    assert len(snippets()) > 10
    assert len(commands()) > 40


@pytest.mark.parametrize(("page", "source"), snippets())
def test_python_on_a_page_parses_and_what_it_imports_exists(page: str, source: str) -> None:
    for node in ast.walk(ast.parse(source, page)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("microbatch"):
            module = importlib.import_module(node.module or "")
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_on_a_page_exists_with_each_of_its_options(page: str, line: str) -> None:
    command = line.split(maxsplit=1)[0]

    assert command in COMMANDS
    assert set(re.findall(r"(?<!\S|\w)\[?(--[a-z][a-z0-9-]*)", line)) - options_of(command) == set()


def anchors(page: Path) -> set[str]:
    words = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in HEADING.findall(page.read_text()))
    return {word.strip().replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_whatever_a_page_links_to_is_there(page: Path) -> None:
    links = [
        (page.parent / file if file else page, anchor) for file, anchor in LINK.findall(page.read_text())
    ]

    assert [str(target) for target, _ in links if not target.exists()] == []
    assert [
        f"{target.name}#{anchor}" for target, anchor in links if anchor and anchor not in anchors(target)
    ] == []
