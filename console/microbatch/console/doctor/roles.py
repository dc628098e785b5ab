"""The roles: what each of them sends to Redis, as one table.

Rule: a role is its scripts and the commands that its code sends itself. What a script calls is read from
the script's own text, so it cannot be forgotten; tests compare the table with the code of each package. A
role that looks may send none of these commands that writes, except where it says that it wants to be told:
its scripts ask Redis first (`include/carried.lua`). Nothing here asks Redis.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from microbatch.common.keys import KNOWN_QUEUES, QueueKeys
from microbatch.common.scripts import load

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CONTAINERS",
    "EXAMPLES",
    "OPTIONAL",
    "ROLES",
    "WRITES",
    "Role",
    "commands_of_script",
    "rights_of_role",
    "sent_by_connections",
    "sign_up",
    "vectors",
]

CONTAINERS: Final = frozenset({"XGROUP", "XINFO", "CLIENT", "SCRIPT", "CLUSTER", "PUBSUB"})
"""Commands that Redis grants by subcommand."""

OPTIONAL: Final = frozenset({"client|setinfo"})
"""Sent by every connection; nothing is lost where the server does not know or does not allow them."""

CONNECTION: Final = ("client|setname", "client|setinfo", "ping", "evalsha", "script|load")
"""What every connection sends. AUTH needs no right."""

TOPOLOGY: Final = {"+sentinel": ("role",), "+cluster": ("cluster|slots", "asking")}
"""What connections send besides, by a part of the URL's scheme."""

WRITES: Final = frozenset(
    {"del", "hdel", "hincrby", "hset", "hsetnx", "persist", "pexpire", "publish", "rename", "sadd", "set"}
    | {"srem", "xack", "xadd", "xdel", "xgroup|create", "xgroup|delconsumer", "xreadgroup", "xtrim"}
    | {"zadd", "zrem", "zremrangebyscore"}
)
"""Commands that change something or tell somebody something."""

_DATABASE: Final = re.compile(r"://[^?]*/0*[1-9]\d*/?(?:\?|$)|[?&]db=0*[1-9]")

_CALL: Final = r"\b(?:{callers})\(\s*'([A-Z]+)'(?:\s*,\s*'([A-Z]+)')?"
_WRAPPER: Final = re.compile(r"local function (\w+)\(\.\.\.\)")  # calls what it is given
_BUILT: Final = re.compile(r"\{'(X[A-Z]+)',")  # a command that is put together before it is called
_COMMENT: Final = re.compile(r"--.*")


@dataclass(frozen=True, slots=True)
class Role:
    """One way to use Redis: its scripts, and the commands that its code sends itself.

    Attributes:
        looks: It changes nothing of any job or queue, whatever its user sends.
    """

    name: str
    scripts: tuple[str, ...]
    commands: tuple[str, ...]
    looks: bool = False


ROLES: Final = (
    Role(
        "producer",
        ("submit", "await_results", "job_status", "job_log", "listen", "cancel", "redis_time"),
        (
            "sadd",
            "subscribe:reply",
            "subscribe:events",
            "unsubscribe",
            "set:fence",
            "wait",
        ),  # the last two for durability="replicated"
    ),
    Role(
        "worker",
        (
            *("join", "claim", "settle", "quarantine", "release"),
            *("heartbeat", "takeover", "step_aside", "run_alone", "queue_status", "note"),
            *("schedule_put", "schedules", "schedule_advance", "pace", "orders", "acknowledge"),
        ),
        ("sadd", "subscribe:wake"),
    ),
    Role(
        "observer",
        (
            *("queue_status", "fleet", "job_status", "job_log", "listen", "await_results"),
            *("dead_letters", "schedules", "redis_time"),
            *("lane_jobs", "scheduled_jobs", "job_records", "job_entry"),
        ),
        ("smembers", "xrevrange", "subscribe:reply", "scan", "zscan", "zrange", "type"),
        looks=True,
    ),
    Role(
        "operator",
        (
            *("redrive", "purge_dead", "cancel", "schedule_put", "schedule_change", "submit"),
            *("hold", "purge", "limit", "order", "run_now"),
        ),
        ("smembers", "sadd", "hgetall", "persist"),
    ),
)
"""Who there is. `observer` and `operator` are people with the `microbatch` command: one looks, one acts."""

