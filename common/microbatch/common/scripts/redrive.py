"""The typed side of `redrive.lua`."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["RedriveCode", "redrive"]


class RedriveCode(IntEnum):
    """What became of one dead letter."""

    REDRIVEN = 0
    GONE = 1
    NOT_FAILED = 2
    WRONG_TYPE = 3
    NO_JOB = 4


def redrive(keys: QueueKeys, letter_ids: Sequence[str]) -> Call[list[RedriveCode]]:
    """Give dead letters another run, each under its own job id; at most 256 a call."""
    return Call(load("redrive"), keys.prefix, tuple(letter_ids), _parse)


def _parse(reply: Any) -> list[RedriveCode]:
    return [RedriveCode(code) for code in reply]
