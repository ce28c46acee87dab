"""What the files of `deploy/` say to each other holds together: names, ports, secrets, and times that end in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from redisflow.durations import to_ms

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GRACE_MS = 25_000
"""What the workers are given; each of the three ways must wait longer before it kills them."""
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def test_everybody_waits_longer_than_the_grace_period(compose: dict[str, Any], manifests: dict[Any, dict[str, Any]]):
    pod = manifests["worker", "Deployment"]["spec"]["template"]["spec"]
    unit = (DEPLOY / "systemd" / "redisflow-worker.service").read_text()
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    waits = [
        to_ms(compose["services"]["worker"]["stop_grace_period"]),
        pod["terminationGracePeriodSeconds"] * 1000,
        int(stop_s) * 1000,
    ]
    assert all(wait >= GRACE_MS + 10_000 for wait in waits)


def test_only_the_dashboard_is_reached_from_outside_and_on_loopback(compose: dict[str, Any]):
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert ports == {"dashboard": ["127.0.0.1:8899:8899"]}


def test_each_secret_of_compose_is_declared_and_used(compose: dict[str, Any]):
    used = {secret for service in compose["services"].values() for secret in service.get("secrets", [])}
    assert used == set(compose["secrets"])


def test_what_comes_from_secrets_in_kubernetes_is_in_the_example(manifests: dict[Any, dict[str, Any]]):
    secret = manifests["secret.example", "Secret"]
    for name in ("worker", "dashboard"):
        (container,) = manifests[name, "Deployment"]["spec"]["template"]["spec"]["containers"]
        references = [each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each]
        assert references
        assert all(each["name"] == secret["metadata"]["name"] for each in references)
        assert all(each["key"] in secret["stringData"] for each in references)


def test_selectors_meet_the_pods_that_they_mean(manifests: dict[Any, dict[str, Any]]):
    for name in ("worker", "dashboard"):
        deployment = manifests[name, "Deployment"]["spec"]
        assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    labels = manifests["worker", "Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["worker", "PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["dashboard", "Service"]["spec"]["selector"] == {"app": "redisflow-dashboard"}
    for scaled in ("keda-prometheus", "keda-stream"):
        target = manifests[scaled, "ScaledObject"]["spec"]["scaleTargetRef"]["name"]
        assert target == manifests["worker", "Deployment"]["metadata"]["name"]


def test_probes_ask_the_port_that_the_worker_listens_on(manifests: dict[Any, dict[str, Any]]):
    (container,) = manifests["worker", "Deployment"]["spec"]["template"]["spec"]["containers"]
    port = container["args"][container["args"].index("--http") + 1].rpartition(":")[2]
    assert [str(each["containerPort"]) for each in container["ports"]] == [port]
    probes = [container[kind]["httpGet"] for kind in ("livenessProbe", "readinessProbe")]
    assert probes == [{"path": "/healthz", "port": "http"}, {"path": "/readyz", "port": "http"}]


def test_nobody_runs_as_root_or_writes_to_the_image(compose: dict[str, Any], manifests: dict[Any, dict[str, Any]]):
    for name in ("worker", "dashboard"):
        pod = manifests[name, "Deployment"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert compose["services"][name]["read_only"]
        assert compose["services"][name]["cap_drop"] == ["ALL"]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of the image's two stages."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for instruction, _, rest in lines:
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest))
    return found


def test_the_image_has_what_was_installed_and_nothing_that_installs():
    build, last = stages()
    (install,) = [rest for instruction, rest in build if "pip install" in rest]
    (extras,) = re.findall(r"redisflow\[([\w,]+)\]", install)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(known)
    assert {"cli", "dashboard", "fast", "prometheus"} <= set(extras.split(","))
    assert not [rest for _, rest in last if "pip install" in rest]
    assert ("COPY", "--from=build /venv /venv") in last


def test_the_image_s_program_is_not_root_s():
    _, last = stages()
    instructions = [instruction for instruction, _ in last]
    assert int(dict(last)["USER"]) > 0
    assert instructions.index("USER") < instructions.index("ENTRYPOINT")


def test_the_image_is_built_from_what_is_not_ignored():
    copied = {
        source
        for stage in stages()
        for instruction, rest in stage
        if instruction == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert (ROOT / "deploy" / "entrypoint.sh").exists()


def test_no_registry_is_named():
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            hosts = re.findall(r"https?://([\w.-]+)", path.read_text())
            assert set(hosts) <= {"127.0.0.1", "prometheus.monitoring"}, path


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_are_what_systemd_understands(unit: Path, tmp_path: Path):
    program = tmp_path / "redisflow"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = unit.read_text()
    assert "\nUser=shop\n" in text
    assert "\nRestart=always\n" in text
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/shop/.venv/bin/redisflow", str(program)))
    if shutil.which("systemd-analyze") is None:
        assert re.findall(r"^\[(\w+)\]$", text, re.MULTILINE) == ["Unit", "Service", "Install"]
        return
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert said == []
    assert done.returncode == 0, done.stderr


def test_a_stop_reaches_the_first_process_alone():
    assert "\nKillMode=mixed\n" in (DEPLOY / "systemd" / "redisflow-worker.service").read_text()