EXAMPLES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "client|setname": (("CLIENT", "SETNAME", "n"),),
    "client|setinfo": (("CLIENT", "SETINFO", "LIB-NAME", "n"),),
    "role": (("ROLE",),),
    "cluster|slots": (("CLUSTER", "SLOTS"),),
    "asking": (("ASKING",),),
    "select": (("SELECT", "1"),),
    "ping": (("PING",),),
    "script|load": (("SCRIPT", "LOAD", "return 1"),),
    "evalsha": (("EVALSHA", "0" * 40, "1", "{q}"),),
    "sadd": (("SADD", KNOWN_QUEUES, "n"), ("SADD", "{q}tombstones", "n")),
    "smembers": (("SMEMBERS", KNOWN_QUEUES),),
    "subscribe:reply": (("SUBSCRIBE", "{q}reply:n"),),
    "subscribe:events": (("SUBSCRIBE", "{q}events"), ("SUBSCRIBE", "{q}events:n")),
    "unsubscribe": (("UNSUBSCRIBE", "n"),),
    "subscribe:wake": (("SUBSCRIBE", "{q}wake:n"),),
    "publish": (("PUBLISH", "{q}reply:n", "1"), ("PUBLISH", "{q}wake:n", "1"), ("PUBLISH", "{q}events", "1")),
    "time": (("TIME",),),
    "exists": (("EXISTS", "{q}lane:main"),),
    "del": (("DEL", "{q}job:n"),),
    "get": (("GET", "{q}watcher"), ("GET", "{q}offer:n")),
    "set": (("SET", "{q}watcher", "1", "PX", "1"), ("SET", "{q}offer:n", "1", "KEEPTTL")),
    "set:fence": (("SET", "{q}fence", "1", "PX", "1"),),
    "wait": (("WAIT", "1", "1"),),
    "pexpire": (("PEXPIRE", "{q}job:n", "1"),),
    "pubsub|numsub": (("PUBSUB", "NUMSUB", "{q}wake:n"),),
    "pttl": (("PTTL", "{q}listeners"),),
    "persist": (("PERSIST", "{q}job:n"),),
    "hdel": (("HDEL", "{q}job:n", "f"),),
    "hget": (("HGET", "{q}job:n", "f"),),
    "hgetall": (("HGETALL", "{q}batches:n"),),
    "hincrby": (("HINCRBY", "{q}counters", "f", "1"),),
    "hkeys": (("HKEYS", "{q}batches:n"),),
    "hlen": (("HLEN", "{q}batches:n"),),
    "hmget": (("HMGET", "{q}settings", "f"),),
    "hrandfield": (("HRANDFIELD", "{q}unique", "1", "WITHVALUES"),),
    "hsetnx": (("HSETNX", "{q}orders:n", "f", "v"), ("HSETNX", "{q}acks:n", "f", "v")),
    "hset": (("HSET", "{q}job:n", "f", "v"), ("HSET", "{q}batches:n", "f", "v")),
    "rename": (("RENAME", "{q}idle", "{q}aside:idle"),),
    "scan": (("SCAN", "0"),),
    "scard": (("SCARD", "{q}tombstones"),),
    "sismember": (("SISMEMBER", "{q}tombstones", "n"),),
    "srem": (("SREM", "{q}tombstones", "n"),),
    "type": (("TYPE", "{q}lane:main"),),
    "xack": (("XACK", "{q}lane:main", "workers", "0-1"),),
    "xadd": (("XADD", "{q}lane:main", "*", "f", "v"), ("XADD", "{q}dead", "*", "f", "v")),
    "xdel": (("XDEL", "{q}lane:main", "0-1"),),
    "xgroup|create": (("XGROUP", "CREATE", "{q}lane:main", "workers", "0", "MKSTREAM"),),
    "xgroup|delconsumer": (("XGROUP", "DELCONSUMER", "{q}lane:main", "workers", "n"),),
    "xinfo|groups": (("XINFO", "GROUPS", "{q}lane:main"),),
    "xlen": (("XLEN", "{q}lane:main"),),
    "xpending": (("XPENDING", "{q}lane:main", "workers"),),
    "xrange": (("XRANGE", "{q}lane:main", "-", "+"),),
    "xrevrange": (("XREVRANGE", "{q}dead", "+", "-"), ("XREVRANGE", "{q}recent", "+", "-")),
    "xreadgroup": (("XREADGROUP", "GROUP", "workers", "n", "STREAMS", "{q}lane:main", ">"),),
    "xtrim": (("XTRIM", "{q}dead", "MAXLEN", "1"),),
    "zadd": (("ZADD", "{q}workers", "1", "n"),),
    "zcard": (("ZCARD", "{q}scheduled"),),
    "zcount": (("ZCOUNT", "{q}workers", "0", "1"),),
    "zrange": (("ZRANGE", "{q}scheduled", "0", "0"),),
    "zrangebyscore": (("ZRANGEBYSCORE", "{q}workers", "0", "1"),),
    "zrank": (("ZRANK", "{q}scheduled", "n"),),
    "zrem": (("ZREM", "{q}idle", "n"),),
    "zremrangebyscore": (("ZREMRANGEBYSCORE", "{q}idle", "0", "1"),),
    "zscan": (("ZSCAN", "{q}lanes", "0"),),
    "zscore": (("ZSCORE", "{q}workers", "n"),),
}
"""One call or more of each command, as we send it; `{q}` is the queue's prefix."""


