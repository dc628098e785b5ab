"""What users and guardian write to each other: the order for a server, and the record of a running one.

Rule: both are JSON objects with exactly the fields below. A record with other fields, such as another
version of microbatch may have left, counts as none.

It never runs in the guardian, which imports nothing of ours and borrows the two types only for mypy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypedDict

from microbatch.common.embedded.guardian import RECORD

if TYPE_CHECKING:
    from pathlib import Path


class Order(TypedDict):
    """What a starter asks for: the guardian's one argument."""

    directory: str
    private: bool
    program: str
    port: int | None
    extra_args: list[str]
    socket_dir: str


class Record(TypedDict):
    """A running server: `server.json`, and the answer to the starter."""

    pid: int
    guardian_pid: int
    socket: str
    port: int | None
    program: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A `Record`, as the users' side reads it."""

    pid: int
    guardian_pid: int
    socket: str
    port: int | None
    program: str
    version: str

    @classmethod
    def parse(cls, record: bytes) -> Self | None:
        """Read a record; None where it is something else."""
        try:
            return cls(**json.loads(record))
        except (ValueError, TypeError):
            return None

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Read the record of a directory's server; None where there is none."""
        try:
            record = (directory / RECORD).read_bytes()
        except FileNotFoundError:
            return None
        return cls.parse(record)
