"""One stream entry: a job on its way to a worker.

Rule: parsing never raises and never decodes a payload; what is missing or foreign becomes `Entry.fault`, so
that one bad entry is quarantined alone and its batch mates never notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.identifiers import is_name
from microbatch.common.stored_numbers import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VERSION", "Entry", "lane_words", "parse_entry", "parse_plain"]

VERSION = 1
"""The highest entry and record version that this code understands."""

_NUMBERS = (("v", 1), ("attempt", 0), ("crashes", 0), ("failures", 0), ("enqueued_ms", None))
_ID_LIMIT = 128


class Entry:
    """A claimed stream entry.

    Attributes:
        token: `lane:entry-id`, unique over all lanes: the fence of this delivery.
        local: The second half of the job id; empty where the entry names none.
        client: Whom to tell; empty where the entry names none.
        payload: The encoded payload.
        attempt: Which run this is, from 1.
        crashes: How many workers died running it alone.
        failures: How many of its runs failed and were to be repeated.
        enqueued_ms: When it was first accepted, by Redis's clock.
        written_ms: When this entry was written, so that it could run; later than that for a retry or a delay.
        headers: The encoded headers, or empty.
        ttl_ms: How long its result is kept; empty leaves it to the worker.
        priority: Higher goes first.
        cost: What it takes, in a unit of the producer's choice.
        batch_key: Only jobs of one key share a batch; empty: none.
        max_attempts: How many runs it may have; None leaves it to the worker.
        expires_ms: By when it must have been started, by Redis's clock; None: no deadline.
        cancelled: Whether the job was cancelled since it was claimed here.
        newer: A later version wrote it: hand it back.
        fault: Why nothing can process it; empty where it is fine.
    """

    __slots__ = (
        "attempt",
        "batch_key",
        "cancelled",
        "client",
        "cost",
        "crashes",
        "enqueued_ms",
        "expires_ms",
        "failures",
        "fault",
        "headers",
        "local",
        "max_attempts",
        "newer",
        "payload",
        "priority",
        "token",
        "ttl_ms",
        "written_ms",
    )

    def __init__(self, token: str, local: str, client: str, payload: bytes, enqueued_ms: int) -> None:
        self.token = token
        self.local = local
        self.client = client
        self.payload = payload
        self.enqueued_ms = enqueued_ms
        self.written_ms = enqueued_ms
        self.attempt = 1
        self.crashes = 0
        self.failures = 0
        self.cancelled = False
        self.headers = b""
        self.ttl_ms = ""
        self.max_attempts: int | None = None
        self.expires_ms: int | None = None
        self.priority = 0
        self.cost = 1
        self.batch_key = ""
        self.newer = False
        self.fault = ""

    @property
    def is_suspect(self) -> bool:
        """Whether a worker died while it held this job, so that it is to run alone."""
        return self.token.startswith("solo:")


def parse_plain(lane: str, entry_id: bytes, local: bytes, client: bytes, payload: bytes) -> Entry:
    """Read a plain job on its first run, as a claim answers most of them: without the names of its fields."""
    if local.isalnum() and len(local) <= _ID_LIMIT:
        try:
            name = entry_id.decode()
            return Entry(
                f"{lane}:{name}", local.decode("ascii"), client.decode("ascii"), payload, _written_ms(name)
            )
        except UnicodeDecodeError:
            pass
    return parse_entry(lane, entry_id, [b"id", local, b"client", client, b"payload", payload])


def parse_entry(lane: str, entry_id: bytes, fields: list[bytes] | None) -> Entry:
    """Read any entry.

    Args:
        lane: Where it was read.
        entry_id: Its id in the stream.
        fields: Its names and values in turn; None where somebody deleted it.
    """
    name = entry_id.decode()
    return _parse_any(f"{lane}:{name}", _written_ms(name), fields or [])


def _written_ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _parse_any(token: str, written_ms: int, fields: list[bytes]) -> Entry:
    named: dict[bytes, bytes] = dict(zip(fields[::2], fields[1::2], strict=False))
    entry = Entry(
        token,
        named.get(b"id", b"").decode("ascii", "replace"),
        named.get(b"client", b"").decode("ascii", "replace"),
        named.get(b"payload", b""),
        written_ms,
    )
    numbers: dict[str, Any] = {"enqueued_ms": written_ms}
    for name, default in _NUMBERS:
        raw = named.get(name.encode())
        if raw is not None:
            numbers[name] = number_of(raw)
        else:
            numbers.setdefault(name, default)
    missing = [name for name in ("id", "payload") if name.encode() not in named]
    if missing:
        entry.fault = f"the entry has no {' and no '.join(missing)}"
    elif not is_name(entry.local):
        entry.fault = "the entry's id is not a valid job id"
    elif None in numbers.values():
        entry.fault = "the entry has a field that should be a number and is none"
    elif numbers["v"] > VERSION:
        entry.newer = True
    if entry.fault:
        entry.local = entry.local if is_name(entry.local) else ""
    else:
        entry.attempt = numbers["attempt"] + 1
        entry.crashes = numbers["crashes"]
        entry.failures = numbers["failures"]
        entry.enqueued_ms = numbers["enqueued_ms"]
    entry.headers = named.get(b"headers", b"")
    ttl_ms = named.get(b"ttl_ms", b"")
    entry.ttl_ms = ttl_ms.decode() if number_of(ttl_ms) is not None else ""
    entry.max_attempts = number_of(named.get(b"max_attempts", b""))
    entry.expires_ms = number_of(named.get(b"expires_ms", b""))
    cost = number_of(named.get(b"cost", b""))
    entry.cost = 1 if cost is None else cost
    entry.priority, entry.batch_key = lane_words(named)
    return entry


def lane_words(named: Mapping[bytes, bytes]) -> tuple[int, str]:
    """The priority and the batch key that an entry's fields say; 0, and empty, where they say none."""
    word = named.get(b"priority", b"")
    size = number_of(word.removeprefix(b"-")) or 0
    batch_key = named.get(b"batch_key", b"").decode("ascii", "replace")
    return -size if word.startswith(b"-") else size, batch_key if is_name(batch_key) else ""
