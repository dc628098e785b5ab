"""What a person or a script reads from us: lines on stdout and stderr, safe and complete.

Rule: text from payloads, errors and Redis may hold anything; no character of it may steer the terminal or
begin a new line. Results go to stdout, everything else to stderr. Nothing else in the console writes
text that it did not make itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from microbatch.console.json_values import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "complain",
    "confirmed",
    "counted",
    "encodable",
    "escaped",
    "print_json",
    "show_traceback",
    "table",
]


def escaped(text: str) -> str:
    r"""`text` on one line: what cannot be printed (controls, line ends, marks of direction) as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def complain(prog: str, sentence: str) -> None:
    """One line on stderr."""
    print(f"{prog}: {escaped(sentence)}", file=sys.stderr, flush=True)


def show_traceback(texts: Iterable[str]) -> None:
    """A formatted traceback on stderr."""
    for text in texts:
        for line in text.splitlines():
            print(escaped(line), file=sys.stderr)
    sys.stderr.flush()


def print_json(value: object) -> None:
    """A value on stdout, as one line of JSON."""
    print(json_text(value), flush=True)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns wide enough for what is in them: numbers to the right, text to the left, None as `-`."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(cells) and all(text == "-" or text[:1].isdigit() for text in column)
        for column in zip(*cells, strict=True)
    ] or [False] * len(titles)
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in [list(titles), *cells]
    ]
    return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """A number and what there are so many of: `1 job`, `2,000 jobs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def confirmed(question: str) -> bool:
    """Ask on stderr; yes where no person sits at the terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def encodable() -> None:
    """Let stdout and stderr take every text, also where the terminal's encoding cannot show it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else escaped(str(value))
