"""A server is unavailable for a while during training: training continues, nothing is lost, the end is reported."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.approaches import FAST, N_STEPS, settings_file
from helpers.evidence import histories
from helpers.processes import started, wait_until
from helpers.scale import takes_minutes
from helpers.servers import Server, mlflow_server, prefect_server, running

from flows.train import resume, train
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings
from tasks.arcade.progress import Progress
from tasks.execution.progress_sink import ProgressSink, use_sink
from tasks.store import Store, StoreError, open_store

OUTAGE_SECONDS = 60
ROLLOUT = N_STEPS
SETTINGS = TrainSettings(
    env_id="ALE/Breakout-v5", approach=FAST, seed=2, steps=320 * ROLLOUT, n_envs=1, workers=1,
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


class Outage(ProgressSink):
    """A progress sink that kills a server during training, starts it again, and keeps the progress in between."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._back = threading.Thread(target=self._start_again)
        self.steps_during: list[int] = []

    def _start_again(self) -> None:
        time.sleep(OUTAGE_SECONDS)
        self._server.start()

    def update(self, name: str, progress: Progress) -> None:
        if progress.step == 5 * ROLLOUT:
            self._server.kill()
            self._back.start()
        if self._server.process is None:
            self.steps_during.append(progress.step)
        # Slow enough to be still running when the server is back.
        if progress.step < progress.steps:
            time.sleep(0.25)

    def log(self, line: str) -> None:
        pass

    def wait(self) -> None:
        self._back.join()


@takes_minutes
def test_training_continues_while_mlflow_is_unavailable(
    mlflow: Server, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.address)
    outage = Outage(mlflow)
    with use_sink(outage):
        trained = train(SETTINGS)
    outage.wait()
    due = range(SETTINGS.checkpoint_every, SETTINGS.steps + 1, SETTINGS.checkpoint_every)
    assert [step for step in due if step in outage.steps_during], "a checkpoint was due during the outage"
    assert len(outage.steps_during) > OUTAGE_SECONDS, "rollouts continued"
    store = open_store()
    assert store.run(trained.run_id).status == "FINISHED"
    assert [checkpoint.step for checkpoint in store.list_checkpoints(trained.run_id)] == list(due)
    for key in ("time/iterations", "time/fps"):
        points = store._client.get_metric_history(trained.run_id, key)
        assert [point.step for point in points] == list(range(ROLLOUT, SETTINGS.steps + 1, ROLLOUT)), key
        times = [point.timestamp for point in points]
        assert times == sorted(times), "in order, with the time of their creation"
        assert times[-1] - times[0] > OUTAGE_SECONDS * 1000


def test_run_is_resumed_on_another_machine_from_the_tracking_server(
    mlflow: Server, at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainSettings(
        # Its learning rate does not depend on the total steps.
        env_id="ALE/Breakout-v5",
        approach="a2c",
        seed=4,
        steps=8000,
        checkpoint_every=4000,
        workers=2,
    )
    reference_id = train(settings).run_id
    reference = open_store()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.address)
    run_id = train(settings.model_copy(update={"steps": 4000})).run_id
    monkeypatch.setenv("RAMREEL_HOME", str(tmp_path / "another"))
    monkeypatch.chdir(tmp_path)
    resumed = resume(ResumeSettings(run=run_id, steps=8000, workers=1))
    assert resumed.checkpoints[-1].digest == reference.list_checkpoints(reference_id)[-1].digest
    assert histories(open_store(), run_id) == histories(reference, reference_id), "no gap, no step logged twice"


@takes_minutes
def test_final_state_is_reported_when_prefect_is_back(
    prefect: Server, home: Path, store: Store, tmp_path: Path
) -> None:
    approach = ["--settings", str(settings_file(tmp_path))]
    arguments = ["train", "ALE/Breakout-v5", *approach, "--n-envs", "1", "--workers", "1", "--json"]
    arguments += ["--steps", "32768", "--checkpoint-every", "4096"]
    with started(arguments, home, {"PREFECT_API_URL": prefect.address}) as command:
        assert wait_until(lambda: command.exited or steps(store))
        prefect.kill()
        killed_at = steps(store)
        assert wait_until(lambda: command.exited or status(store) == "FINISHED"), "trained to the end"
        time.sleep(OUTAGE_SECONDS)
        assert not command.exited, "the result is not reported yet"
        prefect.start()
        code, out, errors = command.wait()
    assert code == 0, errors
    assert killed_at < json.loads(out.splitlines()[-1])["checkpoints"] == steps(store)
    assert "Traceback" not in errors
    (flow_run,) = prefect.post("/flow_runs/filter", {})
    assert flow_run["state_type"] == "COMPLETED"
    tasks = {run["name"]: run["state_type"] for run in prefect.post("/task_runs/filter", {})}
    assert tasks["end run: FINISHED"] == "COMPLETED"
    assert {tasks.get(f"save checkpoint at step {step}") for step in steps(store)} == {"COMPLETED"}


def steps(store: Store) -> list[int]:
    """Return the steps of the stored checkpoints."""
    try:
        return [checkpoint.step for checkpoint in store.list_checkpoints(store.resolve_run("latest"))]
    except StoreError:
        return []


def status(store: Store) -> str:
    return store.run(store.resolve_run("latest")).status
