"""RecurrentPPO trains on the workers' rollouts and recurrent states, and resumes with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training_runs import (
    MidRolloutInterruptRecorder,
    NoOpCallback,
    Recorder,
    assert_same_end,
    equal_weights,
    small_approach,
    small_run,
    with_scaled_ram,
    without_timings,
)
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer
from stable_baselines3.common.vec_env import DummyVecEnv

from tasks.arcade.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tasks.arcade.checkpoints.training_state import TrainingState, read_state, write_state
from tasks.arcade.checkpoints.verified_folder import DamagedFolderError
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.inputs.settings_file import HyperparameterError, read_settings_file, with_hyperparameters
from tasks.arcade.learner import ResumePoint, build_model, train
from tasks.arcade.learner.recurrent import RecurrentRamPolicy, RolloutRecurrentPPO
from tasks.arcade.rollouts.specification import rollout_settings
from tasks.arcade.rollouts.worker_pool import WorkerPool
from tasks.arcade.settings.algorithms import RecurrentPpoSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.run import RunSettings


@pytest.fixture(scope="module")
def trained() -> tuple[Checkpoint, TrainingState, Recorder]:
    recorder = Recorder()
    train(small_run(small_approach("recurrent-ppo")), 2, recorder)
    return recorder.checkpoints[0], recorder.states[0], recorder


def test_weights_depend_on_the_seed_not_on_the_number_of_workers(
    trained: tuple[Checkpoint, TrainingState, Recorder],
) -> None:
    before, _, whole = trained
    assert not equal_weights(before.weights, whole.checkpoints[-1].weights)
    for workers in (1, 4):
        recorder = Recorder()
        train(small_run(small_approach("recurrent-ppo")), workers, recorder)
        assert equal_weights(recorder.checkpoints[-1].weights, whole.checkpoints[-1].weights)
        assert recorder.states[-1].environments == whole.states[-1].environments
    assert len({one.recurrent_state for one in whole.states[-1].environments}) == 4


@pytest.mark.parametrize("pipelined", [False, True])
def test_resume_is_bit_for_bit(
    pipelined: bool, trained: tuple[Checkpoint, TrainingState, Recorder], tmp_path: Path
) -> None:
    """Two workers at first, one after the resume; a pending rollout is collected again from its recurrent states."""
    settings, whole, resumed = small_run(small_approach("recurrent-ppo", pipelined=pipelined)), trained[2], Recorder()
    if pipelined:
        settings = settings.model_copy(update={"game": resolve("Breakout-v0")})
        whole = Recorder()
        train(settings, 2, whole)
        assert whole.states[0].playing
    write_checkpoint(whole.checkpoints[0], tmp_path / "step")
    write_state(whole.states[0], "0" * 64, tmp_path / "state")
    start = ResumePoint(read_checkpoint(tmp_path / "step"), read_state(tmp_path / "state", "0" * 64))
    assert all(np.frombuffer(one.recurrent_state, np.float32).any() for one in start.state.environments)
    train(settings, 1, resumed, start)
    assert_same_end(resumed, whole)
    logged = [(step, without_timings(values)) for step, values in whole.logged if step > whole.checkpoints[0].step]
    assert [(step, without_timings(values)) for step, values in resumed.logged] == logged


def test_interrupt_saves_the_recurrent_states_before_the_rollout() -> None:
    longer = small_approach("recurrent-ppo", n_envs=2)
    more = longer.algorithm.model_copy(update={"n_steps": 512, "batch_size": 1024, "n_epochs": 1})
    settings = small_run(longer.model_copy(update={"algorithm": more}), steps=2000, every=100_000)
    uninterrupted, interrupted, resumed = Recorder(), MidRolloutInterruptRecorder(), Recorder()
    train(settings, 1, uninterrupted)
    train(settings, 1, interrupted)
    assert [one.step for one in interrupted.checkpoints] == [1024, 2048]
    train(settings, 1, resumed, ResumePoint(interrupted.checkpoints[0], interrupted.states[0]))
    for other in (interrupted, resumed):
        assert_same_end(other, uninterrupted)


def test_training_batches_reproduce_the_workers_values_and_log_probabilities() -> None:
    """Before the first update, torch reproduces the workers' values and log-probabilities on every sequence."""
    approach = small_approach("recurrent-ppo")
    even_handed = approach.algorithm.model_copy(update={"no_reward_logit_noise": 0.0})
    settings = small_run(approach.model_copy(update={"algorithm": even_handed}))
    with WorkerPool(rollout_settings(settings.game, settings.approach, 0), 2) as pool:
        model = build_model(settings, pool)
        assert isinstance(model, RolloutRecurrentPPO)
        model.learn(128)
        model.collect_rollouts(model.env, NoOpCallback().init(model), model.rollout_buffer, 32)
    buffer = model.rollout_buffer
    assert isinstance(buffer, RecurrentRolloutBuffer)
    assert np.abs(buffer.hidden_states_pi[0]).max() > 0, "the rollout starts in mid-episode"
    assert buffer.episode_starts.sum() == 4
    seen = 0
    for batch in buffer.get(50):
        mask = batch.mask > 0
        with torch.no_grad():
            given = batch.observations, batch.actions.long().flatten(), batch.lstm_states, batch.episode_starts
            values, log_probs, _ = model.policy.evaluate_actions(*given)
        assert (values.flatten() - batch.old_values)[mask].abs().max() < 1e-5
        assert (log_probs - batch.old_log_prob)[mask].abs().max() < 1e-5
        seen += int(mask.sum())
    assert seen == 128


