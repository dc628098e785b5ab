"""The typed side of `run_now.lua`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.scripts.script import Call, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.common.keys import QueueKeys

__all__ = ["run_now"]


def run_now(keys: QueueKeys, locals_: Sequence[str]) -> Call[list[str]]:
    """Scheduled jobs are due at once; per job `due`, else its state, `unknown` or `foreign`. At most 256."""
    return Call(load("run_now"), keys.prefix, tuple(locals_), _parse)


def _parse(reply: Any) -> list[str]:
    return [str(answer.decode("utf-8", "replace")) for answer in reply]
