"""The wheel holds everything that ramreel reads: installed alone, it trains, records and runs `ramreel up`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers.processes import ROOT, Command, wait_until
from helpers.servers import free_port
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import TERMINAL_STATES

from tasks.services import deployments as deploy

READY = "Press Ctrl-C to stop."


class Distribution(NamedTuple):
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """The wheel and the source distribution of this tree."""
    return build(ROOT, tmp_path_factory.mktemp("built"))


def build(source: Path, folder: Path) -> Distribution:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=source, check=True)
    return Distribution(*folder.glob("*.whl"), *folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def installed(built: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `ramreel` command of an environment into which only the wheel and its dependencies are installed."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin/python"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", built.wheel], check=True)
    # The dependencies are those of this environment. Its own .pth files, one of which adds this tree, are not read.
    packages = sysconfig.get_path("purelib", vars={"base": folder})
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin/ramreel"


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "RAMREEL_", "PYTHON"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))


def names(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_wheel_holds_all_files_of_the_packages_and_what_is_registered(built: Distribution, tmp_path: Path) -> None:
    packages = [path for room in ("flows", "tasks") for path in (ROOT / room).rglob("*")]
    files = {path.relative_to(ROOT).as_posix() for path in packages if path.is_file() and path.suffix != ".pyc"}
    assert names(built.wheel) == files | {
        f"deployments/{name}" for name in ("prefect.yaml", "automations.yaml", "ramreel.service")
    }

    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    assert names(build(tree, tmp_path / "built").wheel) == names(built.wheel)


def test_installed_command_has_the_version(installed: Path, tmp_path: Path) -> None:
    completed = subprocess.run([installed, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert completed.stdout == f"ramreel {version('ramreel')}\n"


def test_commit_is_not_that_of_the_repository_around_the_environment(installed: Path) -> None:
    repository = installed.parents[1]
    git = ["git", "-C", repository, "-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "Another project"], check=True)
    script = "from tasks.execution.provenance import commit; print(commit())"
    python = [installed.with_name("python"), "-c", script]
    completed = subprocess.run(python, cwd=repository, capture_output=True, text=True, check=True)
    assert completed.stdout == "None\n"


def test_installed_command_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()

    def ramreel(*arguments: str) -> None:
        completed = subprocess.run([installed, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert completed.returncode == 0, completed.stderr

    ramreel("train", "ALE/Breakout-v5", "--approach", "ppo", "--steps", "256", "--workers", "1", "--n-envs", "1")
    ramreel("record", "latest", "--episodes", "1")
    assert [path.name for path in folder.iterdir()] == ["mlruns"]
    assert list(folder.rglob("*.mp4"))

    prefect, mlflow, gallery = free_port(), free_port(), free_port()
    ports = ["--prefect-port", str(prefect), "--mlflow-port", str(mlflow), "--gallery-port", str(gallery)]
    unset = {"RAMREEL_HOME": ""}
    up = Command(["up", *ports], folder, unset, program=[installed], folder=folder)
    try:
        assert wait_until(lambda: up.exited or READY in up.output()[0], every=0.2)
        assert not up.exited, up.output()
        with SyncPrefectClient(f"http://127.0.0.1:{prefect}/api") as client:
            run = client.create_flow_run_from_deployment(deploy.deployments(client)["guard"].id)
            assert wait_until(lambda: client.read_flow_run(run.id).state_type in TERMINAL_STATES, every=0.5)
            assert client.read_flow_run(run.id).state_name == "Completed"
        for address in (f"http://127.0.0.1:{mlflow}/health", f"http://127.0.0.1:{gallery}/static/base.css"):
            with urllib.request.urlopen(address) as response:
                assert response.status == 200
    finally:
        up.end()
    assert [path.name for path in folder.iterdir()] == ["mlruns"]
