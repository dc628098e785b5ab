"""The root of every error that microbatch raises. It stands alone: every file of this package needs it."""

from __future__ import annotations

from typing import Any

__all__ = ["MicrobatchError"]


class MicrobatchError(Exception):
    """The root: catch it to catch everything that microbatch raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Process pools carry errors by pickle, and one that cannot be made again breaks the whole pool: the
        # sentence and the facts travel, the constructor is not asked again.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[MicrobatchError], args: tuple[object, ...], facts: dict[str, Any]
) -> MicrobatchError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error
