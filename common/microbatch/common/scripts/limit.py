"""The typed side of `limit.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from microbatch.common.keys import QueueKeys

__all__ = ["limit"]


def limit(keys: QueueKeys, values: Mapping[str, str]) -> Call[int]:
    """Set limits; an empty value takes one away. Answers how many there are."""
    args: list[Arg] = [word for pair in values.items() for word in pair]
    return Call(load("limit"), keys.prefix, args, _parse)


def _parse(reply: Any) -> int:
    return int(reply)
