"""A sweep over a shared store keeps its study there, so that another machine continues it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.postgresql import postgresql_server
from helpers.servers import mlflow_server, running

from flows.cli.app import run
from tasks.store import open_store

SWEEP = ["sweep", "ALE/Breakout-v5", "--approach", "a2c", "--parameters", "gamma", "--steps", "500", "--workers", "1"]
NAMED = [*SWEEP, "--name", "shared", "--json", "--quiet"]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server() as uri:
        yield uri


def sweep_on_two_machines(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """Train the first trial of a sweep on one machine and the second on another one; return the sweep's run."""
    results = []
    for number in (1, 2):
        home = folder / f"machine {number}"
        home.mkdir()
        monkeypatch.setenv("RAMREEL_HOME", str(home))
        assert run([*NAMED, "--trials", str(number)]) == 0, capfd.readouterr().err
        results.append(json.loads(capfd.readouterr().out.splitlines()[-1]))
    assert results[0]["run_id"] == results[1]["run_id"]
    assert [len(result["trials"]) for result in results] == [1, 2]
    return str(results[0]["run_id"])


def test_sweep_over_postgresql_continues_on_another_machine(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Without a server, MLflow's clients choose the place of artifacts: all machines see this one.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql)
    run_id = sweep_on_two_machines(tmp_path, monkeypatch, capfd)
    assert open_store(postgresql).run(run_id).kind == "sweep", "MLflow's tables are not disturbed"
    assert not list(tmp_path.rglob("optuna.db"))


def test_sweep_over_a_tracking_server_needs_a_named_database(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(mlflow_server(tmp_path / "server", migrated)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        assert run([*NAMED, "--trials", "1"]) == 2
        error = json.loads(capfd.readouterr().out)["error"]
        assert f"a sweep over {server.address} needs a database for its study: set RAMREEL_STUDY_DATABASE" in error

        monkeypatch.setenv("RAMREEL_STUDY_DATABASE", f"sqlite:///{tmp_path}/studies.db")
        sweep_on_two_machines(tmp_path, monkeypatch, capfd)


def test_unusable_database_of_a_study_is_invalid_input(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAMREEL_STUDY_DATABASE", "postgresql+psycopg2://me:secret@127.0.0.1:1/studies")
    assert run([*NAMED, "--trials", "1"]) == 2
    errors = capfd.readouterr()
    assert "cannot use the database of the sweep's study: connection to server" in errors.out
    assert "secret" not in errors.out + errors.err
