"""A sweep trains its trials as ordinary runs nested in its own, goes on where it was stopped, and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli.app import run
from tasks.store import Store

SWEEP = ["sweep", "ALE/Breakout-v5", "--approach", "a2c", "--parameters", "learning_rate,n_steps", "--steps", "2000"]


def test_a_sweep_is_a_run_of_trainings(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = [*SWEEP, "--workers", "1", "--name", "searched", "--json", "--quiet"]
    assert run([*asked, "--trials", "1"]) == 0
    first = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert run([*asked, "--trials", "2"]) == 0
    swept = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert swept["run_id"] == first["run_id"], "it goes on"
    parent = store.run(swept["run_id"])
    assert (parent.kind, parent.name, parent.status) == ("sweep", "searched", "FINISHED")
    assert parent.metrics["sweep/best_mean_return"] == swept["best"]["value"]
    assert sorted(trial["number"] for trial in swept["trials"]) == [0, 1]
    for trial in swept["trials"]:
        training = store.run(trial["run_id"])
        assert (training.kind, training.tags["mlflow.parentRunId"]) == ("training", parent.run_id)
        assert training.params["approach.algorithm.n_steps"] == str(trial["given"]["n_steps"])
        assert [stored.step for stored in store.list_checkpoints(trial["run_id"])] == [trial["steps"]]
    page = store.fetch_artifact(parent.run_id, "reports/report.html", tmp_path).read_text()
    assert f"mean return {swept['best']['value']:,.1f}" in page
    best = store.fetch_artifact(parent.run_id, "reports/best.toml", tmp_path)
    assert f"n_steps = {swept['best']['given']['n_steps']}" in best.read_text()
    assert run([*asked, "--trials", "2", "--seed", "5"]) == 2
    assert "seed is 5 and was 0: --name begins another one" in capfd.readouterr().err


def test_a_sweep_in_which_no_episode_ends_comes_to_its_end(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["sweep", "ALE/Pong-v5", "--approach", "a2c", "--parameters", "gamma", "--steps", "40", "--workers", "1"]
    assert run([*asked, "--trials", "1", "--json", "--quiet"]) == 0
    swept = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [trial["state"] for trial in swept["trials"]] == ["failed"]
    assert swept["best"] is None
    page = store.fetch_artifact(swept["run_id"], "reports/report.html", tmp_path).read_text()
    assert "failed" in page


def test_one_sweep_is_not_made_twice_at_once(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    asked = [*SWEEP, "--workers", "1", "--name", "searched", "--json", "--quiet"]
    assert run([*asked, "--trials", "1"]) == 0
    swept = json.loads(capfd.readouterr().out.splitlines()[-1])
    with store.lease(swept["run_id"]):
        assert run([*asked, "--trials", "2"]) == 1
    said = capfd.readouterr()
    assert "stop that first, or wait for its end" in said.err
    assert store.run(swept["run_id"]).status == "FINISHED"
    assert store.runs_tagged("mlflow.parentRunId", swept["run_id"]) == (swept["trials"][0]["run_id"],)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--approach", "random"], "random learns nothing"),
        (["--parameters", "learning_rte"], "Did you mean 'learning_rate'"),
        (["--trials", "0"], "trials"),
        (["--steps", "0"], "steps"),
    ],
)
def test_what_cannot_be_searched_for_leaves_nothing(
    arguments: list[str], hint: str, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["sweep", "ALE/Breakout-v5", *arguments]) == 2
    said = capfd.readouterr().err
    assert hint in said
    assert said.count("\n") == 1
    assert {path.name for path in home.rglob("*") if "mlflow.db" not in path.name} == {"mlruns"}
