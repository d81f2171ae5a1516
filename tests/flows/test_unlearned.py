"""Approaches that learn nothing save one checkpoint without rollouts, and are compared by a constant curve."""

from __future__ import annotations

import pytest

from flows.cli.app import run as cli
from flows.compare import compare
from flows.record import record
from flows.train import resume, train
from tasks.arcade.inputs.forms import CompareSettings, RecordSettings, ResumeSettings, TrainSettings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.runs.comparability import RunSelection
from tasks.runs.lookup import load_checkpoint
from tasks.runs.report_data import read_runs
from tasks.store import Store

STEPS = 10**9


@pytest.mark.parametrize("approach", ["random", "noop"])
def test_one_checkpoint_at_the_last_step(approach: str, store: Store) -> None:
    trained = train(TrainSettings(env_id="ALE/Breakout-v5", approach=approach, seed=2, steps=STEPS))
    assert trained.steps == STEPS
    run = store.run(trained.run_id)
    assert (run.status, run.name) == ("FINISHED", f"{approach} seed 2")
    assert not [name for name in run.metrics if name.startswith(("rollout/", "train/"))]
    (stored,) = store.list_checkpoints(trained.run_id)
    assert (stored.step, stored.digest) == (STEPS, trained.checkpoints[0].digest)
    checkpoint = load_checkpoint(store, stored)
    assert (checkpoint.settings, checkpoint.step, checkpoint.weights) == (run.settings, STEPS, {})
    assert checkpoint.statistics.count == 0
    assert "MLmodel" in {file.path for file in store._client.list_logged_model_artifacts(stored.model_id)}


def test_resuming_a_finished_run_changes_nothing(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    trained = train(TrainSettings(env_id="ALE/Breakout-v5", approach="random", steps=STEPS))
    (stored,) = store.list_checkpoints(trained.run_id)
    again = resume(ResumeSettings(run=trained.run_id))
    assert again.checkpoints == trained.checkpoints
    assert store.list_checkpoints(trained.run_id) == (stored,)
    assert cli(["train", "--resume", trained.run_id, "--quiet"]) == 0
    assert store.list_checkpoints(trained.run_id) == (stored,)
    more = resume(ResumeSettings(run=trained.run_id, steps=2 * STEPS))
    assert [saved.step for saved in more.checkpoints] == [STEPS, 2 * STEPS]
    assert store.run(trained.run_id).status == "FINISHED"


def test_damaged_checkpoint_is_replaced(store: Store) -> None:
    trained = train(TrainSettings(env_id="ALE/Breakout-v5", approach="random", steps=STEPS))
    (stored,) = store.list_checkpoints(trained.run_id)
    assert store.address.artifacts is not None
    path = next(store.address.artifacts.rglob(f"{stored.model_id}/artifacts/features.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    again = resume(ResumeSettings(run=trained.run_id))
    assert again.checkpoints[-1].digest == stored.digest
    assert load_checkpoint(store, store.list_checkpoints(trained.run_id)[-1]).step == STEPS


def test_curve_is_constant_over_the_compared_steps(small: TrainSettings, store: Store) -> None:
    learned = train(small).run_id
    random = train(small.model_copy(update={"approach": "random", "steps": 1000})).run_id
    for run_id in (learned, random):
        record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=3)))
    of_learned, of_random = read_runs(store, RunSelection(runs=(learned, random)))
    assert (of_learned.learned, [row.step for row in of_learned.checkpoints]) == (True, [512, 1024])
    assert (of_random.learned, [row.step for row in of_random.checkpoints]) == (False, [1000])
    assert of_random.curve == ()
    mean = store.fetch_evaluation(random, 1000).mean_return
    comparison = compare(CompareSettings(runs=(learned, random)))
    history = dict(store.history(comparison.run_id, "eval/mean_return/random"))
    assert history == pytest.approx(dict.fromkeys((512, 1024), mean))
