"""The typed side of `purge_dead.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["purge_dead"]


def purge_dead(keys: QueueKeys, letter_ids: Sequence[str] = ()) -> Call[int]:
    """Delete these dead letters, or up to a thousand of the oldest; the answer counts them."""
    return Call(load("purge_dead"), keys.prefix, tuple(letter_ids), int)
