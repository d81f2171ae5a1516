"""A training goes on, past its end too, and is not trained twice; tests/faults kills some."""

import os

import pytest

from flows.train import resume, train
from tasks.arcade.asked import ResumeSettings, TrainSettings
from tasks.store import Store, StoreError

TRAIN = TrainSettings(
    env_id="ALE/Breakout-v5", approach="random", seed=5, steps=16_000, checkpoint_every=4000, workers=2
)


def test_a_run_that_is_being_trained_is_not_trained_twice(store: Store) -> None:
    run_id = train(TRAIN.model_copy(update={"steps": 5000, "workers": 1})).run_id
    with store.lease(run_id), pytest.raises(StoreError, match=rf"being trained by process {os.getpid()}"):
        resume(ResumeSettings(run=run_id))
    assert store.run(run_id).status == "FINISHED", "the refusal changed nothing"


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
