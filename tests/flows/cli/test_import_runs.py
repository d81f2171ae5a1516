"""Imported runs are comparable, and the report names their source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from helpers.processes import error_lines
from helpers.sb3_zips import pickled, write_zip
from stable_baselines3 import A2C

from flows.cli.app import run
from flows.compare import compare
from tasks.arcade.checkpoints.checkpoint import read_checkpoint
from tasks.arcade.episodes.playing import play
from tasks.arcade.inputs.forms import CompareSettings
from tasks.arcade.settings.run import RunSettings
from tasks.store import Store

EvaluatedRun = Callable[..., str]


@pytest.fixture
def evaluations(tmp_path: Path) -> Path:
    """The file that Stable-Baselines3's EvalCallback writes."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    results = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    np.savez(folder / "evaluations.npz", timesteps=[10, 20], results=results, ep_lengths=[[9, 8, 7]] * 2)
    return folder


def said(capfd: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, str]]]:
    values = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert isinstance(values, dict)
    return values


def test_imported_run_is_compared_with_a_trained_one(
    store: Store,
    settings: RunSettings,
    evaluated_run: EvaluatedRun,
    evaluations: Path,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (evaluations / "monitor.csv").write_text('#{"t_start": 1.0, "env_id": "ALE/Pong-v5"}\nr,l,t\n1.0,10,1\n3.0,10,2\n')
    ours = evaluated_run(store, settings, {10: [1.0, 2.0], 20: [2.0, 3.0]}, "ours")
    asked = ["import", str(evaluations), "--env", "ALE/Pong-v5", "--approach", "sb3-ppo", "--seed", "4", "--json"]
    assert run(asked) == 0
    (imported,) = said(capfd)["runs"]
    assert imported["run_name"] == "sb3-ppo seed 4"
    kept = store.run(imported["run_id"])
    assert (kept.kind, kept.status, kept.settings, kept.experiment) == ("imported", "FINISHED", None, "ALE/Pong-v5")
    assert store.history(kept.run_id, "eval/mean_reward") == [(10, 2.0), (20, 5.0)]
    assert store.history(kept.run_id, "rollout/ep_rew_mean") == [(10, 1.0), (20, 2.0)]
    assert kept.params["game.repeat_action_probability"] == "0.25"

    assert run(["compare", "sb3-ppo seed 4", "ours", "--json"]) == 0
    compared = said(capfd)
    assert compared["runs"] == [kept.run_id, ours]
    markdown = store.fetch_artifact(str(compared["run_id"]), "reports/report.md", tmp_path).read_text()
    assert "Imported with their evaluations: sb3-ppo seed 4 (rl-baselines3-zoo evaluations" in markdown
    assert "| sb3-ppo | 1 | 3 | 3 | 5.0 |" in markdown
    assert run(["train", "--resume", "sb3-ppo seed 4"]) == 2
    assert "only training runs can be resumed" in capfd.readouterr().err


def test_policy_of_a_zip_is_playable(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    env = gymnasium.make("ALE/Breakout-v5", obs_type="ram")
    A2C("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, seed=1, device="cpu").save(tmp_path / "a2c.zip")
    asked = ["import", str(tmp_path / "a2c.zip"), "--env", "BreakoutDeterministic-v4", "--approach", "a2c-elsewhere"]
    assert run([*asked, "--seed", "1", "--json"]) == 0
    (imported,) = said(capfd)["runs"]
    assert imported["playable"]
    (stored,) = store.list_checkpoints(imported["run_id"])
    kept = store.run(imported["run_id"])
    assert kept.settings is not None
    assert kept.settings.approach.name == "a2c-elsewhere"
    assert kept.params["approach.algorithm.n_steps"] == "5"
    assert kept.tags["ramreel.imported_from"].startswith("Stable-Baselines3 zip ")
    assert stored.step == 1
    assert "MLmodel" in {file.path for file in store._client.list_logged_model_artifacts(stored.model_id)}


def test_zip_of_stable_baselines3_1_is_evaluated(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_zip(tmp_path / "ppo.zip", learning_rate=pickled(lambda progress: 1e-3 * progress))
    assert run(["import", str(path), "--env", "BreakoutNoFrameskip-v4", "--frame-skip", "4", "--json"]) == 0
    printed = capfd.readouterr()
    (imported,) = json.loads(printed.out.splitlines()[-1])["runs"]
    assert (imported["playable"], imported["steps"], imported["frame_skip"]) == (True, 1_000_448, 4)
    assert imported["notes"][0] == "left out: learning_rate; --trust unpickles them, which can run code of the zip"
    assert f"note: {imported['notes'][0]}" in printed.err
    kept = store.run(imported["run_id"])
    assert kept.settings is not None
    assert (kept.settings.game.frame_skip, kept.params["imported.clip_range"]) == (4, "0.1")
    (stored,) = store.list_checkpoints(kept.run_id)
    agent = read_checkpoint(store.fetch_checkpoint(stored, tmp_path / "checkpoint"), stored.digest).agent()
    assert play(agent, kept.settings.game, 1, action_seed=1, deterministic=True, max_steps=20).length == 20


def test_contradictions_are_printed_stored_and_reported(
    store: Store, tmp_path: Path, evaluations: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"1.0,40,{number}\n" for number in range(2))
    (evaluations / "monitor.csv").write_text('#{"t_start": 1.0, "env_id": "PongNoFrameskip-v4"}\nr,l,t\n' + rows)
    asked = ["import", str(evaluations), "--env", "PongNoFrameskip-v4", "--json"]
    assert run(asked) == 0
    (imported,) = said(capfd)["runs"]
    note = "the files are of frame skip 4, PongNoFrameskip-v4 has 1: 4 is assumed"
    assert (imported["frame_skip"], imported["notes"]) == (4, [note])
    kept = store.run(imported["run_id"])
    assert kept.external is not None
    assert (kept.external.game.frame_skip, kept.external.notes) == (4, (note,))
    assert store.history(kept.run_id, "rollout/ep_len_mean") == [(10, 10.0), (20, 10.0)]
    comparison = compare(CompareSettings(runs=(kept.run_id,)))
    markdown = store.fetch_artifact(comparison.run_id, "reports/report.md", tmp_path).read_text()
    assert f"{note}." in markdown


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["{}", "--env", "ALE/Pnog-v5"], "ALE/Pong-v5"),
        (["{}", "nosuch", "--env", "ALE/Pong-v5"], "nosuch cannot be read"),
        (["{}", "{}", "--env", "ALE/Pong-v5", "--name", "one"], "--name names a single run"),
        (["{}", "--env", "ALE/Pong-v5", "--approach", "My PPO"], "approach"),
        (["{}", "--env", "ALE/Pong-v5", "--seed", "-1"], "seed"),
        (["{}"], "--env"),
        (["{}", "--env", "ALE/Pong-v5", "--frame-skip", "6"], "a step of ALE/Pong-v5 is 4 frames"),
        (["{}", "--env", "ALE/Pong-v5", "--frame-skip", "0"], "--frame-skip"),
    ],
)
def test_rejected_import_writes_nothing(
    arguments: list[str], hint: str, evaluations: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(home.rglob("*"))
    assert run(["import", *(word.format(evaluations) for word in arguments)]) == 2
    printed = capfd.readouterr()
    assert hint in printed.err
    assert len(error_lines(printed.err)) == 1
    assert {path for path in home.rglob("*") if "mlflow.db" not in path.name} <= before
