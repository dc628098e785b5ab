"""The part of the table of `test_replay` that is about operators: what they hold up, purge and limit."""

from __future__ import annotations

from tests.conformance import replay_stages as stages
from tests.conformance.replay_table import Late, Row

__all__ = ["CONTROL_ROWS"]

CONTROL_ROWS = [
    Row(
        "hold",
        stages.to_pause,
        ("me@here", None),
        ("me@here", None),
        {"after it was resumed": Late(stages.resume, ("me@here", None), "it is paused again")},
        lambda gate: (gate.paused and gate.paused.who, gate.draining and gate.draining.who),
    ),
    Row(
        "hold",
        stages.to_drain,
        "me@here",
        "me@here",
        {"after it was resumed": Late(stages.resume, "me@here", "it drains again")},
        lambda gate: gate.draining and gate.draining.who,
    ),
    Row(
        "purge",
        stages.to_purge_jobs,
        1,
        0,
        {
            "after another job came": Late(stages.submit_another, 1, "that job is cancelled too"),
            "delayed, while the job runs": Late(lambda bench: bench.take("b1"), 0, delayed=True),
        },
        lambda purged: purged.cancelled,
    ),
    Row(
        "limit",
        stages.to_limit,
        1,
        1,
        {"after it was taken away": Late(stages.unlimit, 1, "the limit holds again")},
    ),
]
