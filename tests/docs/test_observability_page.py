"""The tables of docs/observability.md: written from the code, and compared with it.

Rule: the code is the truth; `python -m tests.docs.test_observability_page` writes the tables anew.
"""

import re
from pathlib import Path

from tests.docs.generated_tables import assert_each_row_counts

from microbatch.common.log_events import LOG_EVENTS
from microbatch.console.exporter import EXPORTER_METRICS
from microbatch.worker.metrics import WORKER_METRICS

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"


def metrics_table(metrics: dict[str, tuple[str, str]]) -> str:
    lines = ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|"]
    for name, (labels, meaning) in metrics.items():
        shown = ", ".join(f"`{label}`" for label in labels.split(", ") if label)
        lines.append(f"| `{name}` | {kind(name)} | {shown} | {meaning} |")
    return "\n".join(lines)


def events_table() -> str:
    rows: dict[str, tuple[str, str]] = {}
    for event in LOG_EVENTS.values():
        rows.setdefault(event.name, (", ".join(f"`{field}`" for field in event.fields), event.meaning))
    lines = [f"| `{name}` | {fields} | {meaning} |" for name, (fields, meaning) in sorted(rows.items())]
    return "\n".join(["| Event | Facts | Meaning |", "|---|---|---|", *lines])


def kind(name: str) -> str:
    if name.endswith("_total"):
        return "counter"
    histograms = (
        "_batch_size_jobs",
        "_ratio",
        "_wait_seconds",
        "_run_seconds",
        "_settle_seconds",
        "_latency_seconds",
    )
    return "histogram" if name.endswith(histograms) else "info" if name.endswith("_info") else "gauge"


def page_with_tables(page: str) -> str:
    tables = (
        ("worker metrics", metrics_table(WORKER_METRICS)),
        ("exporter metrics", metrics_table(EXPORTER_METRICS)),
        ("log events", events_table()),
    )
    for label, table in tables:
        found = re.search(rf"(?<=<!-- {label}: )(.*?-->\n).*?(?=<!-- end of {label} -->)", page, re.DOTALL)
        assert found, f"docs/observability.md lost its markers for {label}"
        page = f"{page[: found.end(1)]}\n{table}\n\n{page[found.end() :]}"
    return page


def test_the_tables_on_the_page_say_what_the_code_says() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == page_with_tables(page), "run: python -m tests.docs.test_observability_page"


def test_every_query_on_the_page_asks_for_metrics_that_there_are() -> None:
    queries = re.findall(r"microbatch_[a-z_]+", PAGE.read_text(encoding="utf-8"))
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in queries}

    assert {name for name in bases if name not in {*WORKER_METRICS, *EXPORTER_METRICS}} == set()


def test_a_row_that_is_missing_or_made_up_is_noticed() -> None:
    assert_each_row_counts(PAGE.read_text(encoding="utf-8"), page_with_tables)


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
