"""DQN and QR-DQN train on the workers' transitions, independently of the number of workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training_runs import Recorder, assert_resume_is_bit_for_bit, equal_weights, small_approach, small_run
from stable_baselines3.common.callbacks import BaseCallback

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.training_state import TrainingState, read_state, write_state
from tasks.arcade.checkpoints.verified_folder import DamagedFolderError
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.learner import ResumePoint, build_model, train
from tasks.arcade.learner.off_policy import OffPolicyRolloutMixin, RamReplayBuffer
from tasks.arcade.learner.vec_env import RolloutVecEnv
from tasks.arcade.rollouts.specification import rollout_settings
from tasks.arcade.rollouts.worker_pool import WorkerPool
from tasks.arcade.settings.run import RunSettings


@pytest.fixture(scope="module")
def trained() -> tuple[Checkpoint, TrainingState, Recorder]:
    recorder = Recorder()
    train(small_run(small_approach("dqn"), steps=768, every=384), 2, recorder)
    return recorder.checkpoints[0], recorder.states[0], recorder


def test_weights_depend_on_the_seed_not_on_the_number_of_workers(
    trained: tuple[Checkpoint, TrainingState, Recorder],
) -> None:
    whole = trained[2]
    for workers, seed in ((1, 0), (2, 1)):
        recorder = Recorder()
        train(small_run(small_approach("dqn"), steps=768, every=384, seed=seed), workers, recorder)
        for one, other in zip(recorder.states, whole.states, strict=True):
            assert equal_weights(one.replay_buffer, other.replay_buffer) == (seed == 0)
            assert equal_weights(one.target, other.target) == (seed == 0)
        assert equal_weights(recorder.checkpoints[-1].weights, whole.checkpoints[-1].weights) == (seed == 0)


@pytest.mark.parametrize(("name", "env_id"), [("dqn", "Breakout-v0"), ("qrdqn", "ALE/Pong-v5")])
def test_resume_is_bit_for_bit(name: str, env_id: str, tmp_path: Path) -> None:
    """Compare weights, target network, replay buffer and metrics; two workers at first, one after the resume."""
    assert_resume_is_bit_for_bit(name, False, env_id, tmp_path)


def test_exploration_is_annealed_and_target_network_is_updated(
    trained: tuple[Checkpoint, TrainingState, Recorder],
) -> None:
    _, _, recorder = trained
    rates = [values["rollout/exploration_rate"] for _, values in recorder.logged]
    assert rates[0] > rates[1] > 0.01 and rates[-1] == pytest.approx(0.01)
    for checkpoint, state in zip(recorder.checkpoints, recorder.states, strict=True):
        ahead = [checkpoint.weights[name.replace("_target", "")] for name in state.target]
        assert len(ahead) == len(checkpoint.weights)
        assert not all((one == other).all() for one, other in zip(ahead, state.target.values(), strict=True))


def test_terminal_on_life_loss_ends_returns_at_a_lost_life() -> None:
    for asked in (False, True):
        approach = small_approach("dqn")
        algorithm = approach.algorithm.model_copy(update={"terminal_on_life_loss": asked})
        settings = small_run(approach.model_copy(update={"algorithm": algorithm}))
        buffer, _ = _after_steps(settings.model_copy(update={"game": resolve("ALE/Breakout-v5")}), 1280)
        np.random.seed(5)
        dones = buffer.sample(2_000).dones[:, 0].numpy() > 0
        np.random.seed(5)
        batch = buffer.transitions.sample(2_000)
        assert batch.life_losses.any() and batch.terminated.any() and not (batch.life_losses & batch.terminated).any()
        assert (dones == (batch.terminated | batch.life_losses if asked else batch.terminated)).all()


def test_sampled_batch_has_current_features_and_transformed_rewards() -> None:
    """Compare a batch for `train()` with the transitions sampled by the same random numbers."""
    settings = small_run(small_approach("dqn", reward="sign"))
    buffer, env = _after_steps(settings, 640)
    np.random.seed(5)
    given = buffer.sample(400)
    np.random.seed(5)
    batch = buffer.transitions.sample(400)
    assert (given.observations.numpy() == env.features()(batch.rams, batch.previous)).all()
    assert (given.next_observations.numpy() == env.features()(batch.next_rams, batch.rams)).all()
    assert (given.rewards[:, 0].numpy() == np.sign(batch.rewards)).all()
    assert (given.actions[:, 0].numpy() == batch.actions).all()
    assert not given.dones.any(), "all episodes were truncated by the time limit"
    assert env.statistics.count >= 512
    assert given.observations.dtype == given.rewards.dtype == given.dones.dtype == torch.float32


def _after_steps(settings: RunSettings, steps: int) -> tuple[RamReplayBuffer, RolloutVecEnv]:
    """Return the replay buffer and the environment of a run after this many steps."""

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < steps

    with WorkerPool(rollout_settings(settings.game, settings.approach, 0), 1) as pool:
        model = build_model(settings, pool)
        assert isinstance(model, OffPolicyRolloutMixin)
        model.learn(10_000, callback=Stop())
    return model.buffer, model.env


def test_new_run_starts_from_the_replay_buffer_of_another(
    trained: tuple[Checkpoint, TrainingState, Recorder],
) -> None:
    checkpoint, state, _ = trained
    recorder = Recorder()
    train(
        small_run(small_approach("dqn"), steps=512, every=10_000, seed=9),
        1,
        recorder,
        ResumePoint(checkpoint, state, new_run=True),
    )
    end = recorder.states[-1].replay_buffer
    assert end["added"][0] == 512 // 4
    assert (end["rams"][: 384 // 4] == state.replay_buffer["rams"]).all()
    assert (end["ends"][384 // 4 - 1] != 0).all(), "old episodes do not continue in the new run"


@pytest.mark.parametrize("what", ["added", "actions"])
def test_invalid_replay_buffer_is_rejected_in_one_line(
    what: str, trained: tuple[Checkpoint, TrainingState, Recorder], tmp_path: Path
) -> None:
    checkpoint, state, _ = trained
    forged = replace(state, replay_buffer={**state.replay_buffer, what: state.replay_buffer[what] + 90})
    write_state(forged, "0" * 64, tmp_path / "state")
    start = ResumePoint(checkpoint, read_state(tmp_path / "state", "0" * 64))
    with pytest.raises(DamagedFolderError, match=r"^the training state at step 384 is invalid: .*replay buffer"):
        train(small_run(small_approach("dqn"), steps=768), 1, Recorder(), start)
    nothing = replace(state, replay_buffer={**state.replay_buffer, what: state.replay_buffer[what][:0]})
    with pytest.raises(DamagedFolderError, match=r"^the training state at step 384 is invalid"):
        train(small_run(small_approach("dqn"), steps=768), 1, Recorder(), ResumePoint(checkpoint, nothing))
    write_state(TrainingState(state.counters, state.optimizer, state.environments), "0" * 64, tmp_path / "bare")
    start = ResumePoint(checkpoint, read_state(tmp_path / "bare", "0" * 64))
    with pytest.raises(DamagedFolderError, match=r"^the training state at step 384 is invalid"):
        train(small_run(small_approach("dqn"), steps=768), 1, Recorder(), start)
