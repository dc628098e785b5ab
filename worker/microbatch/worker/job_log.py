"""The log of one job, as its processor writes it: `job.log.info("...")`.

Rule: a line is said and forgotten: no I/O, no error, from any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microbatch.worker.notes import line

if TYPE_CHECKING:
    from microbatch.common.jobs.entry import Entry
    from microbatch.worker.notes import Notes

__all__ = ["JobLog"]


class JobLog:
    """Writes lines that can be read by the job's id from any host, as long as its record lives.

    Lines are written together, a few times a second and before the job's outcome; beyond the worker's
    `job_log_limit_lines` and `job_log_limit_bytes` the oldest go. A line is cut at 4 KiB. Arguments are
    filled in as `logging` does it: `job.log.info("page %d", page)`.
    """

    __slots__ = ("_entry", "_notes")

    def __init__(self, notes: Notes | None, entry: Entry) -> None:
        self._notes = notes
        self._entry = entry

    def debug(self, text: object, *args: object) -> None:
        """Say something that only a search for an error needs."""
        self._say("debug", text, args)

    def info(self, text: object, *args: object) -> None:
        """Say what is happening."""
        self._say("info", text, args)

    def warning(self, text: object, *args: object) -> None:
        """Say what may be wrong."""
        self._say("warning", text, args)

    def error(self, text: object, *args: object) -> None:
        """Say what is wrong."""
        self._say("error", text, args)

    def _say(self, level: str, text: object, args: tuple[object, ...]) -> None:
        if self._notes is not None:  # None: a job that a unit test made
            self._notes.log(self._entry, line(level, _filled(text, args)))


def _filled(text: object, args: tuple[object, ...]) -> str:
    """`text % args`, as `logging` does it; a line that cannot be made so is no reason to fail a job."""
    try:
        return str(text) % args if args else str(text)
    except (TypeError, ValueError):
        return f"{text} {args}"
