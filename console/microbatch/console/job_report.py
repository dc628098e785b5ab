"""Jobs as text and as JSON.

Rule: pure; every text out of Redis is escaped, because its bytes may be anybody's. A payload is shown only
where it was asked for.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from microbatch.common.jobs.states import JobState
from microbatch.console.dead_report import as_json as letter_as_json
from microbatch.console.json_values import json_text
from microbatch.console.terminal import escaped, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from microbatch.common.jobs.update import JobUpdate
    from microbatch.console.job_row import JobRow
    from microbatch.console.job_sheet import JobSheet

__all__ = ["rows_as_table", "sheet_as_json", "sheet_as_text"]

_TITLES = ("JOB", "STATE", "ENQUEUED", "ATTEMPT", "PRIORITY", "KEY", "WHERE")
_MESSAGE_CHARS = 60


def rows_as_table(rows: Sequence[JobRow]) -> str:
    """One line per job."""
    return table(_TITLES, [_cells(row) for row in rows])


def _cells(row: JobRow) -> tuple[object, ...]:
    return (
        row.id or "(no valid id)",
        str(row.state),
        _time(row.enqueued_at),
        row.attempt,
        row.priority,
        row.batch_key,
        _where(row),
    )


def _where(row: JobRow) -> str | None:
    """Where it is, since when, and what is odd about it."""
    words = []
    if row.state is JobState.RUNNING:
        words.append(f"{row.worker}, batch {row.batch_id or '-'} since {_time(row.started_at) or '-'}")
    elif row.state is JobState.SCHEDULED:
        words.append(f"due {_time(row.due_at) or '-'}")
    elif row.letter_id is not None:
        words.append(f"letter {row.letter_id}")
    elif row.state.is_final:
        words.append(f"finished {_time(row.finished_at) or '-'}")
    else:
        words.append(row.lane or "-")
    if row.error is not None:
        message = row.error.message
        short = message if len(message) <= _MESSAGE_CHARS else f"{message[: _MESSAGE_CHARS - 3]}..."
        words.append(f"{row.error.type}: {short}")
    if row.fault:
        words.append(row.fault)
    return "; ".join(words)


def sheet_as_json(sheet: JobSheet, *, with_payload: bool) -> dict[str, Any]:
    """All about a job, for machines."""
    status, letter = sheet.status, sheet.letter
    shown: dict[str, Any] = {"id": sheet.id} if status is None else asdict(status)
    shown["entry"] = sheet.entry and asdict(sheet.entry)
    shown["log"] = [asdict(line) for line in sheet.log]
    whole = None if letter is None else letter_as_json(letter, whole=True)
    # What it holds besides is said above, and its payload where somebody asked for it.
    shown["letter"] = whole and {name: whole[name] for name in whole if name not in _TOLD_APART}
    if with_payload:
        fault = sheet.payload_fault
        shown |= {"payload_fault": fault} if fault else {"payload": sheet.payload}
    return shown


_TOLD_APART = frozenset({"id", "payload", "payload_fault", "raw"})


def sheet_as_text(sheet: JobSheet, *, with_payload: bool, log_lines: int) -> str:
    """All about a job, for a person; of its log the last lines."""
    return "\n".join(escaped(line) for line in _lines(sheet, log_lines, with_payload=with_payload))


def _lines(sheet: JobSheet, log_lines: int, *, with_payload: bool) -> Iterator[str]:
    yield f"job        {sheet.id}"
    if sheet.status is None:
        yield "state      its record is gone; this is from its dead letter"
    for name, value in (*_facts(sheet), *_entry_facts(sheet)):
        if value:
            yield f"{name:10} {value}"
    yield from _story(sheet)
    yield from _log(sheet, log_lines)
    if with_payload:
        fault = sheet.payload_fault
        yield f"payload    {f'cannot be shown: {fault}' if fault else json_text(sheet.payload)}"


def _story(sheet: JobSheet) -> Iterator[str]:
    """How earlier runs ended, what happened in this one, and where it broke."""
    status = sheet.status
    for past in status.history if status else ():
        error = f": {past.error.type}: {past.error.message}" if past.error else ""
        yield f"run {past.run:<6} {past.state} {_time(past.finished_at) or ''}{error}"
    for step in status.timeline if status else ():
        yield f"history    {_step(step)}"
    failed = status.error if status else sheet.letter and sheet.letter.error
    for line in failed.traceback.splitlines() if failed else ():
        yield f"           {line}"


def _log(sheet: JobSheet, most: int) -> Iterator[str]:
    shown = sheet.log[-most:]
    if len(shown) < len(sheet.log):
        yield f"log        ({len(sheet.log) - len(shown)} earlier lines: microbatch log {sheet.id})"
    for line in shown:
        yield f"log        {_time(line.at)} {line.level.upper()} {line.text}"


def _facts(sheet: JobSheet) -> Iterator[tuple[str, object]]:
    status, letter = sheet.status, sheet.letter
    if status is None:
        if letter is not None:
            yield "attempts", f"{letter.attempts}, in run {letter.run}"
            yield "error", f"{letter.error.type}: {letter.error.message}"
    else:
        yield "state", status.state
        yield "attempt", f"{status.attempt}{f', in run {status.run}' if status.run > 1 else ''}"
        yield "enqueued", _time(status.enqueued_at)
        yield "due", _time(status.due_at)
        yield "started", _time(status.started_at)
        yield "finished", _time(status.finished_at)
        yield "worker", status.worker
        batch = status.batch
        if batch is not None:
            waited = f", waited {batch.waited_ms} ms" if batch.waited_ms is not None else ""
            ran = f", ran {batch.run_ms} ms" if batch.run_ms is not None else ""
            yield "batch", f"{batch.batch_id} of {batch.batch_size}, {batch.reason or '-'}{waited}{ran}"
        if status.progress is not None:
            yield "progress", f"{status.progress.fraction:.0%} {status.progress.text}"
        for name, error in (("error", status.error), ("last error", status.last_error)):
            yield name, error and f"{error.type}: {error.message}"
    if letter is not None:
        yield "letter", letter.letter_id


def _entry_facts(sheet: JobSheet) -> Iterator[tuple[str, object]]:
    entry = sheet.entry
    if entry is not None:
        yield "lane", entry.lane
        yield "priority", entry.priority
        yield "key", entry.batch_key
        yield "kind", entry.kind
        yield "size", f"{entry.payload_bytes} bytes"


def _step(step: JobUpdate) -> str:
    words = [_time(step.at) or "-", step.event]
    if step.attempt:
        words.append(f"attempt={step.attempt}")
    if step.batch_id:
        words.append(f"batch={step.batch_id} worker={step.worker or '-'}")
    if step.error:
        words.append(f"{step.error.type}: {step.error.message}")
    return " ".join(words)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}Z"
