"""`deploy/kubernetes`, checked without a cluster: objects by their schemas, and what they promise each other.

Objects are read as files where that says enough, and as kustomize builds them where kubectl is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import promql_parser
import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.deploy.kit import DEPLOY, ROOT

from microbatch.common.keys import GROUP, QueueKeys
from microbatch.common.settings import WorkerSettings
from microbatch.console.exporter import EXPORTER_METRICS
from microbatch.console.main import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KUBERNETES = DEPLOY / "kubernetes"
TEARDOWN_MARGIN_S = 10
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())
BUILDS = ("base", "overlays/development", "overlays/production")
FILES = sorted(
    path.relative_to(KUBERNETES).as_posix()
    for path in KUBERNETES.rglob("*.yaml")
    if path.name not in {"kustomization.yaml", "replicas.yaml", "worker.yaml"}
)
VERSIONS = ("1.30", kubernetes_validate.latest_version())
KEDA = Draft202012Validator(yaml.safe_load((ROOT / "tests" / "deploy" / "schemas" / "keda.json").read_text()))

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not on PATH (neither PyPI nor Debian has it)"
)


def documents(text: str) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(text):
        if document:
            yield document


def objects_of(name: str) -> list[dict[str, Any]]:
    return list(documents((KUBERNETES / name).read_text()))


@cache
def built(folder: Path) -> tuple[dict[str, Any], ...]:
    """What kustomize makes of a folder; once, because it is slow."""
    kubectl = shutil.which("kubectl") or ""
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(documents(done.stdout))


def validate(document: dict[str, Any]) -> None:
    if document["apiVersion"].startswith("keda.sh/"):
        assert [error.message for error in KEDA.iter_errors(document)] == []
        return
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


def of_kind(found: tuple[dict[str, Any], ...] | list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in found if each["kind"] == kind]


def worker_pod() -> Any:
    (deployment,) = objects_of("base/deployment.yaml")
    return deployment["spec"]["template"]["spec"]


def pods() -> Iterator[tuple[str, Any]]:
    for name in FILES:
        for deployment in of_kind(objects_of(name), "Deployment"):
            yield name, deployment["spec"]["template"]["spec"]


def settings() -> dict[str, str]:
    (configmap,) = objects_of("base/configmap.yaml")
    found: dict[str, str] = configmap["data"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_object_follows_its_schema(name: str) -> None:
    for document in objects_of(name):
        validate(document)


def test_the_schemas_find_what_is_misspelt() -> None:
    (scaled,) = objects_of("components/keda/scaledobject.yaml")
    scaled["spec"]["maxReplicas"] = 3
    assert [error.message for error in KEDA.iter_errors(scaled)] != []
    (deployment,) = objects_of("base/deployment.yaml")
    deployment["spec"]["replicaz"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment)


@needs_kubectl
@pytest.mark.parametrize("name", BUILDS)
def test_kustomize_builds_objects_that_follow_their_schemas(name: str) -> None:
    found = built(KUBERNETES / name)

    for document in found:
        validate(document)
    names = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert len(names) == len(set(names))


@needs_kubectl
@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_goes_with_the_base_and_an_autoscaler_owns_the_number_of_workers(
    component: str, tmp_path: Path
) -> None:
    paths = (
        os.path.relpath(KUBERNETES / part, tmp_path.resolve()) for part in ("base", f"components/{component}")
    )
    base, part = paths
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{base}]\ncomponents: [{part}]\n")

    found = built(tmp_path)

    for document in found:
        validate(document)
    (worker,) = (
        each for each in of_kind(found, "Deployment") if each["metadata"]["name"] == "microbatch-worker"
    )
    scalers = [*of_kind(found, "ScaledObject"), *of_kind(found, "HorizontalPodAutoscaler")]
    assert [each["spec"]["scaleTargetRef"]["name"] for each in scalers] == ["microbatch-worker"] * len(
        scalers
    )
    assert ("replicas" in worker["spec"]) == (not scalers)


@needs_kubectl
def test_the_development_workers_mount_the_secret_that_is_generated() -> None:
    found = built(KUBERNETES / "overlays/development")
    (secret,) = of_kind(found, "Secret")
    (worker,) = (
        each for each in of_kind(found, "Deployment") if each["metadata"]["name"] == "microbatch-worker"
    )
    volumes = worker["spec"]["template"]["spec"]["volumes"]
    assert secret["metadata"]["name"] in {volume.get("secret", {}).get("secretName") for volume in volumes}


def test_kubernetes_waits_longer_than_a_worker_may_drain() -> None:
    grace_s = float(worker_pod()["terminationGracePeriodSeconds"])
    default_s = float(WorkerSettings.model_fields["drain_timeout_s"].default)
    assert max(default_s, float(settings()["MICROBATCH_DRAIN_TIMEOUT_S"])) + TEARDOWN_MARGIN_S <= grace_s


def test_probes_ask_the_pages_of_the_worker_at_the_port_that_it_listens_at() -> None:
    (container,) = worker_pod()["containers"]
    (port,) = container["ports"]
    host, _, number = settings()["MICROBATCH_MONITORING_ADDRESS"].rpartition(":")
    assert (host, int(number)) == ("0.0.0.0", port["containerPort"])  # noqa: S104 - of the pod
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: get["path"] for name, get in asked.items()} == {
        "startup": "/startupz",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {port["name"]}
    (policy,) = objects_of("base/networkpolicy.yaml")
    assert [each["port"] for rule in policy["spec"]["ingress"] for each in rule["ports"]] == [port["name"]]


def test_a_wedged_worker_is_restarted_within_half_a_minute() -> None:
    (container,) = worker_pod()["containers"]
    probe = container["livenessProbe"]
    stuck_s = float(settings()["MICROBATCH_LIVENESS_LIMIT_S"])
    assert stuck_s + probe["periodSeconds"] * probe["failureThreshold"] <= 30


def test_every_pod_meets_the_restricted_security_standard_and_runs_as_the_image_does() -> None:
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text()
    for name, pod in pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }, name
        assert "memory" in container["resources"]["limits"], name
        if "valkey" not in name:
            assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile
            assert container["args"][0] in COMMANDS


def test_pods_read_the_objects_that_are_there_and_the_secret_is_of_your_making() -> None:
    (container,) = worker_pod()["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "microbatch-worker"}}]
    (example,) = objects_of("base/secret.example.yaml")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (volume,) = (each for each in worker_pod()["volumes"] if "secret" in each)
    assert volume["secret"]["secretName"] == example["metadata"]["name"]
    assert mounts[volume["name"]] == settings()["MICROBATCH_SECRETS_DIR"]
    assert mounts[volume["name"]] in example["stringData"]["MICROBATCH_REDIS_URL"]
    assert "secret.example.yaml" not in (KUBERNETES / "base" / "kustomization.yaml").read_text().split()


def test_every_selector_finds_the_pods_that_it_is_about() -> None:
    (deployment,) = objects_of("base/deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    (budget,) = objects_of("base/poddisruptionbudget.yaml")
    (policy,) = objects_of("base/networkpolicy.yaml")
    selectors = [deployment["spec"]["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"]]
    selectors += [spread["labelSelector"] for spread in worker_pod()["topologySpreadConstraints"]]
    assert len(selectors) == 5
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels


def test_keda_looks_at_the_stream_and_the_group_of_the_queue_by_lag_and_by_pending_from_zero() -> None:
    (scaled,) = objects_of("components/keda/scaledobject.yaml")
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert {trigger["stream"] for trigger in triggers} == {QueueKeys("embed").lane("main")}
    assert {trigger["consumerGroup"] for trigger in triggers} == {GROUP}
    assert ["lagCount" in trigger for trigger in triggers] == [True, False]
    assert triggers[0]["activationLagCount"] == "0"
    assert scaled["spec"]["minReplicaCount"] == 0
    (authentication,) = objects_of("components/keda/triggerauthentication.yaml")
    names = {trigger["authenticationRef"]["name"] for trigger in scaled["spec"]["triggers"]}
    assert names == {authentication["metadata"]["name"]}


def test_autoscalers_ask_for_metrics_of_the_exporter_and_take_workers_away_slower_than_they_drain() -> None:
    (by_prometheus,) = objects_of("components/keda-prometheus/scaledobject.yaml")
    for trigger in by_prometheus["spec"]["triggers"]:
        query = trigger["metadata"]["query"]
        promql_parser.parse(query)
        assert any(f"{name}{{" in query for name in EXPORTER_METRICS)
    (hpa,) = objects_of("components/hpa/horizontalpodautoscaler.yaml")
    assert hpa["spec"]["metrics"][0]["external"]["metric"]["name"] in EXPORTER_METRICS
    (by_redis,) = objects_of("components/keda/scaledobject.yaml")
    drain_s = worker_pod()["terminationGracePeriodSeconds"]
    configured = [
        each["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        for each in (by_prometheus, by_redis)
    ]
    for behavior in [*configured, hpa["spec"]["behavior"]]:
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] > drain_s
        assert behavior["scaleDown"]["policies"][0]["periodSeconds"] > drain_s
    assert {each["spec"]["cooldownPeriod"] > drain_s for each in (by_prometheus, by_redis)} == {True}
