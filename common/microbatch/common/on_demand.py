"""Names that a package imports when they are first asked for.

Rule: a package that has something light to give makes nobody wait for what is heavy in it: who needs an error
or a key imports no pydantic. Type checkers must not see what is made here, or they would take every name for
one of the package's: `if not TYPE_CHECKING: __getattr__ = on_demand(...)`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["on_demand"]


def on_demand(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """A package's `__getattr__`.

    Args:
        package: Its `__name__`.
        homes: By module, the names that are there.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def attribute(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    return attribute
