"""How long a batch of n jobs takes: a + b * n, fitted to the runs of the whole fleet.

Rule: what is kept are five sums, so that the sums of several workers can be added, and older runs fade. Runs
that had to share what they need with another one do not count here: `Pace` judges those by this model.

Pure: it reads no clock and knows neither Redis nor a processor.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

__all__ = ["DurationModel", "RunSums"]

FADING = 0.98
"""What is left of the weight of a run after the next one: the last fifty or so count."""

_ENOUGH_RUNS = 5.0
_LEAST_SPREAD = 0.05
"""Of the mean size: below it the sizes are the same, and tell nothing about a job's share."""


@dataclass(frozen=True, slots=True)
class RunSums:
    """Weighted sums over runs: how many, their sizes and durations (in ms), squares and products."""

    runs: float = 0.0
    sizes: float = 0.0
    durations_ms: float = 0.0
    sizes_squared: float = 0.0
    products: float = 0.0

    @classmethod
    def of(cls, size: int, duration_ms: float) -> RunSums:
        """One run."""
        return cls(1.0, size, duration_ms, size * size, size * duration_ms)

    def plus(self, other: RunSums) -> RunSums:
        """Both together."""
        return RunSums(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def faded(self, factor: float) -> RunSums:
        """The same runs with less weight."""
        return RunSums(*(factor * value for value in astuple(self)))


@dataclass(frozen=True, slots=True)
class DurationModel:
    """A fitted a + b * n: what a call costs, and what each of its jobs adds, in milliseconds."""

    call_ms: float
    job_ms: float

    @classmethod
    def fitted(cls, sums: RunSums) -> DurationModel | None:
        """The least squares; None while too few runs are known.

        Where all runs had about the same size, or larger ones were not slower, all of it is the call's.
        """
        if sums.runs < _ENOUGH_RUNS:
            return None
        size, duration_ms = sums.sizes / sums.runs, sums.durations_ms / sums.runs
        variance = sums.sizes_squared / sums.runs - size * size
        job_ms = 0.0
        if variance > (_LEAST_SPREAD * size) ** 2:
            job_ms = (sums.products / sums.runs - size * duration_ms) / variance
        job_ms = min(max(0.0, job_ms), duration_ms / size)  # neither share is negative
        return cls(duration_ms - job_ms * size, job_ms)

    def duration_ms(self, size: float) -> float:
        """How long a batch of this size takes."""
        return self.call_ms + self.job_ms * size

    def most_jobs(self, limit_ms: float) -> int:
        """The largest batch that takes no longer; at least 1."""
        if self.job_ms <= 0:
            return 1 << 30
        return max(1, int((limit_ms - self.call_ms) / self.job_ms))
