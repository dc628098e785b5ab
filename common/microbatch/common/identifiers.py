"""Names: queues, jobs, batches, workers and clients.

Rule: a name is checked once, where it enters, against one pattern; what has passed here is safe inside a
Redis key, a pub/sub channel, a space-separated list and a log line. `/` separates the two halves of a
job id and is therefore part of neither; braces are refused because they would move a key to another slot.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "check_local_id",
    "check_queue",
    "is_name",
    "job_id",
    "local_id",
    "local_ids",
    "new_batch_id",
    "new_client_id",
    "new_local_id",
    "new_worker_id",
    "payload_digest",
    "split_job_id",
]

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
_BLOCK = 64
_RANDOM_BYTES = 16
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def check_queue(queue: str) -> str:
    """Return `queue` if it can be a queue's name.

    Raises:
        ValueError: It does not match `[A-Za-z0-9_.:-]{1,128}`.
    """
    return _check(queue, "queue name")


def check_local_id(local: str) -> str:
    """Return `local` if it can be the second half of a job id.

    Raises:
        ValueError: It does not match `[A-Za-z0-9_.:-]{1,128}`.
    """
    return _check(local, "job id")


def is_name(text: str) -> bool:
    """Whether `text` can be a queue's name or the second half of a job id."""
    return _NAME.match(text) is not None


def _check(name: str, what: str) -> str:
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(f"a {what} has 1 to 128 of A-Z a-z 0-9 _ . : - and no others, not {name!r:.140}")
    return name


def job_id(queue: str, local: str) -> str:
    """The full id of a job: `queue/local`."""
    return f"{queue}/{local}"


def split_job_id(full_id: str) -> tuple[str, str]:
    """The queue and the local part of a full job id.

    Raises:
        ValueError: It is not `queue/local` with two valid halves.
    """
    queue, slash, local = full_id.partition("/") if isinstance(full_id, str) else ("", "", "")
    if not slash:
        raise ValueError(f"a full job id is `queue/local`, not {full_id!r:.140}")
    return check_queue(queue), check_local_id(local)


def local_id(queue: str, name: str) -> str:
    """The local part of a job of `queue` that is named by it, or by its full id.

    Raises:
        ValueError: No valid id, or that of another queue's job.
    """
    if "/" not in name:
        return check_local_id(name)
    its_queue, local = split_job_id(name)
    if its_queue != queue:
        raise ValueError(f"{name} is no job of {queue}")
    return local


def new_local_id() -> str:
    """A fresh id of 44 hex digits: the time in milliseconds, so that ids sort, and 128 random bits.

    The random bits come from the system at every call: a buffer would repeat itself in a forked child.
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(_RANDOM_BYTES).hex()}"


def local_ids() -> Iterator[str]:
    """Fresh ids without end, for many jobs at once: the system is asked once for a block of them.

    Use an iterator up where it was made: one that crosses a fork repeats itself in the child.
    """
    made_ms, stamp, width = 0, "", 2 * _RANDOM_BYTES
    while True:
        block = os.urandom(_RANDOM_BYTES * _BLOCK).hex()
        for start in range(0, len(block), width):
            now_ms = time.time_ns() // 1_000_000
            if now_ms != made_ms:
                made_ms, stamp = now_ms, f"{now_ms:012x}"
            yield stamp + block[start : start + width]


def new_batch_id() -> str:
    """A fresh batch id. The worker chooses it before it claims, so that a claim can be repeated."""
    return new_local_id()


def new_client_id() -> str:
    """A fresh id of one client incarnation: names its reply channels, and is in each of its entries."""
    return os.urandom(8).hex()


def new_worker_id() -> str:
    """A fresh id of one worker incarnation, `host:pid:random`: a restarted worker is another one."""
    host = _UNSAFE.sub("_", socket.gethostname())[:64] or "host"
    return f"{host}:{os.getpid()}:{os.urandom(4).hex()}"


def payload_digest(payload: bytes) -> bytes:
    """16 bytes that tell one encoded payload from another (the first half of its SHA-256)."""
    return hashlib.sha256(payload).digest()[:16]
