"""A run as a table for people. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.run.reckoning import quantile

if TYPE_CHECKING:
    from tests.chaos.run.arena import Arena
    from tests.chaos.run.reckoning import Reckoning

__all__ = ["table"]

SHOWN = 12


def table(arena: Arena, found: Reckoning) -> str:
    """What happened, and what is wrong."""
    verdict, happened, times = found.verdict, found.events, found.recovery_s
    faults = arena.nemeses.done
    on_links: Counter[str] = sum((link.happened for link in arena.links.values()), Counter())
    rows = [
        ("jobs accepted", verdict.accepted),
        ("submits without an answer", happened["unknown"]),
        ("... whose jobs ran all the same", len(verdict.recovered)),
        ("... whose jobs a failover undid", len(verdict.undone)),
        ("submits refused", happened["refused"]),
        ("... or told that another job has their key", happened["joined"]),
        ("jobs of ticks, and by run-now", found.ticks),
        ("redrives of dead letters", happened["redriven"]),
        ("what operators did", _counts(found.acts)),
        ("runs begun", happened["began"]),
        ("outcomes seen / announced", f"{happened['seen']} / {happened['told']}"),
        ("faults", f"{sum(faults.values())}, and {sum(arena.nemeses.missed.values())} came too late"),
        ("  by kind", _counts(faults)),
        ("  on the wire", _counts(on_links)),
        ("worker processes that ended", _counts(_ends(arena))),
        ("lost", len(verdict.lost)),
        ("duplicates", len(verdict.duplicated)),
        ("crossed", len(verdict.crossed)),
        ("overwritten", len(verdict.overwritten)),
        ("unexpected", len(verdict.unexpected)),
        ("wrong endings", len(verdict.wrong)),
        ("early / attempts repeated", f"{len(verdict.early)} / {len(verdict.repeated)}"),
        ("purged while they ran, or spared", len(verdict.purged)),
        ("two jobs with one unique key", len(verdict.rivals)),
        ("anything else that is odd", len(found.odd)),
        (
            "recovery of a dead worker's jobs",
            f"{len(times)} jobs, p50 {quantile(times, 0.5):.1f} s, p99 {quantile(times, 0.99):.1f} s",
        ),
    ]
    lines = [f"{name:44}{value}" for name, value in rows]
    for kind, sentences in [*verdict.violations.items(), ("odd", found.odd)]:
        lines += [f"{kind}: {sentence}" for sentence in sentences[:SHOWN]]
        if len(sentences) > SHOWN:
            lines.append(f"{kind}: and {len(sentences) - SHOWN} more")
    return "\n".join(lines)


def _ends(arena: Arena) -> Counter[str]:
    return Counter(
        f"{'+'.join(end.causes) or 'by itself'} {end.code}"
        for unit in arena.units.values()
        for end in unit.ends
        if unit.name.startswith("worker")
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"
