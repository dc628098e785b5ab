"""A finding: one thing that the doctor says about a deployment.

Rule: a fact of one line, how bad it is, and what to do about it; whatever is not in order has a remedy. Pure
data, nothing here looks at anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity", "error", "fine", "warn"]


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """A guarantee is weaker than it could be, or something could not be looked at."""
    ERROR = "error"
    """A guarantee does not hold, or jobs are stuck."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the doctor says.

    Attributes:
        severity: How bad it is.
        check: What was looked at, such as `memory`.
        fact: What is so, in one line.
        remedy: What to do; empty where nothing is.
        subject: The queue or the server that it is about; empty where there is only one.
    """

    severity: Severity
    check: str
    fact: str
    remedy: str = ""
    subject: str = ""


def fine(check: str, fact: str, *, subject: str = "") -> Finding:
    """What is in order."""
    return Finding(Severity.OK, check, fact, "", subject)


def warn(check: str, fact: str, remedy: str, *, subject: str = "") -> Finding:
    """What should be better, or could not be seen."""
    return Finding(Severity.WARN, check, fact, remedy, subject)


def error(check: str, fact: str, remedy: str, *, subject: str = "") -> Finding:
    """What has to be mended."""
    return Finding(Severity.ERROR, check, fact, remedy, subject)
