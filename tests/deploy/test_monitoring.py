"""`deploy/monitoring`: alerts fire when they should, and ask for metrics and labels that somebody exports."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml
from tests.deploy.kit import DEPLOY, ROOT, check

from microbatch.console.exporter import EXPORTER_METRICS
from microbatch.worker.metrics import WORKER_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

MONITORING = DEPLOY / "monitoring"
DASHBOARD = MONITORING / "grafana" / "microbatch.json"
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
LABELS = {
    name: {label.strip() for label in labels.split(",")} - {""}
    for name, (labels, _) in {**WORKER_METRICS, **EXPORTER_METRICS}.items()
}
OTHERS = {"up": set[str](), "process_resident_memory_bytes": set[str]()}
"""Metrics of Prometheus itself, and of the process collector."""
OF_A_SCRAPE = {"job", "instance", "le"}

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on PATH, and PROMTOOL is not set (Debian: prometheus)"
)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, by where it stands."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            # As Grafana puts its variables in.
            text = target["expr"].replace("$__rate_interval", "5m").replace("$queue", ".*")
            yield f"{panel['title']} {target['refId']}", text


def metric_of(series: str) -> str:
    """The metric that a series belongs to: histograms have several."""
    for suffix in ("_bucket", "_sum", "_count"):
        if series.endswith(suffix) and series.removesuffix(suffix) in LABELS:
            return series.removesuffix(suffix)
    return series


EXPRESSIONS = dict(expressions())


@needs_promtool
def test_prometheus_takes_its_configuration_and_the_rules() -> None:
    assert PROMTOOL is not None
    check(PROMTOOL, "check", "config", MONITORING / "prometheus.yml")
    check(PROMTOOL, "check", "rules", "--lint-fatal", MONITORING / "alerts.yml")


@needs_promtool
def test_every_alert_fires_when_it_should_and_not_before() -> None:
    assert PROMTOOL is not None
    check(PROMTOOL, "test", "rules", MONITORING / "alerts_test.yml")


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    looks = [look for test in tests for look in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}

    assert {look["alertname"] for look in looks if look["exp_alerts"]} == names
    assert {look["alertname"] for look in looks if not look["exp_alerts"]} == names


def test_every_alert_has_a_severity_and_a_part_of_the_runbook() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    headings = re.findall(r"^### (Microbatch\w+)$", page, re.MULTILINE)

    assert headings == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_every_expression_is_promql_over_metrics_and_labels_that_exist(place: str) -> None:
    text = EXPRESSIONS[place]
    promql_parser.parse(text)
    known = LABELS | OTHERS

    asked = re.findall(r"\b((?:microbatch|process)_\w+|up)\b(?:\{([^}]*)\})?", text)
    assert asked
    for series, matchers in asked:
        assert metric_of(series) in known, f"nobody exports {series}"
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert labels <= known[metric_of(series)] | OF_A_SCRAPE
    grouped = {
        label.strip() for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", text) for label in group.split(",")
    }
    assert grouped <= set.union(*(known[metric_of(series)] for series, _ in asked)) | OF_A_SCRAPE


def test_every_metric_of_the_queues_and_of_the_workers_is_shown_or_alarmed_about() -> None:
    everything = " ".join(EXPRESSIONS.values())
    unused = {
        name for name in LABELS if not re.search(rf"\b{name}\b|\b{name}_(?:bucket|sum|count)\b", everything)
    }

    assert unused == {"microbatch_exporter_look_seconds", "microbatch_queue_running_jobs"}


def test_the_dashboard_s_panels_have_ids_titles_and_places_of_their_own() -> None:
    found = panels()

    assert len({panel["id"] for panel in found}) == len(found)
    assert len({panel["title"] for panel in found}) == len(found)
    places = [
        {(x, y) for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
        for p in (panel["gridPos"] for panel in found)
    ]
    assert sum(map(len, places)) == len(set().union(*places))
    assert max(x for place in places for x, _ in place) < 24
    for panel in found:
        assert panel["type"] == "row" or panel["description"]


def test_the_jobs_of_prometheus_are_those_that_alerts_and_panels_name() -> None:
    configured = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    named = {job for text in EXPRESSIONS.values() for job in re.findall(r'job="([^"]*)"', text)}

    assert named <= {each["job_name"] for each in configured}