@cache
def commands_of_script(name: str) -> frozenset[str]:
    """What a script calls, its includes among it, in the words of ACL rules: `xack`, `xgroup|create`."""
    code = _COMMENT.sub("", load(name).text)
    callers = "|".join(("call", "pcall", *_WRAPPER.findall(code)))
    called = {
        f"{command}|{second}".lower() if command in CONTAINERS else command.lower()
        for command, second in re.findall(_CALL.format(callers=callers), code)
    }
    return frozenset(called | {command.lower() for command in _BUILT.findall(code)})


def sent_by_connections(url: str) -> tuple[str, ...]:
    """The rights that connections to a URL need, whatever they are used for."""
    scheme = url.partition("://")[0]
    more = [right for part, rights in TOPOLOGY.items() if part in scheme for right in rights]
    if _DATABASE.search(url):
        more.append("select")
    return (*CONNECTION, *more)


def rights_of_role(role: Role) -> frozenset[str]:
    """What a role sends at any key of ours, connections apart."""
    sent = frozenset(role.commands).union(*map(commands_of_script, role.scripts))
    return sent - WRITES if role.looks else sent


def sign_up(prefix: str) -> str:
    """The selector by which who only looks may say that it wants to be told: the only keys that it writes.

    Args:
        prefix: Of a queue's keys, or a pattern of it.
    """
    keys = " ".join(f"~{prefix}{name}" for name in ("listeners", "watchers"))
    return f"({keys} resetchannels -@all +hdel +hset +pexpire)"


def vectors(role: Role, queue: str, url: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Everything that a role sends: the right that it needs, and an example with the queue's keys."""
    prefix = QueueKeys(queue).prefix
    for right in sorted({*sent_by_connections(url), *rights_of_role(role)}):
        for example in EXAMPLES[right]:
            yield right.partition(":")[0], tuple(word.replace("{q}", prefix) for word in example)
    if role.looks:
        for key in (f"{prefix}listeners", f"{prefix}watchers"):
            yield sign_up(prefix), ("HSET", key, "f", "v")
            yield sign_up(prefix), ("HDEL", key, "f")
            yield sign_up(prefix), ("PEXPIRE", key, "1")
