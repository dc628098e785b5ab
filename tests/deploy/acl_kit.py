"""A server that only lets the users of `deploy/redis/users.acl` in, and a worker process at it."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.deploy.kit import DEPLOY, booted, client_of, socket_of

from microbatch.console.doctor.acl_lines import USERS, password_mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

__all__ = ["Guarded", "filled_in", "guarded", "password_of"]

ROOT_USER = "user root on nopass ~* &* +@all\n"
"""The test's own: no user of the file may list commands or read the log of refusals."""


def password_of(user: str) -> str:
    """Each user's password."""
    return f"password-of-{user}"


def filled_in(text: str) -> str:
    """The file with the hashes of passwords in it."""
    for user in USERS:
        digest = hashlib.sha256(password_of(user).encode()).hexdigest()
        text = text.replace(password_mark(user), f"#{digest}")
    return text


@dataclass(frozen=True)
class Guarded:
    """A server with users."""

    directory: Path
    root: Redis

    def url(self, user: str) -> str:
        """How a program connects as a user."""
        return f"unix://{user}:{password_of(user)}@{socket_of(self.directory)}?db=0"

    def refused(self) -> list[str]:
        """What was refused to users since the log was cleared."""
        log: Any = self.root.acl_log()
        return [f"{entry['username']}: {entry['object']}" for entry in log]


@contextmanager
def guarded(engine: str) -> Iterator[Guarded]:
    """Boot one."""
    with tempfile.TemporaryDirectory(prefix="mb-acl-") as folder:
        file = Path(folder, "users.acl")
        file.write_text(filled_in((DEPLOY / "redis" / "users.acl").read_text()) + ROOT_USER)
        with (
            booted(engine, "--aclfile", str(file)) as directory,
            client_of(directory, username="root", password="any") as root,  # noqa: S106 - it has none
        ):
            yield Guarded(directory, root)
