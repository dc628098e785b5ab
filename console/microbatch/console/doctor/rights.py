"""The rights of a user, found out without using them.

Rule: Redis is asked by `ACL DRYRUN` what it would do; where the doctor may not ask that, the rules that
`ACL GETUSER` shows are read; where it may do neither, that is the answer. No command is tried.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.acl_rules import AclRules
from microbatch.console.doctor.examiner import Refusal, pairs, text
from microbatch.console.doctor.facts import AccessFacts
from microbatch.console.doctor.roles import OPTIONAL, vectors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from microbatch.console.doctor.examiner import Examiner
    from microbatch.console.doctor.roles import Role

    Lack = Callable[[str, tuple[str, ...]], Awaitable[str | None]]

__all__ = ["rights_of"]

NO_QUEUE: Final = "any"
MOST_QUEUES: Final = 50
_OF_A_KEY: Final = re.compile(r"access the '(mb:[^']*)' (key|channel)|(keys?|channels?) ")
_KEY_COMMANDS: Final = frozenset({"evalsha", "hset", "subscribe", "publish"})
_CATEGORIES: Final = ("read", "write", "stream", "hash", "set", "sortedset", "string", "keyspace", "pubsub")
_MORE_CATEGORIES: Final = ("scripting", "connection", "fast", "slow", "admin", "dangerous", "blocking")


async def rights_of(
    examiner: Examiner, user: str | None, roles: Sequence[Role], queues: Sequence[str], url: str
) -> AccessFacts:
    """What a user lacks for each role.

    Args:
        examiner: Asks.
        user: Whom it is about; None: the one that asks.
        roles: Which roles.
        queues: Whose keys and channels he needs; none: only commands are judged.
        url: How the programs connect.

    Raises:
        ConnectionFailed: No answer in time.
    """
    if user is None:
        reply = await examiner.ask("ACL", "WHOAMI")
        if isinstance(reply, Refusal):
            return AccessFacts(refusal=reply.words)
        user = text(reply)
    trial = await examiner.ask("ACL", "DRYRUN", user, "PING")
    if not isinstance(trial, Refusal):
        lack = _by_dry_run(examiner, user)
        return AccessFacts(user, "ACL DRYRUN", await _missing(lack, roles, queues, url))
    if "not found" in trial.words:
        return AccessFacts(user, refusal=f"there is no such user ({trial.words})")
    rules = await _rules(examiner, user)
    if isinstance(rules, Refusal):
        return AccessFacts(user, refusal=f"{trial.words}; {rules.words}")
    return AccessFacts(user, "ACL GETUSER", await _missing(_by_rules(rules), roles, queues, url))


async def _missing(
    lack: Lack, roles: Sequence[Role], queues: Sequence[str], url: str
) -> dict[str, tuple[str, ...]]:
    missing: dict[str, tuple[str, ...]] = {}
    for role in roles:
        lacks: dict[str, None] = {}  # in order, each once
        for index, queue in enumerate(queues[:MOST_QUEUES] or (NO_QUEUE,)):
            for right, example in vectors(role, queue, url):
                if index and right not in _KEY_COMMANDS and right[0] != "(":  # the same for each queue
                    continue
                found = await lack(right, example)
                if found and (queues or found[0] not in "~&"):
                    lacks[found] = None
        missing[role.name] = tuple(lacks)
    return missing


def _by_dry_run(examiner: Examiner, user: str) -> Lack:
    async def lack(right: str, example: tuple[str, ...]) -> str | None:
        reply = await examiner.ask("ACL", "DRYRUN", user, *example)
        if isinstance(reply, Refusal):  # the server does not know it
            return None if right in OPTIONAL else f"{right} ({reply.words})"
        words = text(reply)
        if words == "OK":
            return None
        if right[0] == "(":  # a set of rules that stands by itself
            return right
        about = _OF_A_KEY.search(words)
        if about is None:
            return None if right in OPTIONAL else right
        key = about[1] or next(word for word in example[1:] if word.startswith("mb:"))
        return _pattern(key, is_channel="channel" in words)

    return lack


def _by_rules(rules: AclRules) -> Lack:
    async def lack(right: str, example: tuple[str, ...]) -> str | None:
        if not rules.allows_command(example[0].lower() if right[0] == "(" else right):
            return None if right in OPTIONAL else right
        is_channel = right in ("publish", "subscribe")
        allows = rules.allows_channel if is_channel else rules.allows_key
        for word in example[1:]:
            if word.startswith("mb:") and not allows(word):
                return right if right[0] == "(" else _pattern(word, is_channel=is_channel)
        return None

    return lack


def _pattern(key: str, *, is_channel: bool) -> str:
    """The ACL pattern that a key or channel of ours needs."""
    prefix, brace, _ = key.partition("}:")
    return f"{'&' if is_channel else '~'}{f'{prefix}}}:*' if brace else key}"


async def _rules(examiner: Examiner, user: str) -> AclRules | Refusal:
    reply = await examiner.ask("ACL", "GETUSER", user)
    if isinstance(reply, Refusal):
        return reply
    if reply is None:
        return Refusal("there is no such user")
    facts = pairs(reply)
    if facts.get("selectors"):
        return Refusal(f"user {user} has selectors, which only ACL DRYRUN can judge")
    categories = {}
    for category in (*_CATEGORIES, *_MORE_CATEGORIES):
        listed = await examiner.ask("ACL", "CAT", category)
        if isinstance(listed, Refusal):
            if f"@{category}" in text(facts["commands"]):
                return listed
            continue
        categories[category] = frozenset(text(name) for name in listed)
    return AclRules(text(facts["commands"]), text(facts["keys"]), text(facts["channels"]), categories)
