"""The report: findings as lines for people, or as one JSON value for machines.

Rule: one line per finding, its remedy on the next; what Redis said is shown escaped.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from microbatch.console.doctor.finding import Severity
from microbatch.console.terminal import counted, escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.console.doctor.finding import Finding

__all__ = ["as_json", "as_lines"]


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings for machines."""
    counts = Counter(finding.severity for finding in findings)
    return {
        "errors": counts[Severity.ERROR],
        "warnings": counts[Severity.WARN],
        "findings": [
            {
                "severity": str(finding.severity),
                "check": finding.check,
                "subject": finding.subject or None,
                "fact": finding.fact,
                "remedy": finding.remedy or None,
            }
            for finding in findings
        ],
    }


def as_lines(findings: Sequence[Finding]) -> list[str]:
    """Findings for people."""
    places = [f"{each.check} {each.subject}".strip() for each in findings]
    width = max(map(len, places), default=0)
    lines = []
    for place, finding in zip(places, findings, strict=True):
        lines.append(f"{finding.severity:5}  {escaped(place):{width}}  {escaped(finding.fact)}")
        if finding.remedy:
            lines.append(f"{'':5}  {'':{width}}  -> {escaped(finding.remedy)}")
    counts = Counter(finding.severity for finding in findings)
    lines.append(f"{counted(counts[Severity.ERROR], 'error')}, {counted(counts[Severity.WARN], 'warning')}")
    return lines
