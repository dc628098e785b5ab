"""Tables that people keep by hand name what the code has: no row is missing, and none is about what is gone.

Rule: each table is compared by the words in its first column (of the last test, by all words of a row). The
tables that are written from the code are compared as text, see `test_observability_page.py` and
`test_configuration_page.py`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from microbatch.common import scripts
from microbatch.common.keys import FENCE, KNOWN_QUEUES, QueueKeys
from microbatch.common.orders import ORDERS
from microbatch.console.doctor import checks
from microbatch.console.doctor.acl_lines import USERS
from microbatch.console.exits import ExitCode
from microbatch.console.survey import ErrorRow, QueueRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
CHANNELS = {"reply", "wake", "events"}
QUOTED = re.compile(r"`([^`]+)`")


def quoted(row: str) -> set[str]:
    """The words in backticks of a row's first column."""
    return set(QUOTED.findall(row.split("|")[1]))


def plain(row: str) -> set[str]:
    return {row.split("|")[1].strip()}


def heads(row: str) -> set[str]:
    """What keys begin with: `lane:{rank}/{key}` is a lane."""
    return {word.partition(":")[0].partition("{")[0] for word in quoted(row)}


def first_words(row: str) -> set[str]:
    return {word.split()[0] for word in quoted(row)}


def names_of_keys() -> set[str]:
    keys, found = QueueKeys("q"), {KNOWN_QUEUES, FENCE}
    for name, member in inspect.getmembers(QueueKeys):
        if name == "prefix" or name.startswith("_"):
            continue
        if isinstance(member, property):
            found.add(getattr(keys, name))
        elif inspect.isfunction(member):
            found.add(getattr(keys, name)("x"))
    texts = {text for text in found if isinstance(text, str)}
    return {text.removeprefix(keys.prefix).partition(":")[0] for text in texts} - CHANNELS


class Table(NamedTuple):
    """A table on a page: how its head begins, how a row is read, and what the code has."""

    page: str
    head: str
    read: Callable[[str], set[str]]
    code: set[str]

    def rows(self, text: str) -> list[str]:
        lines = text.splitlines()
        at = [index for index, line in enumerate(lines) if line.startswith(self.head)]
        assert len(at) == 1, f"{self.page} has {len(at)} tables with the head {self.head!r}"
        found = []
        for line in lines[at[0] + 2 :]:
            if not line.startswith("|"):
                break
            found.append(line)
        return found

    def words(self, text: str) -> set[str]:
        return {word for row in self.rows(text) for word in self.read(row)}


def names_of_checks() -> set[str]:
    modules = (path.name.removesuffix(".py") for path in files(checks).iterdir() if path.name.endswith(".py"))
    return {import_module(f"{checks.__name__}.{module}").CHECK for module in modules if module != "__init__"}


TABLES = (
    Table(
        "docs/operations.md",
        "| exit code |",
        plain,
        {str(int(code)) for code in ExitCode},
    ),
    Table("docs/operations.md", "| check |", quoted, names_of_checks()),
    Table(
        "docs/protocol.md",
        "| script | who |",
        quoted,
        {path.name.removesuffix(".lua") for path in files(scripts).iterdir() if path.name.endswith(".lua")},
    ),
    Table("docs/protocol.md", "| key | type |", heads, names_of_keys()),
    Table("docs/protocol.md", "| order | values |", quoted, set(ORDERS)),
    Table("docs/workers.md", "| command | what a worker does |", first_words, set(ORDERS)),
    Table("deploy/README.md", "| user | does |", quoted, set(USERS)),
)


def text_of(table: Table) -> str:
    return (ROOT / table.page).read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.page} {table.head}")
def test_a_table_names_what_the_code_has(table: Table) -> None:
    assert table.words(text_of(table)) == table.code


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.page} {table.head}")
def test_a_row_that_is_missing_or_made_up_is_noticed(table: Table) -> None:
    text = text_of(table)
    rows = table.rows(text)
    missed = [row for row in rows if table.words(text.replace(f"{row}\n", "", 1)) == table.code]
    # Keys of one kind may have several rows; of no other table may a row go unnoticed.
    assert all(table.read is heads and row.startswith(("| `lane", "| `ready")) for row in missed), missed
    made_up = rows[0].replace(rows[0].split("|")[1], " `nonsense` ", 1)
    assert table.words(text.replace(rows[0], f"{rows[0]}\n{made_up}", 1)) != table.code


@pytest.mark.parametrize(
    ("name", "row"), [("queues", QueueRow), ("workers", WorkerRow), ("errors", ErrorRow)], ids=str
)
def test_the_fields_of_top_are_those_of_its_rows(name: str, row: type) -> None:
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^\| `{name}` \|(.*)$", page, re.MULTILINE)

    assert QUOTED.findall(line) == [field.name for field in dataclasses.fields(row)]
