"""A training run is resumed, also past its end, and is never trained by two processes; tests/faults kills some."""

import os

import pytest
from helpers.approaches import FAST
from helpers.processes import error_lines
from prefect import flow

from flows.cli.app import run as cli
from flows.train import resume, train
from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.follow_up import earlier_runs
from tasks.learning_benchmark import ExistingRun, find_existing_run
from tasks.runs.lookup import TRIAL_TAG
from tasks.store import Store, StoreError
from tasks.store.connection import connect
from tasks.train import start_run

TRAIN = TrainSettings(env_id="ALE/Breakout-v5", approach=FAST, seed=5, steps=2048, checkpoint_every=512, workers=2)


def test_run_is_not_trained_by_two_processes(store: Store) -> None:
    run_id = train(TRAIN.model_copy(update={"steps": 512, "workers": 1})).run_id
    with store.lease(run_id), pytest.raises(StoreError, match=rf"being trained by process {os.getpid()}"):
        resume(ResumeSettings(run=run_id))
    assert store.run(run_id).status == "FINISHED", "the refusal changed nothing"


def test_run_stopped_at_its_start_is_skipped(
    small: TrainSettings, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = small.model_copy(update={"name": "same"})
    settings, trained = run_settings(inputs), [train(inputs).run_id for _ in range(2)]

    @flow
    def start_repeatedly() -> tuple[str, str, str]:
        first = start_run(settings, "same", None)
        assert start_run(settings, "same", None) == first, "a run with these settings is continued"
        delete_settings(store, first)
        second = start_run(settings, "same", None)
        return first, second, start_run(settings, "same", None)

    first, second, third = start_repeatedly()
    assert first != second == third
    delete_settings(store, second)
    for run_id in trained:
        store.save_evaluation(run_id, evaluation_of(store, run_id))
    assert find_existing_run.fn(inputs) == ExistingRun(run_id=trained[1], finished=True, own=False)
    assert earlier_runs.fn(trained[1], 5) == (trained[0],)
    assert cli(["train", "--resume", first]) == 2
    errors = capfd.readouterr().err
    assert f"run {first} is unusable: it was stopped before its settings.json was saved" in errors
    assert len(error_lines(errors)) == 1


def test_trial_of_a_sweep_is_not_an_earlier_run(small: TrainSettings, store: Store) -> None:
    trial, earlier, latest = (train(small).run_id for _ in range(3))
    for run_id in (trial, earlier):
        store.save_evaluation(run_id, evaluation_of(store, run_id))
    store.set_tag(trial, TRIAL_TAG, "0")
    assert earlier_runs.fn(latest, 5) == (earlier,)


def delete_settings(store: Store, run_id: str) -> None:
    """Leave what a process that was killed while it started a run leaves."""
    assert store.address.artifacts is not None
    next(store.address.artifacts.rglob(f"{run_id}/artifacts/settings.json")).unlink()
    connect(store.address).delete_tag(run_id, "ramreel.settings_digest")


def evaluation_of(store: Store, run_id: str) -> Evaluation:
    last = store.list_checkpoints(run_id)[-1]
    episode = EpisodeResult(seed=1, episode_return=1, length=10, frames=40, ram_digest="ab", ended="terminated")
    return Evaluation(
        checkpoint=last.digest,
        step=last.step,
        settings=EvaluationSettings(episodes=1),
        episodes=(episode,),
        recorded=0,
        video_frames=41,
    )


def test_finished_run_is_resumed_past_its_end(store: Store) -> None:
    settings = TRAIN.model_copy(update={"steps": 1000, "workers": 1})
    run_id = train(settings).run_id
    more = resume(ResumeSettings(run=run_id, steps=2048, workers=2))
    assert more.run_id == run_id
    whole = train(settings.model_copy(update={"steps": 2048}))
    assert [saved.step for saved in more.checkpoints][-1] == whole.checkpoints[-1].step == more.steps
    one, other = (store.history(run, "rollout/ep_rew_mean") for run in (run_id, whole.run_id))
    assert one == other


def test_damaged_checkpoint_is_skipped_for_the_one_before(store: Store) -> None:
    settings = TRAIN.model_copy(update={"steps": 1536, "workers": 1})
    run_id = train(settings).run_id
    damaged = store.list_checkpoints(run_id)[-1]
    assert store.address.artifacts is not None
    path = next(store.address.artifacts.rglob(f"{damaged.model_id}/artifacts/policy.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    again = resume(ResumeSettings(run=run_id))
    assert again.checkpoints[-1].step == damaged.step
    assert again.checkpoints[-1].digest == damaged.digest, "training again is bit-for-bit"


def test_missing_checkpoints_are_not_replaced(small: TrainSettings, store: Store) -> None:
    run_id = train(small).run_id
    assert store.address.artifacts is not None
    folder = next(store.address.artifacts.rglob("models"))
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(
        StoreError, match=r"the checkpoint at step 1024 of run .* is missing: there is no .*; restore it"
    ):
        resume(ResumeSettings(run=run_id, steps=2048))
    folder.with_name("elsewhere").rename(folder)
    assert resume(ResumeSettings(run=run_id, steps=1536)).steps == 1536
