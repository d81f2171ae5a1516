"""A training goes on, past its end too, and is not trained twice; tests/faults kills some."""

import os

import pytest
from prefect import flow

from flows.cli.app import run as cli
from flows.train import resume, train
from tasks.arcade.episodes.evaluation import EpisodeScore, Evaluation
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.follow_up import earlier_trainings
from tasks.learning_benchmark import find_training
from tasks.store import Store, StoreError
from tasks.train import start_run

TRAIN = TrainSettings(
    env_id="ALE/Breakout-v5", approach="random", seed=5, steps=16_000, checkpoint_every=4000, workers=2
)


def test_a_run_that_is_being_trained_is_not_trained_twice(store: Store) -> None:
    run_id = train(TRAIN.model_copy(update={"steps": 5000, "workers": 1})).run_id
    with store.lease(run_id), pytest.raises(StoreError, match=rf"being trained by process {os.getpid()}"):
        resume(ResumeSettings(run=run_id))
    assert store.run(run_id).status == "FINISHED", "the refusal changed nothing"


def test_a_training_that_was_stopped_before_it_began_is_in_nobodys_way(
    small: TrainSettings, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = small.model_copy(update={"name": "same"})
    settings, trained = run_settings(asked), [train(asked).run_id for _ in range(2)]

    @flow
    def start_and_be_started_again() -> tuple[str, str, str]:
        begun = start_run(settings, "same", None)
        assert start_run(settings, "same", None) == begun, "one that has its settings is gone on with"
        forget_settings(store, begun)
        again = start_run(settings, "same", None)
        return begun, again, start_run(settings, "same", None)

    begun, again, third = start_and_be_started_again()
    assert begun != again == third
    forget_settings(store, again)
    for run_id in trained:
        store.save_evaluation(run_id, evaluation_of(store, run_id))
    assert find_training.fn(asked) == (trained[1], True)
    assert earlier_trainings.fn(trained[1], 5) == (trained[0],)
    assert cli(["train", "--resume", begun]) == 2
    said = capfd.readouterr().err
    assert f"run {begun} was stopped before its settings.json was kept" in said
    assert said.count("\n") == 1


def forget_settings(store: Store, run_id: str) -> None:
    """What is left of a run whose process was killed while it began."""
    assert store.address.artifacts is not None
    next(store.address.artifacts.rglob(f"{run_id}/artifacts/settings.json")).unlink()


def evaluation_of(store: Store, run_id: str) -> Evaluation:
    last = store.list_checkpoints(run_id)[-1]
    episode = EpisodeScore(seed=1, episode_return=1, length=10, frames=40, ram_digest="ab", ended="terminated")
    judged = EvaluationSettings(episodes=1)
    return Evaluation(
        checkpoint=last.digest, step=last.step, settings=judged, episodes=(episode,), recorded=0, video_frames=41
    )


def test_a_finished_training_goes_on_past_its_end(store: Store) -> None:
    settings = TRAIN.model_copy(update={"steps": 5000, "workers": 1})
    run_id = train(settings).run_id
    more = resume(ResumeSettings(run=run_id, steps=9000, workers=2))
    assert more.run_id == run_id
    whole = train(settings.model_copy(update={"steps": 9000}))
    assert [saved.step for saved in more.checkpoints][-1] == whole.checkpoints[-1].step == more.steps
    one, other = (store.history(run, "rollout/ep_rew_mean") for run in (run_id, whole.run_id))
    assert one == other


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(store: Store) -> None:
    settings = TRAIN.model_copy(update={"steps": 9000, "workers": 1})
    run_id = train(settings).run_id
    spoilt = store.list_checkpoints(run_id)[-1]
    assert store.address.artifacts is not None
    path = next(store.address.artifacts.rglob(f"{spoilt.model_id}/artifacts/policy.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    again = resume(ResumeSettings(run=run_id))
    assert again.checkpoints[-1].step == spoilt.step
    assert again.checkpoints[-1].digest == spoilt.digest, "what was lost is made again, to the bit"