def test_rollout_buffer_and_recurrent_states_equal_sb3_contribs_own() -> None:
    """Collect the same episodes with the same policy by sb3-contrib and by the workers, and compare the buffers."""
    approach_ = small_approach("recurrent-ppo", n_envs=1, features=FeatureSettings(kind="scaled"), reward="raw")
    more = approach_.algorithm.model_copy(update={"n_steps": 100, "batch_size": 50})
    settings = small_run(approach_.model_copy(update={"algorithm": more}))
    with WorkerPool(rollout_settings(settings.game, settings.approach, 0), 1) as pool:
        ours = build_model(settings, pool)
        ours._setup_learn(100)
        ours.collect_rollouts(ours.env, NoOpCallback().init(ours), ours.rollout_buffer, 100)
    reset_seed, _ = np.random.SeedSequence(0, spawn_key=(0, 0)).generate_state(2)
    theirs = RecurrentPPO(
        RecurrentRamPolicy,
        DummyVecEnv([lambda: with_scaled_ram(make_env(settings.game))]),
        n_steps=100,
        device="cpu",
        gamma=ours.gamma,
        gae_lambda=ours.gae_lambda,
        policy_kwargs={"network": more.network},
    )
    theirs.policy.load_state_dict(ours.policy.state_dict())
    actions = ours.rollout_buffer.actions[:, 0, 0].astype(int).tolist()
    theirs.policy.forward = _replaying(theirs.policy, actions)  # type: ignore[method-assign]
    theirs.env.seed(int(reset_seed))
    theirs._setup_learn(100)
    theirs.collect_rollouts(theirs.env, NoOpCallback().init(theirs), theirs.rollout_buffer, 100)
    one, other = ours.rollout_buffer, theirs.rollout_buffer
    for name in ("observations", "rewards", "episode_starts", "values", "log_probs", "advantages", "returns"):
        assert np.allclose(getattr(one, name), getattr(other, name), atol=1e-4), name
    assert np.abs(one.rewards[[39, 79]]).min() > 1e-4, "the time limit is bootstrapped"
    within = one.episode_starts[:, 0] == 0
    assert (~within).sum() == 3
    for name in ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf"):
        assert np.allclose(getattr(one, name)[within], getattr(other, name)[within], atol=1e-5), name
        assert not getattr(one, name)[~within].any(), name


