"""The work: every docstring of the Python standard library, read from the sources on this machine.

Rule: the same Python gives the same docstrings in the same order; nothing is imported or run, only parsed.
It never reads tests or installed packages, and what does not parse is passed over.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sysconfig
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "Docstring",
    "count_tokens",
    "docstrings",
    "read_share",
    "sample",
    "spread",
    "standard_library",
    "write",
]

T = TypeVar("T")

_STRIDE = 16  # a sample comes from every so many-th file, and from those between only where it must
_PASSED_OVER = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages"})
_TOKEN = re.compile(r"\w+")
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NESTING = (ast.stmt, ast.excepthandler, ast.match_case)


@dataclass(frozen=True, slots=True)
class Docstring:
    """One item of work.

    Attributes:
        name: Whose docstring it is, such as `asyncio.events.get_event_loop`.
        text: The docstring as it stands in the source, indentation included.
    """

    name: str
    text: str


def standard_library() -> Path:
    """The folder with the sources of this Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def docstrings(root: Path) -> Iterator[Docstring]:
    """Find the docstrings of all modules, classes and functions below a folder, in the order of their names.

    Args:
        root: The folder that holds the top-level modules and packages.

    Yields:
        Every docstring that is not blank.
    """
    for path in _sources(root):
        yield from _documented(root, path)


def sample(root: Path, count: int) -> list[Docstring]:
    """Take `count` docstrings from all over, in the order of their names, reading no more files than needed.

    Args:
        root: As for `docstrings`.
        count: How many; all where there are fewer.
    """
    sources = _sources(root)
    found: dict[Path, list[Docstring]] = {}
    for path in (path for start in range(_STRIDE) for path in sources[start::_STRIDE]):
        if sum(map(len, found.values())) >= count:
            break
        found[path] = list(_documented(root, path))
    return spread([each for path in sorted(found) for each in found[path]], count)


def spread(items: Sequence[T], count: int) -> list[T]:
    """Pick `count` items at even distances, so that a sample is like the whole; all where there are fewer."""
    count = min(count, len(items))
    return [items[position * len(items) // count] for position in range(count)]


def count_tokens(text: str) -> int:
    """How many words a text has."""
    return len(_TOKEN.findall(text))


def write(path: Path, work: Iterable[Docstring]) -> None:
    """Write docstrings to a file of JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps([each.name, each.text])}\n" for each in work)


def read_share(path: Path, share: int, shares: int) -> list[tuple[int, Docstring]]:
    """Read one producer's share of the docstrings in a file, each with its number in the file.

    Args:
        path: What `write` wrote.
        share: Whose share, from 0.
        shares: How many there are.
    """
    with path.open(encoding="utf-8") as file:
        return [
            (number, Docstring(*json.loads(line)))
            for number, line in enumerate(file)
            if number % shares == share
        ]


def _sources(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, below, files in os.walk(root):
        below[:] = filter(_is_read, below)  # installed packages are many more files than the library has
        found += (
            Path(folder, name)
            for name in files
            if name.endswith(".py") and _is_read(name.removesuffix(".py"))
        )
    return sorted(found)


def _is_read(name: str) -> bool:
    return name.isidentifier() and name not in _PASSED_OVER


def _documented(root: Path, path: Path) -> Iterator[Docstring]:
    module = _parsed(path)
    if module is None:
        return
    parts = path.relative_to(root).with_suffix("").parts
    dotted = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)
    yield from _own(module, dotted)
    yield from _nested(module, dotted)


def _parsed(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old modules are not our user's concern
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return None


def _nested(parent: ast.AST, prefix: str) -> Iterator[Docstring]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, _DOCUMENTED):
            name = f"{prefix}.{node.name}"
            yield from _own(node, name)
            yield from _nested(node, name)
        elif isinstance(node, _NESTING):  # a definition below `if` or `try`
            yield from _nested(node, prefix)


def _own(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[Docstring]:
    text = ast.get_docstring(node, clean=False)
    if text and text.strip():
        # A lone surrogate, written as an escape, is no text that could travel or be stored.
        yield Docstring(name, text.encode("utf-8", "replace").decode("utf-8"))
