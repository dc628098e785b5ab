"""ACL rules, read as Redis reads them: what does `ACL GETUSER` say about one command?

Rule: pure. Used only where `ACL DRYRUN`, which asks Redis itself, is not allowed; a user with selectors is
not judged, because several sets of rules stand side by side there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AclRules"]


@dataclass(frozen=True, slots=True)
class AclRules:
    """The rules of one user.

    Attributes:
        commands: Such as `-@all +get +xgroup|create`; the last rule that fits decides.
        keys: Such as `~mb:{q}:* %R~other`.
        channels: Such as `&mb:{q}:*`.
        categories: By category (without `@`), the commands in it.
    """

    commands: str
    keys: str
    channels: str
    categories: Mapping[str, frozenset[str]]

    def allows_command(self, right: str) -> bool:
        """Whether `xack` or `xgroup|create` may be sent."""
        allowed = False
        parent = right.partition("|")[0]
        for rule in self.commands.split():
            sign, name = rule[0], rule[1:].lower()
            if name.startswith("@"):
                category = name[1:]
                members = self.categories.get(category, frozenset())
                fits = category == "all" or right in members or parent in members
            else:
                fits = name in (right, parent)
            if fits:
                allowed = sign == "+"
        return allowed

    def allows_key(self, key: str) -> bool:
        """Whether a key may be read and written."""
        return any(
            _glob(pattern).fullmatch(key) is not None
            for pattern in (_key_pattern(rule) for rule in self.keys.split())
            if pattern is not None
        )

    def allows_channel(self, channel: str) -> bool:
        """Whether a channel may be used."""
        return any(_glob(rule[1:]).fullmatch(channel) is not None for rule in self.channels.split())


def _key_pattern(rule: str) -> str | None:
    """The pattern of a rule that lets read and write."""
    if rule.startswith("~"):
        return rule[1:]
    rights, tilde, pattern = rule.partition("~")
    return pattern if tilde and {"R", "W"} <= set(rights.upper()) else None


@lru_cache(maxsize=256)
def _glob(pattern: str) -> re.Pattern[str]:
    """Redis's glob as a regular expression: `*`, `?`, `[...]` and backslashes."""
    parts = []
    for star, one, group, escaped, plain in re.findall(
        r"(\*+)|(\?)|(\[\^?[^\]]*\])|\\(.)|(.)", pattern, re.DOTALL
    ):
        if star:
            parts.append(".*")
        elif one:
            parts.append(".")
        elif group:
            parts.append(group)
        else:
            parts.append(re.escape(escaped or plain))
    return re.compile("".join(parts), re.DOTALL)
