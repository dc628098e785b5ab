"""The queue that a command names: it has to be one that was ever used, or a near one is proposed."""

from __future__ import annotations

from difflib import get_close_matches

from microbatch.console.exits import ExitCode, UsageError

__all__ = ["check_known"]


def check_known(queue: str, queues: list[str]) -> None:
    """Refuse a queue that nobody ever used.

    Raises:
        UsageError: It is not among `queues`; exit code 3.
    """
    if queue not in queues:
        raise UsageError(f"no queue {queue!r}{_hint(queue, queues)}", ExitCode.NOT_FOUND)


def _hint(wrong: str, queues: list[str]) -> str:
    close = get_close_matches(wrong, queues, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return "; `microbatch status` lists them" if queues else "; there are none yet"
