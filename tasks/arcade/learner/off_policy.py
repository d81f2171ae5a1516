"""Stable-Baselines3's DQN and sb3-contrib's QRDQN over whole rollouts: what learns is their own `train()`.

As in `algorithm.py` only `collect_rollouts` differs: the workers play a rollout with the network as it is, each
environment drawing its random actions from its own generator, and the rollout goes into a replay buffer of RAM
(tasks/arcade/rollouts/replay_buffer.py). Between two rollouts `train()` takes its gradient steps. Exploration is what
Stable-Baselines3's schedule says at the rollout's beginning; before `learning_starts` all actions are random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sb3_contrib import QRDQN
from sb3_contrib.qrdqn.policies import QRDQNPolicy, QuantileNetwork
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples, RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from tasks.arcade.checkpoints.verified_folder import Arrays
from tasks.arcade.learner.networks import arrays_of, layers
from tasks.arcade.learner.on_policy import episodes_ended, one_thread
from tasks.arcade.learner.reward_scaling import RewardScale
from tasks.arcade.learner.vec_env import RolloutVecEnv
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.q_network import EXPLORATION
from tasks.arcade.rollouts.off_policy import Transitions
from tasks.arcade.rollouts.replay_buffer import TransitionBuffer
from tasks.arcade.settings.networks import QNetworkSettings


class RamQPolicy(DQNPolicy):
    """DQN's policy with the layers of a `QNetworkSettings`."""

    def __init__(self, *args: Any, network: QNetworkSettings, **kwargs: Any) -> None:
        self._network = network
        super().__init__(*args, **kwargs | {"net_arch": []})

    def make_q_net(self) -> QNetwork:
        net = super().make_q_net()
        net.q_net = _with_head(self._network, net.features_dim, int(net.action_space.n))
        return net


class RamQuantilePolicy(QRDQNPolicy):
    """QR-DQN's policy with the layers of a `QNetworkSettings`."""

    def __init__(self, *args: Any, network: QNetworkSettings, **kwargs: Any) -> None:
        self._network = network
        super().__init__(*args, **kwargs | {"net_arch": []})

    def make_quantile_net(self) -> QuantileNetwork:
        net = super().make_quantile_net()
        net.quantile_net = _with_head(self._network, net.features_dim, int(net.action_space.n) * net.n_quantiles)
        return net


def _with_head(network: QNetworkSettings, n_features: int, n_out: int) -> nn.Sequential:
    body, hidden = layers(n_features, network.layers, network)
    return nn.Sequential(*body, nn.Linear(hidden, n_out))


class RamReplayBuffer(BaseBuffer):
    """A `TransitionBuffer` as Stable-Baselines3's `train()` draws from it: features, and what is learned from rewards.

    Attributes:
        kept: the transitions.
        features: by which RAM becomes the network's input, with today's statistics.
        reward_scale: by which rewards become what is learned from.
        terminal_on_life_loss: nothing is to come after a lost life.
    """

    features: Features
    reward_scale: RewardScale
    terminal_on_life_loss = False

    def __init__(self, buffer_size: int, *args: Any, optimize_memory_usage: bool = False, **kwargs: Any) -> None:
        super().__init__(buffer_size, *args, **kwargs)
        self.kept = TransitionBuffer(buffer_size, self.n_envs)

    def sample(self, batch_size: int, env: object = None) -> ReplayBufferSamples:
        """Transitions, float32 but for the actions."""
        batch = self.kept.draw(batch_size)
        last = batch.terminated | batch.lost if self.terminal_on_life_loss else batch.terminated
        return ReplayBufferSamples(
            observations=torch.from_numpy(self.features(batch.rams, batch.previous)),
            actions=torch.from_numpy(batch.actions[:, None]),
            next_observations=torch.from_numpy(self.features(batch.next_rams, batch.rams)),
            dones=torch.from_numpy(last[:, None].astype(np.float32)),
            rewards=torch.from_numpy(self.reward_scale.of(batch.rewards)[:, None]),
        )

    def _get_samples(self, batch_inds: np.ndarray, env: object = None) -> ReplayBufferSamples:
        raise NotImplementedError("transitions are drawn at random; use sample")


class OffPolicyRollouts(OffPolicyAlgorithm):
    """Mixed into a value-based algorithm: rollouts come from the workers, and go into a buffer of RAM."""

    env: RolloutVecEnv
    over = False
    net = "q_net"

    @property
    def buffer(self) -> RamReplayBuffer:
        """The replay buffer."""
        assert isinstance(self.replay_buffer, RamReplayBuffer)
        return self.replay_buffer

    @property
    def reward_scale(self) -> RewardScale:
        """By which rewards become what is learned from."""
        return self.buffer.reward_scale

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: Any,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Have the workers play one rollout; callbacks see its steps one after the other when it is there."""
        assert isinstance(env, RolloutVecEnv)
        callback.on_rollout_start()
        if self.over:
            return RolloutReturn(0, 0, continue_training=False)
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        if not env.pool.under_way:
            env.begin({**self.weights(), EXPLORATION: np.array(self._exploration(learning_starts), np.float32)})
        played = env.collect()
        assert isinstance(played, Transitions)
        rewards = played.rewards.copy()
        self.buffer.kept.add(played)
        self.buffer.features = env.features()
        self.reward_scale.see(rewards, played.starts)
        ended = episodes_ended(played.episodes, self.start_time)
        for step in range(train_freq.frequency):
            self.num_timesteps += env.num_envs
            infos = ended.get(step, [])
            callback.update_locals({"self": self, "infos": infos, "rewards": rewards[step]})
            if not callback.on_step():
                return RolloutReturn((step + 1) * env.num_envs, len(played.episodes), continue_training=False)
            self._update_info_buffer(infos)
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            self._on_step()
        before, self._episode_num = self._episode_num, self._episode_num + len(played.episodes)
        # Stable-Baselines3 logs every so many episodes; here once a rollout at most.
        if log_interval is not None and self._episode_num // log_interval > before // log_interval:
            self.dump_logs()
        callback.on_rollout_end()
        return RolloutReturn(train_freq.frequency * env.num_envs, len(played.episodes), continue_training=True)

    def _exploration(self, learning_starts: int) -> float:
        if self.num_timesteps < learning_starts:
            return 1.0
        return float(self.exploration_schedule(self._current_progress_remaining))  # type: ignore[attr-defined]

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Stable-Baselines3's own, on one thread."""
        with one_thread():
            super().train(gradient_steps, batch_size)

    def weights(self) -> Weights:
        """What the workers play with, and what a checkpoint keeps."""
        return arrays_of(self.policy, f"{self.net}.")

    def target(self) -> Weights:
        """The target network's weights."""
        return arrays_of(self.policy, f"{self.net}_target.")

    def restore(self, replay_buffer: Arrays) -> None:
        """Go on with a replay buffer's arrays, at the step that `num_timesteps` says.

        Raises:
            ValueError: they are not those of such a buffer.
        """
        env = self.env
        self.buffer.kept.restore(replay_buffer, int(env.action_space.n))  # type: ignore[attr-defined]
        self.buffer.features = env.features()
        self._n_calls = self.num_timesteps // env.num_envs


class RolloutDQN(OffPolicyRollouts, DQN):
    """Stable-Baselines3's DQN, its rollouts played by worker processes."""


class RolloutQRDQN(OffPolicyRollouts, QRDQN):
    """sb3-contrib's QRDQN, its rollouts played by worker processes."""

    net = "quantile_net"
