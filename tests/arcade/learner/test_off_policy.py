"""DQN and QR-DQN learn by their own `train()` from what was played, however it was shared out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_learner
import torch
from helpers.training_runs import Recorder, run_of, same, small
from stable_baselines3.common.callbacks import BaseCallback

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.training_state import TrainingState, read_state, write_state
from tasks.arcade.checkpoints.verified_folder import DamagedError
from tasks.arcade.emulator.emulator import resolve
from tasks.arcade.learner import Start, build, train
from tasks.arcade.learner.off_policy import OffPolicyRollouts, RamReplayBuffer
from tasks.arcade.learner.vec_env import RolloutVecEnv
from tasks.arcade.rollouts.off_policy import rollout_settings
from tasks.arcade.rollouts.worker_pool import WorkerPool
from tasks.arcade.settings.run import RunSettings


@pytest.fixture(scope="module")
def trained() -> tuple[Checkpoint, TrainingState, Recorder]:
    heard = Recorder()
    train(run_of(small("dqn"), steps=768, every=384), 2, heard)
    return heard.checkpoints[0], heard.states[0], heard


def test_the_same_seed_gives_the_same_weights_whatever_the_number_of_workers(
    trained: tuple[Checkpoint, TrainingState, Recorder],
) -> None:
    whole = trained[2]
    for workers, seed in ((1, 0), (2, 1)):
        heard = Recorder()
        train(run_of(small("dqn"), steps=768, every=384, seed=seed), workers, heard)
        for one, other in zip(heard.states, whole.states, strict=True):
            assert same(one.replay_buffer, other.replay_buffer) == (seed == 0)
            assert same(one.target, other.target) == (seed == 0)
        assert same(heard.checkpoints[-1].weights, whole.checkpoints[-1].weights) == (seed == 0)


@pytest.mark.parametrize(("name", "env_id"), [("dqn", "Breakout-v0"), ("qrdqn", "ALE/Pong-v5")])
def test_a_training_that_goes_on_from_files_ends_as_one_that_never_stopped(
    name: str, env_id: str, tmp_path: Path
) -> None:
    """Weights, target network, replay buffer, metrics; two workers at first, one after."""
    test_learner.test_a_training_that_goes_on_from_files_ends_as_one_that_never_stopped(name, False, env_id, tmp_path)


def test_exploration_falls_with_progress_and_the_target_network_follows(
    trained: tuple[Checkpoint, TrainingState, Recorder],
) -> None:
    _, _, heard = trained
    rates = [values["rollout/exploration_rate"] for _, values in heard.logged]
    assert rates[0] > rates[1] > 0.01 and rates[-1] == pytest.approx(0.01)
    for checkpoint, state in zip(heard.checkpoints, heard.states, strict=True):
        ahead = [checkpoint.weights[name.replace("_target", "")] for name in state.target]
        assert len(ahead) == len(checkpoint.weights)
        assert not all((one == other).all() for one, other in zip(ahead, state.target.values(), strict=True))


def test_nothing_is_to_come_after_a_lost_life_if_that_is_asked_for() -> None:
    for asked in (False, True):
        approach = small("dqn")
        algorithm = approach.algorithm.model_copy(update={"terminal_on_life_loss": asked})
        settings = run_of(approach.model_copy(update={"algorithm": algorithm}))
        buffer, _ = _begun(settings.model_copy(update={"game": resolve("ALE/Breakout-v5")}), 1280)
        np.random.seed(5)
        dones = buffer.sample(2_000).dones[:, 0].numpy() > 0
        np.random.seed(5)
        batch = buffer.kept.draw(2_000)
        assert batch.lost.any() and batch.terminated.any() and not (batch.lost & batch.terminated).any()
        assert (dones == (batch.terminated | batch.lost if asked else batch.terminated)).all()


def test_a_batch_is_made_of_todays_features_and_of_what_is_learned_from() -> None:
    """What `train()` is given, against the transitions drawn by the same numbers; unclipped returns are reported."""
    settings = run_of(small("dqn", reward="sign"))
    buffer, env = _begun(settings, 640)
    np.random.seed(5)
    given = buffer.sample(400)
    np.random.seed(5)
    batch = buffer.kept.draw(400)
    assert (given.observations.numpy() == env.features()(batch.rams, batch.previous)).all()
    assert (given.next_observations.numpy() == env.features()(batch.next_rams, batch.rams)).all()
    assert (given.rewards[:, 0].numpy() == np.sign(batch.rewards)).all()
    assert (given.actions[:, 0].numpy() == batch.actions).all()
    assert not given.dones.any(), "all that ended here was cut by the time limit"
    assert env.statistics.count >= 512
    assert given.observations.dtype == given.rewards.dtype == given.dones.dtype == torch.float32


def _begun(settings: RunSettings, steps: int) -> tuple[RamReplayBuffer, RolloutVecEnv]:
    """A training's buffer and environments after so many steps."""

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < steps

    with WorkerPool(rollout_settings(settings.game, settings.approach, 0), 1) as pool:
        model = build(settings, pool)
        assert isinstance(model, OffPolicyRollouts)
        model.learn(10_000, callback=Stop())
    return model.buffer, model.env


def test_another_training_begins_with_what_this_one_has_learned_and_seen(
    trained: tuple[Checkpoint, TrainingState, Recorder],
) -> None:
    checkpoint, state, _ = trained
    heard = Recorder()
    train(run_of(small("dqn"), steps=512, every=10_000, seed=9), 1, heard, Start(checkpoint, state, fresh=True))
    end = heard.states[-1].replay_buffer
    assert end["added"][0] == 512 // 4
    assert (end["rams"][: 384 // 4] == state.replay_buffer["rams"]).all()
    assert (end["ends"][384 // 4 - 1] != 0).all(), "the old episodes do not go on into the new ones"


@pytest.mark.parametrize("what", ["added", "actions"])
def test_a_replay_buffer_that_makes_no_sense_is_refused_in_one_line(
    what: str, trained: tuple[Checkpoint, TrainingState, Recorder], tmp_path: Path
) -> None:
    checkpoint, state, _ = trained
    forged = replace(state, replay_buffer={**state.replay_buffer, what: state.replay_buffer[what] + 90})
    write_state(forged, "0" * 64, tmp_path / "state")
    start = Start(checkpoint, read_state(tmp_path / "state", "0" * 64))
    with pytest.raises(DamagedError, match=r"^the training's state at step 384 makes no sense: .*replay buffer"):
        train(run_of(small("dqn"), steps=768), 1, Recorder(), start)
    nothing = replace(state, replay_buffer={**state.replay_buffer, what: state.replay_buffer[what][:0]})
    with pytest.raises(DamagedError, match=r"^the training's state at step 384 makes no sense"):
        train(run_of(small("dqn"), steps=768), 1, Recorder(), Start(checkpoint, nothing))
    write_state(TrainingState(state.counters, state.optimizer, state.environments), "0" * 64, tmp_path / "bare")
    start = Start(checkpoint, read_state(tmp_path / "bare", "0" * 64))
    with pytest.raises(DamagedError, match=r"^the training's state at step 384 makes no sense"):
        train(run_of(small("dqn"), steps=768), 1, Recorder(), start)
