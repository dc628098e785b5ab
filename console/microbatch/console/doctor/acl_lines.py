"""Users of an ACL file: one line for each way to use Redis, with exactly the rights that it needs.

Rule: a line is derived from the roles table, so it grants what our code sends and nothing besides. It holds
no password: until somebody puts the hash of one in its place, a server refuses it. Nothing here asks Redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.common.keys import KNOWN_QUEUES, QueueKeys
from microbatch.console.doctor.roles import CONNECTION, OPTIONAL, ROLES, TOPOLOGY, rights_of_role, sign_up

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EXAMINING", "USERS", "acl_lines", "password_mark", "rights_of_user"]

USERS: Final = {
    "producer": ("producer",),
    "worker": ("worker",),
    "observer": ("observer",),
    "admin": ("observer", "operator"),
}
"""Each user and the roles that it plays; `admin` runs the doctor as well."""

EXAMINING: Final = (
    *("acl|whoami", "acl|dryrun", "acl|getuser", "acl|cat", "info", "config|get", "time"),
    *("scan", "type", "exists", "pttl", "smembers", "hmget", "hgetall", "zscore", "zrange"),
    *("xlen", "xrange", "xpending", "xinfo|groups", "xinfo|consumers"),
)
"""What the doctor asks."""

ROTATION: Final = ("acl|load",)
"""An administrator who changed the file on the server's disk may have it read again."""


def rights_of_user(user: str) -> tuple[str, ...]:
    """Every command that a user may send at any key of ours, in the words of ACL rules, sorted."""
    rights = {*CONNECTION, "select", *(right for more in TOPOLOGY.values() for right in more)}
    for role in ROLES:
        if role.name in USERS[user]:
            rights |= {right.partition(":")[0] for right in rights_of_role(role)}
    if user == "admin":
        rights |= {*EXAMINING, *ROTATION}
    # A server that does not know a subcommand refuses the whole file.
    return tuple(sorted(rights - OPTIONAL))


def password_mark(user: str) -> str:
    """What stands where the hash of the user's password belongs."""
    return f"#sha256-of-the-password-of-{user}"


def acl_lines(queues: Sequence[str] = ()) -> list[str]:
    """The lines of an ACL file.

    Args:
        queues: The users get the keys of these queues; none: of all queues.
    """
    prefixes = [QueueKeys(queue).prefix for queue in queues] or ["mb:"]
    keys = [f"~{prefix}*" for prefix in prefixes] + ([f"~{KNOWN_QUEUES}"] if queues else [])
    channels = [f"&{prefix}*" for prefix in prefixes]
    selectors = [sign_up(prefix) for prefix in (prefixes if queues else ["mb:{*}:"])]
    looking = {role.name for role in ROLES if role.looks}
    lines = ["user default reset"]  # off, without rights: nobody comes in without a name
    for user in USERS:
        commands = [f"+{right}" for right in rights_of_user(user)]
        words = [*keys, "resetchannels", *channels, "-@all", *commands]
        words += selectors if looking.issuperset(USERS[user]) else []
        lines.append(f"user {user} on {password_mark(user)} {' '.join(words)}")
    return lines
