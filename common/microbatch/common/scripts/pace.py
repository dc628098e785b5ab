"""The typed side of `pace.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Arg, Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["pace"]


def pace(keys: QueueKeys, sums: Sequence[float], *, half_life_ms: int) -> Call[list[float]]:
    """Add sums over runs to those of the fleet, and learn these: five numbers, as in the script's header."""
    args: list[Arg] = [half_life_ms, *(f"{value:.6g}" for value in sums)]
    return Call(load("pace"), keys.prefix, args, _parse)


def _parse(reply: Any) -> list[float]:
    return [float(value) for value in reply]
