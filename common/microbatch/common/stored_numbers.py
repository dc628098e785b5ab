"""Numbers and times as anybody may have stored them: in entries, records and dead letters.

Rule: reading never raises; what is no number, or no moment in time, is None. Who has to refuse such a record
reads it in `jobs/status.py`. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["moment_of", "number_of"]

_DIGITS_LIMIT = 17  # fits 64 bits, also after the server has added its clock to a time to live


def number_of(raw: bytes) -> int | None:
    """A whole number without a sign; None for anything else."""
    return int(raw) if raw.isdigit() and len(raw) <= _DIGITS_LIMIT else None


def moment_of(time_ms: int | None) -> datetime | None:
    """A time in milliseconds since 1970 as an aware UTC datetime; None for None, and beyond the calendar."""
    try:
        return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
