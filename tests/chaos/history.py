"""The judge of a chaos run: a pure function from what was seen to what was wrong.

It knows nothing of workers or Redis: whoever runs the chaos writes down what was accepted, every outcome that
anybody was told or read at any time, and what the records say in the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["History", "Outcome", "problems"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: its state, and its result or the type of its error."""

    state: str
    value: object


@dataclass(slots=True)
class History:
    """What happened to some jobs.

    Attributes:
        accepted: What each accepted job's result has to be.
        told: Every outcome that was announced, in order.
        read: Every outcome that was read from a record while the chaos went on.
        final: What the records say in the end.
    """

    accepted: dict[str, object] = field(default_factory=dict)
    told: list[tuple[str, Outcome]] = field(default_factory=list)
    read: list[tuple[str, Outcome]] = field(default_factory=list)
    final: dict[str, Outcome] = field(default_factory=dict)


def problems(history: History) -> list[str]:
    """What breaks the guarantees; empty where nothing does.

    lost: accepted, and without an outcome. invented: an outcome of a job that nobody submitted. duplicated:
    announced more than once. overwritten: seen with one outcome, and in the end there is another. crossed: a
    result that was made from another job's payload. failed: an error, although no processor raises one.
    """
    found = [f"lost: {job}" for job in history.accepted if job not in history.final]
    strangers = {job for job, _ in history.told} | {job for job, _ in history.read} | history.final.keys()
    found += [f"invented: {job}" for job in sorted(strangers - history.accepted.keys())]
    times = Counter(job for job, _ in history.told)
    found += [f"duplicated: {job} was announced {count} times" for job, count in times.items() if count > 1]
    for job, seen in history.told + history.read:
        if job in history.final and history.final[job] != seen:
            found.append(f"overwritten: {job} was {seen}, and is {history.final[job]}")
    for job, wanted in history.accepted.items():
        outcome = history.final.get(job)
        if outcome is None:
            continue
        if outcome.state != "succeeded":
            found.append(f"failed: {job} is {outcome}")
        elif outcome.value != wanted:
            found.append(f"crossed: {job} has {outcome.value!r}, and not {wanted!r}")
    return found
