"""deployments/ for containers and clusters: what no linter checks, and the Kubernetes Job of each deployment."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import kubernetes_validate
import pytest
import yaml
from command_reference import parse_command_line
from helpers.servers import Server, free_port, running
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from tasks.services import deployments as deploy

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments"
KUBERNETES = FOLDER / "kubernetes"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "prefect.yaml").read_text("utf-8"))["deployments"]
VALUES: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (KUBERNETES / "values").glob("*.yaml")
}
MANIFESTS: list[dict[str, Any]] = [
    one for path in sorted(KUBERNETES.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text("utf-8"))
]
TEMPLATE: dict[str, Any] = json.loads((KUBERNETES / "base-job-template.json").read_text("utf-8"))
SECRET, CONFIG_MAP = "ramreel", "ramreel"


def version(package: str) -> str:
    (found,) = re.findall(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    return str(found)


def image() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return f"ramreel:{project['version']}"


def nested(value: object, key: str) -> Iterator[Any]:
    """Yield the values of a key at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for one in value.values():
            yield from nested(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from nested(one, key)


def job(job_variables: dict[str, Any]) -> dict[str, Any]:
    """Return the Job that a Kubernetes worker would create for a flow run."""
    with temporary_settings({PREFECT_API_URL: "http://prefect-server:4200/api"}):
        configuration = asyncio.run(
            KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, job_variables)  # type: ignore[arg-type]
        )
        flow = Flow(id=uuid4(), name="train")
        run = FlowRun(id=uuid4(), flow_id=flow.id, name="Pong ppo-tuned 1", state=None)
        configuration.prepare_for_flow_run(run, flow=flow, worker_name="worker")
    return dict(configuration.job_manifest)


@pytest.mark.parametrize("declared", DEPLOYMENTS, ids=lambda one: one["name"])
def test_job_of_a_flow_run_is_valid(declared: dict[str, Any]) -> None:
    variables = declared["work_pool"]["job_variables"]
    manifest = job(variables)
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image()
    assert container["args"] == variables["command"].split()
    assert {"name": "PREFECT_API_URL", "value": "http://prefect-server:4200/api"} in container["env"]
    assert [one for one in container["env"] if one["name"] in variables["env"]] == [
        {"name": name, "value": value} for name, value in variables["env"].items()
    ]
    assert variables.keys() <= TEMPLATE["variables"]["properties"].keys()


def test_images_are_those_of_this_version() -> None:
    used = {*nested(MANIFESTS, "image"), TEMPLATE["variables"]["properties"]["image"]["default"]}
    assert used == {image()}
    assert COMPOSE["x-ramreel"]["image"] == image()
    assert f"--tag {image()} " in (FOLDER / "Dockerfile").read_text("utf-8")
    tags = {str(tag).split("-")[0] for tag in nested(list(VALUES.values()), "prefectTag")}
    assert tags == {version("prefect")}


def test_every_container_is_unprivileged_and_has_writable_files() -> None:
    pods = [*nested(MANIFESTS, "template"), job({})["spec"]["template"]]
    for pod in (one["spec"] for one in pods):
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"name": "TMPDIR", "value": "/var/lib/ramreel"} in container["env"]
            assert {"name": "home", "mountPath": "/var/lib/ramreel"} in container["volumeMounts"]


def test_secret_has_every_key_that_is_used() -> None:
    referenced = [*nested([MANIFESTS, TEMPLATE], "secretKeyRef")]
    assert {one["name"] for one in referenced} == {SECRET}
    assert set(nested([*VALUES.values()], "existingSecret")) == {SECRET}
    values = {"auth-string", *nested([*VALUES.values()], "connectionStringSecretKey")}
    page = (ROOT / "docs/machines.md").read_text("utf-8")
    assert values | {one["key"] for one in referenced} == set(re.findall(r"--from-literal=([\w-]+)=", page))
    maps = {one["metadata"]["name"] for one in MANIFESTS if one["kind"] == "ConfigMap"}
    assert {one["name"] for one in nested([MANIFESTS, TEMPLATE], "configMapRef")} == {CONFIG_MAP} < maps


def test_work_pool_is_that_of_the_deployments() -> None:
    assert VALUES["prefect-worker"]["worker"]["config"]["workPool"] == deploy.POOL


def test_compose_variables_are_those_of_the_example() -> None:
    text = (FOLDER / "compose.yaml").read_text("utf-8")
    example = re.findall(r"^(\w+)=", (FOLDER / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"\$\{(\w+)", text)) == set(example)
    required = set(re.findall(r"^(\w+)=(?:lab:)?$", (FOLDER / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+):\?", text)) == required - {"RAMREEL_NOTIFY"}


def test_commands_of_ramreel_exist() -> None:
    arguments = [*nested(COMPOSE, "command"), *nested(MANIFESTS, "args")]
    commands = [words[1:] for words in arguments if words[0] == "ramreel"]
    assert sorted(words[0] for words in commands) == ["deploy", "deploy", "worker", "worker"]
    for words in commands:
        parse_command_line(words)


def test_gallery_starts_and_asks_for_the_password(migrated: Path, tmp_path: Path) -> None:
    (manifest,) = [
        one for one in MANIFESTS if one["metadata"]["name"] == "ramreel-gallery" and one["kind"] != "Service"
    ]
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    commands = [COMPOSE["services"]["gallery"]["command"], container["args"]]
    for number, command in enumerate(commands):
        assert command[0] == "python" and {"--host=0.0.0.0", "--port=4300"} < {*command}
        port, folder = free_port(), tmp_path / str(number)
        folder.mkdir()
        shutil.copy(migrated, folder / "mlflow.db")
        environment = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "PREFECT_SERVER_API_AUTH_STRING": "lab:secret",
        }
        ours = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=4300": f"--port={port}"}
        arguments = [sys.executable, *(ours.get(one, one) for one in command[1:])]
        address = f"http://127.0.0.1:{port}"
        with running(Server(arguments, folder, address, "/health", environment | {"PYTHONPATH": str(ROOT)})):
            assert httpx.get(address, timeout=60).status_code == 401
            assert httpx.get(address, auth=("lab", "secret"), timeout=60).status_code == 200


def test_only_the_worker_queues_are_checked_for_health() -> None:
    health = "--line-regexp training /proc/"
    assert "training" in deploy.QUEUES
    assert health in (FOLDER / "Dockerfile").read_text("utf-8")
    assert health in (KUBERNETES / "worker.yaml").read_text("utf-8")
    inherited = {name for name, one in COMPOSE["services"].items() if "healthcheck" not in one}
    assert inherited == {"worker"}