def _replaying(policy: Any, actions: list[int]) -> Any:
    """Return sb3-contrib's forward pass with predefined actions."""
    left, forward = iter(actions), policy.forward

    def replaying(observations: torch.Tensor, states: Any, starts: torch.Tensor, deterministic: bool = False) -> Any:
        action = torch.tensor([next(left)])
        values, log_prob, _ = policy.evaluate_actions(observations, action, states, starts)
        return action, values, log_prob, forward(observations, states, starts)[3]

    return replaying


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (np.zeros(7, np.float32), "environment 1 has 28 bytes of recurrent state, expected 128"),
        (np.zeros(0, np.float32), "environment 1 has 0 bytes of recurrent state, expected 128"),
        (
            np.full(32, np.nan, np.float32),
            "environments.safetensors has an invalid 1.memory: expected up to 4096 finite floats",
        ),
        (
            np.zeros(5000, np.float32),
            "environments.safetensors has an invalid 1.memory: expected up to 4096 finite floats",
        ),
    ],
)
def test_invalid_recurrent_state_is_rejected_in_one_line(
    memory: np.ndarray, said: str, trained: tuple[Checkpoint, TrainingState, Recorder], tmp_path: Path
) -> None:
    checkpoint, state, _ = trained
    first, second, *others = state.environments
    forged = replace(state, environments=(first, replace(second, recurrent_state=memory.tobytes()), *others))
    write_state(forged, "0" * 64, tmp_path / "state")
    with pytest.raises(DamagedFolderError) as refused:
        train(
            small_run(small_approach("recurrent-ppo")),
            1,
            Recorder(),
            ResumePoint(checkpoint, read_state(tmp_path / "state", "0" * 64)),
        )
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_settings_file_accepts_rl_baselines3_zoos_lstm_keys(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("""
        approach = "recurrent-ppo"
        policy = "MlpLstmPolicy"
        n_steps = 64
        clip_range = "lin_0.1"
        policy_kwargs = { lstm_hidden_size = 32, enable_critic_lstm = true, n_lstm_layers = 1, net_arch = [16] }
    """)
    algorithm = read_settings_file(path).approach.algorithm
    assert isinstance(algorithm, RecurrentPpoSettings)
    assert (algorithm.n_steps, algorithm.clip_range, algorithm.network.lstm) == (64, "lin_0.1", 32)
    assert (algorithm.network.pi, algorithm.network.vf, algorithm.network.activation) == ((16,), (16,), "relu")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"enable_critic_lstm": False}, "enable_critic_lstm: true, actor and critic have separate LSTMs, got False"),
        ({"shared_lstm": True}, "shared_lstm: false"),
        ({"n_lstm_layers": 2}, "n_lstm_layers: 1, each LSTM has one layer, got 2"),
        ({"n_lstm_layers": True}, "n_lstm_layers: 1"),
        ({"lstm_hidden_size": 0}, "lstm_hidden_size: units from 1 to 1,024, got 0"),
        ({"lstm_hidden_size": 1.5}, "lstm_hidden_size"),
        ({"lstm_size": 8}, "Did you mean 'lstm_hidden_size'?"),
    ],
)
def test_invalid_lstm_setting_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(HyperparameterError) as refused:
        with_hyperparameters(approach("recurrent-ppo"), {"policy_kwargs": given})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(HyperparameterError, match=r"policy_kwargs\.\w+ is not a key of policy_kwargs"):
        with_hyperparameters(approach("ppo"), {"policy_kwargs": given})


def test_batch_of_a_single_step_is_rejected() -> None:
    settings = small_run(small_approach("recurrent-ppo"))
    algorithm = settings.approach.algorithm.model_copy(update={"batch_size": 127})
    lonely = settings.approach.model_copy(update={"algorithm": algorithm})
    with pytest.raises(ValueError, match="batch_size 127 leaves a last batch of one of the rollout's 128 steps"):
        RunSettings.model_validate({**dict(settings), "approach": lonely})
    with pytest.raises(HyperparameterError, match="pixels require convolutions"):
        with_hyperparameters(approach("recurrent-ppo"), {"features": {"kind": "pixels"}})
