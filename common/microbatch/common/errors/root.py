"""The root of every error that microbatch raises. It stands alone: every file of this package needs it."""

from __future__ import annotations

__all__ = ["MicrobatchError"]


class MicrobatchError(Exception):
    """The root: catch it to catch everything that microbatch raises."""
