"""A server that goes away during a training, and comes back: training goes on, nothing is lost, the end is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.evidence import histories
from helpers.processes import started, wait_until
from helpers.scale import takes_minutes
from helpers.servers import Server, mlflow_server, prefect_server, running

from flows.train import resume, train
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings
from tasks.arcade.progress import Progress
from tasks.execution.progress_sink import before
from tasks.store import Store, StoreError, open_store

SECONDS_AWAY = 60
ROLLOUT = 256
SETTINGS = TrainSettings(
    env_id="ALE/Breakout-v5", approach="random", seed=2, steps=320 * ROLLOUT, n_envs=1, workers=1,
    checkpoint_every=40 * ROLLOUT,
)  # fmt: skip


@pytest.fixture
def mlflow(tmp_path: Path, migrated: Path) -> Iterator[Server]:
    with running(mlflow_server(tmp_path / "mlflow", migrated)) as server:
        yield server


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[Server]:
    with running(prefect_server(tmp_path / "prefect")) as server:
        yield server


class Outage:
    """Kills a server once a training is under way, and starts it again; sees how the training goes on meanwhile."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._back = threading.Thread(target=self._start_again)
        self.without: list[int] = []

    def _start_again(self) -> None:
        time.sleep(SECONDS_AWAY)
        self._server.start()

    def training(self, name: str, progress: Progress) -> None:
        if progress.step == 5 * ROLLOUT:
            self._server.kill()
            self._back.start()
        if self._server.process is None:
            self.without.append(progress.step)
        # Slow enough to be still under way when the server is back.
        if progress.step < progress.steps:
            time.sleep(0.25)

    def said(self, line: str) -> None:
        pass

    def over(self) -> None:
        self._back.join()


@takes_minutes
def test_mlflow_goes_away_and_comes_back(mlflow: Server, at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.address)
    outage = Outage(mlflow)
    with before(outage):
        trained = train(SETTINGS)
    outage.over()
    due = range(SETTINGS.checkpoint_every, SETTINGS.steps + 1, SETTINGS.checkpoint_every)
    assert [step for step in due if step in outage.without], "a checkpoint was due while the server was away"
    assert len(outage.without) > SECONDS_AWAY, "the games went on"
    store = open_store()
    assert store.run(trained.run_id).status == "FINISHED"
    assert [checkpoint.step for checkpoint in store.list_checkpoints(trained.run_id)] == list(due)
    for key in ("time/iterations", "time/fps"):
        points = store._client.get_metric_history(trained.run_id, key)
        assert [point.step for point in points] == list(range(ROLLOUT, SETTINGS.steps + 1, ROLLOUT)), key
        times = [point.timestamp for point in points]
        assert times == sorted(times), "in order, at the time at which they came about"
        assert times[-1] - times[0] > SECONDS_AWAY * 1000


def test_a_training_goes_on_on_another_machine_from_the_tracking_server_alone(
    mlflow: Server, at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainSettings(
        # Its learning rate does not depend on where the end is.
        env_id="ALE/Breakout-v5",
        approach="a2c",
        seed=4,
        steps=8000,
        checkpoint_every=4000,
        workers=2,
    )
    calm_id = train(settings).run_id
    calm = open_store()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.address)
    run_id = train(settings.model_copy(update={"steps": 4000})).run_id
    monkeypatch.setenv("RAMREEL_HOME", str(tmp_path / "another"))
    monkeypatch.chdir(tmp_path)
    resumed = resume(ResumeSettings(run=run_id, steps=8000, workers=1))
    assert resumed.checkpoints[-1].digest == calm.list_checkpoints(calm_id)[-1].digest
    assert histories(open_store(), run_id) == histories(calm, calm_id), "no gap, no step logged twice"


@takes_minutes
def test_prefect_goes_away_and_hears_of_the_end_when_it_is_back(prefect: Server, home: Path, store: Store) -> None:
    words = ["train", "ALE/Breakout-v5", "--approach", "random", "--n-envs", "1", "--workers", "1", "--json"]
    words += ["--steps", "32768", "--checkpoint-every", "4096"]
    with started(words, home, {"PREFECT_API_URL": prefect.address}) as command:
        assert wait_until(lambda: command.over or steps(store))
        prefect.kill()
        killed_at = steps(store)
        assert wait_until(lambda: command.over or status(store) == "FINISHED"), "trained to the end"
        time.sleep(SECONDS_AWAY)
        assert not command.over, "what it came to is not reported yet"
        prefect.start()
        code, out, said = command.done()
    assert code == 0, said
    assert killed_at < json.loads(out.splitlines()[-1])["checkpoints"] == steps(store)
    assert "Traceback" not in said
    (flow_run,) = prefect.post("/flow_runs/filter", {})
    assert flow_run["state_type"] == "COMPLETED"
    tasks = {run["name"]: run["state_type"] for run in prefect.post("/task_runs/filter", {})}
    assert tasks["end run: FINISHED"] == "COMPLETED"
    assert {tasks.get(f"save checkpoint at step {step}") for step in steps(store)} == {"COMPLETED"}


def steps(store: Store) -> list[int]:
    """Of the checkpoints that are stored."""
    try:
        return [checkpoint.step for checkpoint in store.list_checkpoints(store.resolve_run("latest"))]
    except StoreError:
        return []


def status(store: Store) -> str:
    return store.run(store.resolve_run("latest")).status
