"""What `deploy/` promises, checked without a Docker daemon, a cluster or a running systemd."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from microbatch.common.settings import ClientSettings, WorkerSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
DOCKERIGNORE = DEPLOY / "docker" / "Dockerfile.dockerignore"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
UNIT = DEPLOY / "systemd" / "microbatch-worker@.service"

DRAIN_TIMEOUT_S = float(WorkerSettings.model_fields["drain_timeout_s"].default)
TEARDOWN_MARGIN_S = 10
# Named in a comment: what Kubernetes would inject for a Service called `microbatch`.
SERVICE_LINK = "MICROBATCH_PORT"

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH (it comes with systemd)"
)
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def compose_service(name: str) -> Any:
    return load(COMPOSE)["services"][name]


def pod_spec() -> Any:
    return load(KUBERNETES / "deployment.yaml")["spec"]["template"]["spec"]


def unit_section(name: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    return parser[name]


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def check(*command: str | Path) -> None:
    """Run a validator; what it complains about is the failure message."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


# --- each file is valid for its tool -----------------------------------------------------


def test_the_compose_file_follows_the_compose_specification() -> None:
    check(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_hadolint_has_no_complaint_about_the_dockerfile() -> None:
    check(Path(sysconfig.get_path("scripts"), "hadolint"), DOCKERFILE)


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", ["configmap", "deployment", "secret.example"])
def test_kubernetes_knows_every_field_that_its_objects_use(name: str, version: str) -> None:
    kubernetes_validate.validate(load(KUBERNETES / f"{name}.yaml"), version, strict=True)


@needs_kubectl
def test_kubectl_builds_the_kustomization() -> None:
    check("kubectl", "kustomize", KUBERNETES)


@pytest.fixture
def installed_unit(tmp_path: Path) -> Path:
    """Return a copy of the unit whose executable exists: `verify` insists on that."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/microbatch/venv/bin/microbatch", sys.executable))
    return copy


@needs_systemd_analyze
def test_systemd_understands_every_line_of_the_unit(installed_unit: Path) -> None:
    check("systemd-analyze", "verify", "--recursive-errors=yes", installed_unit)


@needs_systemd_analyze
def test_systemd_rates_the_exposure_of_the_unit_at_most_two_of_ten(installed_unit: Path) -> None:
    check("systemd-analyze", "security", "--offline=true", "--threshold=20", installed_unit)


# --- the files agree with the project and with each other --------------------------------


def test_whoever_stops_a_worker_waits_longer_than_it_may_drain() -> None:
    compose_grace = compose_service("worker")["stop_grace_period"]
    assert compose_grace.endswith("s")
    grace_s = {
        "compose": float(compose_grace.removesuffix("s")),
        "kubernetes": float(pod_spec()["terminationGracePeriodSeconds"]),
        "systemd": float(unit_section("Service")["TimeoutStopSec"]),
    }
    assert min(grace_s.values()) >= DRAIN_TIMEOUT_S + TEARDOWN_MARGIN_S, grace_s
    configured = load(KUBERNETES / "configmap.yaml")["data"]["MICROBATCH_DRAIN_TIMEOUT_S"]
    assert float(configured) + TEARDOWN_MARGIN_S <= grace_s["kubernetes"]


def test_every_microbatch_variable_in_deploy_is_a_setting() -> None:
    known = {field.upper() for field in {*ClientSettings.model_fields, *WorkerSettings.model_fields}}
    used: dict[str, Path] = {}
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            used |= dict.fromkeys(re.findall(r"MICROBATCH_\w*[A-Za-z0-9]", path.read_text()), path)
    assert "MICROBATCH_REDIS_URL" in used
    used.pop(SERVICE_LINK, None)
    unknown = {
        name: path
        for name, path in used.items()
        if re.sub(r"^QUEUE__\w+?__", "", name.removeprefix("MICROBATCH_")) not in known
    }
    assert not unknown


def test_every_image_has_a_version() -> None:
    images = {
        *re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE),
        *(service["image"] for service in load(COMPOSE)["services"].values()),
        *(container["image"] for container in pod_spec()["containers"]),
    }
    unpinned = {image for image in images if not re.search(r":\d", image)}
    assert not unpinned


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


def test_containers_run_as_the_same_number_everywhere_and_never_as_root() -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE.read_text(), re.MULTILINE)[-1]
    context = pod_spec()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
    assert f"--uid {user} " in DOCKERFILE.read_text()
    assert int(user) >= 10_000


def test_the_compose_worker_runs_a_processor_that_exists() -> None:
    worker = compose_service("worker")
    mounts = dict(volume.split(":")[:2] for volume in worker["volumes"])
    (folder,) = (source for source, target in mounts.items() if target == worker["working_dir"])
    command, processor = worker["command"]
    assert command == "worker"
    module, attribute = processor.split(":")
    tree = ast.parse((COMPOSE.parent / folder / f"{module}.py").read_text())
    assert attribute in {getattr(node, "name", None) for node in tree.body}


def test_the_compose_server_runs_with_our_configuration_and_keeps_its_data() -> None:
    server = compose_service("redis")
    mounts = dict(volume.split(":")[:2] for volume in server["volumes"])
    assert mounts["../redis/redis.conf"] in server["command"]
    assert mounts["redis-data"] == "/data"
    assert compose_service("worker")["depends_on"]["redis"]["condition"] == "service_healthy"


def test_the_pods_meet_the_restricted_security_standard() -> None:
    pod = pod_spec()
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


def test_the_pods_read_objects_that_exist_and_the_secret_stays_out_of_the_kustomization() -> None:
    (container,) = pod_spec()["containers"]
    sources = {reference["name"] for source in container["envFrom"] for reference in source.values()}
    objects = [load(KUBERNETES / f"{name}.yaml") for name in ("configmap", "secret.example")]
    assert sources == {document["metadata"]["name"] for document in objects}
    kustomization = load(KUBERNETES / "kustomization.yaml")
    assert set(kustomization["resources"]) == {"configmap.yaml", "deployment.yaml"}
    assert {image["name"] for image in kustomization["images"]} == {container["image"].rpartition(":")[0]}


def test_systemd_restarts_a_crashed_worker_but_not_one_with_bad_settings() -> None:
    service = unit_section("Service")
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2"
    assert service["SuccessExitStatus"] == "75"
    assert unit_section("Unit")["StartLimitIntervalSec"] == "0"


def test_systemd_lets_the_worker_alone_drain() -> None:
    service = unit_section("Service")
    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")


def test_the_unit_and_its_environment_file_agree_on_the_name_of_the_processors() -> None:
    variable = unit_section("Service")["ExecStart"].rpartition(" ")[2]
    assert re.fullmatch(r"\$(?!MICROBATCH_)\w+", variable)
    example = (DEPLOY / "systemd" / "worker.env.example").read_text()
    assert re.search(rf'^{variable[1:]}="', example, re.MULTILINE)
