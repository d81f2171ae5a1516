"""An exported checkpoint loads in Stable-Baselines3 and plays the same actions."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FrameStackObservation
from helpers.training_runs import Recorder, small_approach, small_run
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DQN, PPO

from tasks.arcade.checkpoints.checkpoint import unlearned_checkpoint
from tasks.arcade.learner import ExportError, export, train
from tasks.arcade.policies.q_network import QPolicy
from tasks.arcade.settings.approaches import approach


@pytest.mark.parametrize(
    ("name", "algorithm"), [("ppo-tuned", PPO), ("ppo-embeddings", PPO), ("ppo-bits", PPO), ("a2c", A2C)]
)
def test_exported_zip_plays_the_same_actions_in_stable_baselines3(
    name: str, algorithm: type[PPO | A2C], tmp_path: Path
) -> None:
    recorder = Recorder()
    train(small_run(small_approach(name), steps=9000 if name == "ppo-tuned" else 256), 2, recorder)
    checkpoint = recorder.checkpoints[-1]
    export(checkpoint, tmp_path / "model.zip")
    model = algorithm.load(tmp_path / "model.zip", device="cpu")
    assert model.num_timesteps == checkpoint.step
    agent = checkpoint.agent()
    decide = agent.start_episode()
    env = FrameStackObservation(gymnasium.make("ALE/Pong-v5", obs_type="ram"), 2)
    observation, _ = env.reset(seed=3)
    for _ in range(200):
        previous, ram = np.asarray(observation)
        ours = agent.policy.logits(agent.features(ram[None], previous[None]))[0]
        with torch.no_grad():
            tensor, _ = model.policy.obs_to_tensor(observation)
            theirs = model.policy.get_distribution(tensor).distribution.logits[0].numpy()
        assert np.abs((ours - ours.max()) - (theirs - theirs.max())).max() < 1e-4
        action, _ = model.predict(observation, deterministic=True)
        assert action == decide(ram, previous, None)
        observation, *_ = env.step(action)
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


@pytest.mark.parametrize(("name", "algorithm"), [("dqn", DQN), ("qrdqn", QRDQN)])
def test_exported_value_based_zip_plays_the_same_greedy_actions(
    name: str, algorithm: type[DQN | QRDQN], tmp_path: Path
) -> None:
    recorder = Recorder()
    train(small_run(small_approach(name), steps=512), 2, recorder)
    checkpoint = recorder.checkpoints[-1]
    export(checkpoint, tmp_path / "model.zip")
    model = algorithm.load(tmp_path / "model.zip", device="cpu")
    assert (model.num_timesteps, model.exploration_rate) == (512, 0.01)
    agent = checkpoint.agent()
    decide = agent.start_episode()
    assert isinstance(agent.policy, QPolicy)
    env = FrameStackObservation(gymnasium.make("ALE/Pong-v5", obs_type="ram"), 2)
    observation, _ = env.reset(seed=3)
    for _ in range(200):
        previous, ram = np.asarray(observation)
        q_values = agent.policy.q_values(agent.features(ram[None], previous[None]))[0]
        with torch.no_grad():
            tensor, _ = model.policy.obs_to_tensor(observation)
            theirs = model.q_net(tensor) if isinstance(model, DQN) else model.quantile_net(tensor).mean(dim=1)
        assert np.abs(q_values - theirs[0].numpy()).max() < 1e-4
        action, _ = model.predict(observation, deterministic=True)
        assert action == decide(ram, previous, None)
        observation, *_ = env.step(action)


def test_baseline_without_learning_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="random does not learn"):
        export(unlearned_checkpoint(small_run(approach("random"))), tmp_path / "model.zip")
    assert list(tmp_path.iterdir()) == []
