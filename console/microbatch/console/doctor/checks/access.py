"""The rights of the user: may it send everything that our code sends, in each role?

Rule: what cannot be found out is said to be unknown, never taken for granted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_access"]

CHECK: Final = "access"


def check_access(facts: Facts) -> Iterator[Finding]:
    """Each role that the user has to be able to play."""
    access = facts.access
    if not access.method:
        who = f"user {access.user}" if access.user else "this user"
        yield warn(
            CHECK,
            f"cannot tell what {who} may do: {access.refusal}",
            "run the doctor as an administrator, with --user naming the user that the programs have",
        )
        return
    for role in facts.roles:
        missing = access.missing.get(role, ())
        if missing:
            yield error(
                CHECK,
                f"user {access.user} cannot act as {role}: lacks {', '.join(missing)}",
                f"ACL SETUSER {access.user} {' '.join(map(_rule, missing))}; or name only the roles that it "
                "has, with --role",
            )
        else:
            yield fine(CHECK, f"user {access.user} can act as {role} (by {access.method})")


def _rule(lack: str) -> str:
    """The ACL rule that grants it."""
    return lack if lack[0] in "~&(" else f"+{lack}"
