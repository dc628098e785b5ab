"""`deploy/systemd`: systemd understands the unit, rates it as hardened, and it agrees with the worker.

What the worker tells systemd is tried with a real worker in `test_notify.py`.
"""

from __future__ import annotations

import configparser
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from tests.deploy.kit import DEPLOY, check

from microbatch.common.settings import WorkerSettings
from microbatch.console.exits import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

UNIT = DEPLOY / "systemd" / "microbatch-worker@.service"
EXPORTER = DEPLOY / "systemd" / "microbatch-exporter.service"
EXAMPLE = DEPLOY / "systemd" / "worker.env.example"
TEARDOWN_MARGIN_S = 10

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH (Debian: systemd)"
)


def default_of(name: str) -> float:
    return float(WorkerSettings.model_fields[name].default)


def section(name: str, unit: Path = UNIT) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit.read_text())
    return parser[name]


@pytest.fixture(params=[UNIT, EXPORTER], ids=["worker", "exporter"])
def installed_unit(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a copy of a unit whose executable exists: `verify` insists on that."""
    unit: Path = request.param
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/microbatch/venv/bin/microbatch", sys.executable))
    return copy


@needs_systemd_analyze
def test_systemd_understands_every_line_of_the_unit(installed_unit: Path) -> None:
    check("systemd-analyze", "verify", "--recursive-errors=yes", installed_unit)


@needs_systemd_analyze
def test_systemd_rates_the_exposure_of_the_unit_at_most_two_of_ten(installed_unit: Path) -> None:
    check("systemd-analyze", "security", "--offline=true", "--threshold=20", installed_unit)


def test_a_worker_is_killed_later_than_it_may_drain() -> None:
    assert float(section("Service")["TimeoutStopSec"]) >= default_of("drain_timeout_s") + TEARDOWN_MARGIN_S


def test_systemd_restarts_a_crashed_worker_but_not_one_with_bad_settings() -> None:
    service = section("Service")
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(int(ExitCode.USAGE))
    assert service["SuccessExitStatus"] == str(int(ExitCode.HANDED_BACK))
    assert section("Unit")["StartLimitIntervalSec"] == "0"


def test_systemd_lets_the_worker_alone_drain() -> None:
    service = section("Service")
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")


def test_the_unit_and_its_environment_file_agree_on_the_name_of_the_processors() -> None:
    variable = section("Service")["ExecStart"].rpartition(" ")[2]
    assert re.fullmatch(r"\$(?!MICROBATCH_)\w+", variable)
    assert re.search(rf'^{variable[1:]}="', EXAMPLE.read_text(), re.MULTILINE)


def test_systemd_waits_for_the_worker_s_own_word_and_restarts_one_that_is_stuck_within_a_minute() -> None:
    service = section("Service")
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert 3 <= float(service["WatchdogSec"]) <= 60 - default_of("liveness_limit_s")


def test_the_exporter_is_hardened_as_the_worker_is_and_listens_where_prometheus_asks() -> None:
    def hardening(unit: Path) -> set[str]:
        text = unit.read_text().partition("DynamicUser=yes")[2].partition("[Install]")[0]
        return set(text.split("\n"))

    service = section("Service", EXPORTER)
    assert hardening(EXPORTER) == hardening(UNIT)
    assert "MICROBATCH_MONITORING_ADDRESS=0.0.0.0:9465" in EXPORTER.read_text()
    assert "microbatch-exporter" in (DEPLOY / "monitoring" / "prometheus.yml").read_text()
    assert service["LoadCredential"].startswith("MICROBATCH_REDIS_URL:")
    assert service["RestartPreventExitStatus"] == str(int(ExitCode.USAGE))


def test_the_password_comes_as_a_credential_that_is_named_like_its_setting() -> None:
    name, _, file = section("Service")["LoadCredential"].partition(":")
    assert name == "MICROBATCH_REDIS_URL"
    assert file == "/etc/microbatch/%i.redis-url"
    assert "redis://" not in EXAMPLE.read_text()
