"""Lua scripts as values: load a `.lua` file once, and describe one call of it.

Rule: a `Call` is pure data (which script, which key, which arguments, how to read the reply); the
asynchronous and the blocking connection both run it, so every script has exactly one typed wrapper and no
caller ever counts KEYS. `-- @include name` lines are replaced by `include/name.lua`. Nothing here does I/O
beyond reading the package's own files.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Arg", "Call", "Script", "load"]

T = TypeVar("T")
Arg = str | bytes | int
_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its name, its full text, and the digest under which servers know it."""

    name: str
    text: str
    sha: str


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of a script. Running it again must be safe: a reply can be lost at any time.

    `doubted` makes another answer of one that came after an attempt without a reply: that attempt may be
    executed later, so what this one was refused may happen yet. None: it makes no difference.
    """

    script: Script
    prefix: str
    args: Sequence[Arg]
    parse: Callable[[Any], T]
    doubted: Callable[[T], T] | None = None

    def answer(self, reply: Any, *, in_doubt: bool) -> T:
        """What a reply says; `in_doubt`: after an attempt that got none."""
        answer = self.parse(reply)
        return self.doubted(answer) if in_doubt and self.doubted is not None else answer


@cache
def load(name: str) -> Script:
    """Read `name.lua` with its includes."""
    folder = files(__package__)

    def include(match: re.Match[str]) -> str:
        return (folder / "include" / f"{match[1]}.lua").read_text("utf-8")

    text = _INCLUDE.sub(include, (folder / f"{name}.lua").read_text("utf-8"))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
