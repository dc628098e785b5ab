"""What the demo found out: from reports and rows to numbers, from numbers to text and JSON.

Rule: pure. A count that should be 0 is counted twice, from what the producers hold in their hands and from
what is in the database; it is never taken from what a component says about itself.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from microbatch.console.terminal import escaped, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from microbatch.console.demo.index import Found, Row
    from microbatch.console.demo.work import Outcome, Report

__all__ = ["PassSummary", "Summary", "percentile", "summarise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSummary:
    """One pass in numbers.

    Attributes:
        max_batch_size: The most jobs of a batch.
        jobs: How many were submitted.
        lost: Accepted, and then no answer in hand or no row in the database.
        duplicates: Rows beyond one per job, and rows that more than one result names.
        crossed: Results that belong to another job: by their words, their row's job or its docstring.
        failed: Not accepted, answered with an error, or not submitted at all.
        first_error: The first thing that went wrong; empty where nothing did.
        elapsed_s: From the signal to begin to the last result.
        jobs_per_s: Results by time.
        batches: How many transactions there were.
        mean_batch_size: Jobs per batch.
        closed_by: Share of the batches by the reason why they were closed.
        latency_p50_ms: Half of the results came within this time after the submit.
        latency_p99_ms: 99 % did.
    """

    max_batch_size: int
    jobs: int
    lost: int
    duplicates: int
    crossed: int
    failed: int
    first_error: str
    elapsed_s: float
    jobs_per_s: float
    batches: int
    mean_batch_size: float
    closed_by: Mapping[str, float]
    latency_p50_ms: float
    latency_p99_ms: float

    @property
    def ok(self) -> bool:
        """Whether every job has exactly its own result."""
        return not (self.lost or self.duplicates or self.crossed or self.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The whole demo.

    Attributes:
        batched: The pass in batches.
        single: The same work one at a time.
        query: What was searched.
        found: What the index answered.
        elapsed_s: From start to summary.
    """

    batched: PassSummary
    single: PassSummary
    query: str
    found: Found
    elapsed_s: float

    @property
    def ok(self) -> bool:
        """Whether both passes are."""
        return self.batched.ok and self.single.ok

    @property
    def ratio(self) -> float:
        """How many times as fast the work is done in batches."""
        return self.batched.jobs_per_s / self.single.jobs_per_s if self.single.jobs_per_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, "ratio": round(self.ratio, 2), **asdict(self)}

    def as_text(self) -> str:
        """For people."""
        columns = (_column(self.batched), _column(self.single))
        rows = [(label, *(column[label] for column in columns)) for label in columns[0]]
        parts = [
            _aligned(table(("", "in batches", "one at a time"), rows)),
            "Latency is from submit to result, with several hundred jobs in flight.",
            f"In batches the work was done {self.ratio:.1f} times as fast{self._sample()}.",
            *self._errors(),
            _search_text(self.query, self.found),
        ]
        return "\n\n".join(parts)

    def _sample(self) -> str:
        if self.single.jobs == self.batched.jobs:
            return ""
        return f" (jobs per second; one at a time an even sample of {self.single.jobs:,} was done)"

    def _errors(self) -> list[str]:
        errors = [one.first_error for one in (self.batched, self.single)]
        return [f"First error: {escaped(error)}" for error in errors if error]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed; 0 without values."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def summarise(
    reports: Iterable[Report],
    *,
    names: Sequence[str],
    rows: Iterable[Row],
    batches: Sequence[tuple[int, str]],
    max_batch_size: int,
) -> PassSummary:
    """Compare what the producers got with what the database holds.

    Args:
        reports: Of all producers.
        names: The docstrings' names, by number.
        rows: All rows of the database.
        batches: Size and reason of each batch.
        max_batch_size: Of the pass.
    """
    reports, rows = list(reports), list(rows)
    outcomes = [outcome for report in reports for outcome in report.outcomes]
    results = [outcome for outcome in outcomes if outcome.ending == "result"]
    stored = {row.job_id: row for row in rows}
    reasons = Counter(reason for _, reason in batches)
    elapsed_s = max((report.elapsed_s for report in reports), default=0.0)
    latencies_ms = [outcome.latency_ms for outcome in results]
    return PassSummary(
        max_batch_size=max_batch_size,
        jobs=len(outcomes),
        lost=sum(
            outcome.ending == "silent" or (outcome.ending == "result" and outcome.job_id not in stored)
            for outcome in outcomes
        ),
        duplicates=_repeated(row.job_id for row in rows) + _repeated(outcome.row for outcome in results),
        crossed=sum(_is_crossed(outcome, stored.get(outcome.job_id), names) for outcome in results),
        failed=sum(outcome.ending in {"failed", "refused"} for outcome in outcomes)
        + len(names)
        - len(outcomes),
        first_error=next((outcome.error for outcome in outcomes if outcome.error), ""),
        elapsed_s=round(elapsed_s, 3),
        jobs_per_s=round(len(results) / elapsed_s, 1) if elapsed_s else 0.0,
        batches=len(batches),
        mean_batch_size=round(sum(size for size, _ in batches) / len(batches), 1) if batches else 0.0,
        closed_by={reason: round(count / len(batches), 4) for reason, count in sorted(reasons.items())},
        latency_p50_ms=percentile(latencies_ms, 50),
        latency_p99_ms=percentile(latencies_ms, 99),
    )


def _is_crossed(outcome: Outcome, stored: Row | None, names: Sequence[str]) -> bool:
    if not outcome.tokens_match:
        return True
    return stored is not None and (stored.row, stored.name) != (outcome.row, names[outcome.number])


def _repeated(values: Iterable[object]) -> int:
    return sum(count - 1 for count in Counter(values).values())


def _column(one: PassSummary) -> dict[str, str]:
    closed_by = ", ".join(f"{share:.0%} {reason}" for reason, share in one.closed_by.items())
    return {
        "jobs": f"{one.jobs:,}",
        "lost": f"{one.lost:,}",
        "duplicates": f"{one.duplicates:,}",
        "crossed results": f"{one.crossed:,}",
        "failed": f"{one.failed:,}",
        "jobs per second": f"{one.jobs_per_s:,.0f}",
        "batches": f"{one.batches:,}",
        "mean batch size": f"{one.mean_batch_size:.1f}",
        "closed by": closed_by,
        "latency p50": f"{one.latency_p50_ms:,.1f} ms",
        "latency p99": f"{one.latency_p99_ms:,.1f} ms",
        "time": f"{one.elapsed_s:.1f} s",
    }


def _search_text(query: str, found: Found) -> str:
    if not found.hits:
        return f"No docstring in the index has all the words of {escaped(query)!r}."
    lines = [f"The index answers {escaped(query)!r}: {found.total:,} docstrings, the best of them:"]
    for hit in found.hits:
        snippet = escaped(" ".join(hit.snippet.split()))
        lines += [f"  {escaped(hit.name)}", f"      {snippet}"]
    return "\n".join(lines)


def _aligned(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
