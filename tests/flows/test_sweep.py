"""A sweep trains its trials as runs nested in its own, continues where it was stopped, and reports."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from helpers.prefect_events import is_emitted, payloads
from helpers.processes import error_lines
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from flows.cli.app import run
from flows.runtime import machine_share
from flows.sweep import sweep
from flows.train import resume, train
from tasks.arcade.inputs.forms import ResumeSettings, SweepSettings, TrainSettings
from tasks.arcade.progress import Progress
from tasks.execution import events
from tasks.execution.progress_sink import ProgressSink, use_sink
from tasks.store import Store, open_store

SWEEP = ["sweep", "ALE/Breakout-v5", "--approach", "a2c", "--parameters", "learning_rate,n_steps", "--steps", "2000"]


def test_trials_are_nested_training_runs(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [*SWEEP, "--workers", "1", "--name", "searched", "--json", "--quiet"]
    assert run([*arguments, "--trials", "1"]) == 0
    first = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert run([*arguments, "--trials", "2"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert result["run_id"] == first["run_id"], "the sweep continues"
    parent = store.run(result["run_id"])
    assert (parent.kind, parent.name, parent.status) == ("sweep", "searched", "FINISHED")
    assert parent.metrics["sweep/best_mean_return"] == result["best"]["value"]
    assert sorted(trial["number"] for trial in result["trials"]) == [0, 1]
    for trial in result["trials"]:
        training = store.run(trial["run_id"])
        assert (training.kind, training.tags["mlflow.parentRunId"]) == ("training", parent.run_id)
        assert training.tags["ramreel.trial"] == str(trial["number"])
        assert training.params["approach.algorithm.n_steps"] == str(trial["params"]["n_steps"])
        assert [stored.step for stored in store.list_checkpoints(trial["run_id"])] == [trial["steps"]]
    page = store.fetch_artifact(parent.run_id, "reports/report.html", tmp_path).read_text()
    assert f"mean return {result['best']['value']:,.1f}" in page
    best = store.fetch_artifact(parent.run_id, "reports/best.toml", tmp_path)
    assert f"n_steps = {result['best']['params']['n_steps']}" in best.read_text()
    assert run([*arguments, "--trials", "2", "--seed", "5"]) == 2
    assert "'searched' exists with other settings (seed is 5, was 0): choose another --name" in capfd.readouterr().err


def test_trials_emit_no_events(small: TrainSettings, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*SWEEP, "--workers", "1", "--trials", "1", "--json", "--quiet"]) == 0
    (trial,) = json.loads(capfd.readouterr().out.splitlines()[-1])["trials"]
    resume(ResumeSettings(run=trial["run_id"], steps=4000))
    # Events arrive in the order in which they were emitted.
    run_id = train(small.model_copy(update={"steps": 512})).run_id
    for event in (events.CHECKPOINT_SAVED, events.TRAINING_FINISHED):
        assert is_emitted(event, run_id=run_id)
        assert trial["run_id"] not in {payload["run_id"] for payload in payloads(event)}


class KilledTrial(ProgressSink):
    """A progress sink that kills the process of a sweep's first trial once, in the middle of it."""

    def __init__(self) -> None:
        self.killed = False
        self.names: set[str] = set()

    def update(self, name: str, progress: Progress) -> None:
        self.names.add(name)
        if name.endswith("trial 0") and not self.killed:
            self.killed = True
            os.kill(self.owner(), signal.SIGKILL)

    def owner(self) -> int:
        """Return the id of the process that holds the lease of the trial's run."""
        store = open_store()
        (trial,) = store.runs_tagged("ramreel.trial", "0")
        return int(json.loads(store.run(trial).tags["ramreel.lease"])["process"])

    def log(self, line: str) -> None:
        pass


def test_trials_side_by_side_and_a_killed_one_is_repeated_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_share, "cores", lambda: 2)
    monkeypatch.setattr(machine_share, "available_memory", lambda: 2 * machine_share.RUN_BYTES)
    settings = SweepSettings(
        env_id="ALE/Breakout-v5", approach="a2c", parameters=("learning_rate",), trials=3, steps=4000, workers=1
    )
    sink = KilledTrial()
    with use_sink(sink):
        result = sweep(settings)
    assert sink.killed
    assert sorted(trial.state for trial in result.trials) == ["complete", "complete", "complete", "failed"]
    (killed,) = (trial for trial in result.trials if trial.state == "failed")
    assert killed.number == 0
    assert [trial.params for trial in result.trials].count(killed.params) == 2
    trials = store.runs_tagged("mlflow.parentRunId", result.run_id)
    assert len(trials) == 4
    assert store.run(result.run_id).status == "FINISHED"
    with get_client(sync_client=True) as client:
        parent = {"any_": [store.run(trials[0]).tags["ramreel.root_flow_run_id"]]}
        children = FlowRunFilter.model_validate({"parent_flow_run_id": parent})
        runs = client.read_flow_runs(flow_run_filter=children)
    assert sorted((run.state_name, run.run_count) for run in runs) == [
        ("Completed", 1),
        ("Completed", 1),
        ("Completed", 2),
    ]


def test_sweep_without_a_finished_episode_ends(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "sweep",
        "ALE/Pong-v5",
        "--approach",
        "a2c",
        "--parameters",
        "gamma",
        "--steps",
        "40",
        "--workers",
        "1",
    ]
    assert run([*arguments, "--trials", "1", "--json", "--quiet"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [trial["state"] for trial in result["trials"]] == ["failed"]
    assert result["best"] is None
    page = store.fetch_artifact(result["run_id"], "reports/report.html", tmp_path).read_text()
    assert "failed" in page


def test_sweep_is_not_run_by_two_processes(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [*SWEEP, "--workers", "1", "--name", "searched", "--json", "--quiet"]
    assert run([*arguments, "--trials", "1"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    with store.lease(result["run_id"]):
        assert run([*arguments, "--trials", "2"]) == 1
    assert "stop that process, or wait until it ends" in capfd.readouterr().err
    assert store.run(result["run_id"]).status == "FINISHED"
    assert store.runs_tagged("mlflow.parentRunId", result["run_id"]) == (result["trials"][0]["run_id"],)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--approach", "random"], "random does not learn"),
        (["--parameters", "learning_rte"], "Did you mean 'learning_rate'?"),
        (["--trials", "0"], "trials"),
        (["--steps", "0"], "steps"),
    ],
)
def test_invalid_sweep_leaves_nothing(
    arguments: list[str], hint: str, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["sweep", "ALE/Breakout-v5", *arguments]) == 2
    errors = capfd.readouterr().err
    assert hint in errors
    assert len(error_lines(errors)) == 1
    assert {path.name for path in home.rglob("*") if "mlflow.db" not in path.name} == {"mlruns"}
