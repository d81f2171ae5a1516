"""DQN and QRDQN with rollouts from the worker pool; training is their own `train()`.

`collect_rollouts` is overridden to have the workers collect a rollout, each environment sampling random actions from
its own generator, and to add it to a replay buffer of RAM (tasks/arcade/rollouts/replay_buffer.py). `train()` takes its
gradient steps between two rollouts. The exploration rate is that of Stable-Baselines3's schedule at the start of the
rollout; before `learning_starts` all actions are random. The overrides rely on internals of Stable-Baselines3 and
sb3-contrib, last tried with 2.9.2 of both.
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
from tasks.arcade.learner.networks import mlp, weights_as_arrays
from tasks.arcade.learner.on_policy import monitor_infos, single_threaded
from tasks.arcade.learner.reward_scaling import RewardScaler
from tasks.arcade.learner.vec_env import RolloutVecEnv
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.q_network import EXPLORATION
from tasks.arcade.rollouts.off_policy import Transitions
from tasks.arcade.rollouts.replay_buffer import TransitionBuffer
from tasks.arcade.settings.algorithms import OffPolicySettings
from tasks.arcade.settings.networks import QNetworkSettings
from tasks.arcade.settings.run import ApproachSettings


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
    body, hidden = mlp(n_features, network.layers, network)
    return nn.Sequential(*body, nn.Linear(hidden, n_out))


class RamReplayBuffer(BaseBuffer):
    """Replay buffer for Stable-Baselines3's `train()`: computes features and transforms rewards of sampled batches.

    Attributes:
        transitions: the stored transitions.
        features: feature extractor with the current statistics.
        reward_scaler: reward transformation.
        terminal_on_life_loss: treat a lost life as the end of an episode.
    """

    features: Features
    reward_scaler: RewardScaler
    terminal_on_life_loss = False

    def __init__(self, buffer_size: int, *args: Any, optimize_memory_usage: bool = False, **kwargs: Any) -> None:
        super().__init__(buffer_size, *args, **kwargs)
        self.transitions = TransitionBuffer(buffer_size, self.n_envs)

    def sample(self, batch_size: int, env: object = None) -> ReplayBufferSamples:
        """Sample a batch; everything is float32 except the actions."""
        batch = self.transitions.sample(batch_size)
        done = batch.terminated | batch.life_losses if self.terminal_on_life_loss else batch.terminated
        return ReplayBufferSamples(
            observations=torch.from_numpy(self.features(batch.rams, batch.previous)),
            actions=torch.from_numpy(batch.actions[:, None]),
            next_observations=torch.from_numpy(self.features(batch.next_rams, batch.rams)),
            dones=torch.from_numpy(done[:, None].astype(np.float32)),
            rewards=torch.from_numpy(self.reward_scaler.transform(batch.rewards)[:, None]),
        )

    def _get_samples(self, batch_inds: np.ndarray, env: object = None) -> ReplayBufferSamples:
        raise NotImplementedError("transitions are sampled at random: use sample")


class OffPolicyRolloutMixin(OffPolicyAlgorithm):
    """Mixin for a value-based algorithm: the worker pool collects its rollouts, into a replay buffer of RAM.

    Attributes:
        stop_requested: collect no further rollout.
        net: name of the online network in the state dict.
    """

    env: RolloutVecEnv
    stop_requested = False
    net = "q_net"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"replay_buffer_class": RamReplayBuffer})

    def configure(self, approach: ApproachSettings) -> None:
        """Set what Stable-Baselines3's constructor has no arguments for."""
        algorithm = approach.algorithm
        assert isinstance(algorithm, OffPolicySettings)
        self.buffer.reward_scaler = RewardScaler(approach.reward, self.env.num_envs, self.gamma)
        self.buffer.features = self.env.features()
        self.buffer.terminal_on_life_loss = algorithm.terminal_on_life_loss

    @property
    def buffer(self) -> RamReplayBuffer:
        """The replay buffer."""
        assert isinstance(self.replay_buffer, RamReplayBuffer)
        return self.replay_buffer

    @property
    def reward_scaler(self) -> RewardScaler:
        """The reward transformation."""
        return self.buffer.reward_scaler

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
        """Have the workers collect one rollout; callbacks get its steps one by one once it is complete."""
        assert isinstance(env, RolloutVecEnv)
        callback.on_rollout_start()
        if self.stop_requested:
            return RolloutReturn(0, 0, continue_training=False)
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        if not env.pool.rollout_pending:
            exploration_rate = np.array(self._exploration_rate(learning_starts), np.float32)
            env.start_rollout({**self.weights(), EXPLORATION: exploration_rate})
        rollout = env.collect_rollout()
        assert isinstance(rollout, Transitions)
        rewards = rollout.rewards.copy()
        self.buffer.transitions.add(rollout)
        self.buffer.features = env.features()
        self.reward_scaler.update(rewards, rollout.starts)
        step_infos = monitor_infos(rollout.episodes, self.start_time)
        for step in range(train_freq.frequency):
            self.num_timesteps += env.num_envs
            infos = step_infos.get(step, [])
            callback.update_locals({"self": self, "infos": infos, "rewards": rewards[step]})
            if not callback.on_step():
                return RolloutReturn((step + 1) * env.num_envs, len(rollout.episodes), continue_training=False)
            self._update_info_buffer(infos)
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            self._on_step()
        before, self._episode_num = self._episode_num, self._episode_num + len(rollout.episodes)
        # Stable-Baselines3 logs every `log_interval` episodes; here at most once per rollout.
        if log_interval is not None and self._episode_num // log_interval > before // log_interval:
            self.dump_logs()
        callback.on_rollout_end()
        return RolloutReturn(train_freq.frequency * env.num_envs, len(rollout.episodes), continue_training=True)

    def _exploration_rate(self, learning_starts: int) -> float:
        if self.num_timesteps < learning_starts:
            return 1.0
        return float(self.exploration_schedule(self._current_progress_remaining))  # type: ignore[attr-defined]

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Run Stable-Baselines3's `train()`, single-threaded."""
        with single_threaded():
            super().train(gradient_steps, batch_size)

    def weights(self) -> Weights:
        """Return the weights that the workers play with and a checkpoint stores."""
        return weights_as_arrays(self.policy, f"{self.net}.")

    def target(self) -> Weights:
        """Return the weights of the target network."""
        return weights_as_arrays(self.policy, f"{self.net}_target.")

    def restore_replay_buffer(self, arrays: Arrays) -> None:
        """Restore the replay buffer as of `num_timesteps`.

        Raises:
            ValueError: If the arrays are not those of such a buffer.
        """
        env = self.env
        self.buffer.transitions.restore(arrays, int(env.action_space.n))  # type: ignore[attr-defined]
        self.buffer.features = env.features()
        self._n_calls = self.num_timesteps // env.num_envs


class RolloutDQN(OffPolicyRolloutMixin, DQN):
    """DQN with rollouts from the worker pool."""


class RolloutQRDQN(OffPolicyRolloutMixin, QRDQN):
    """QRDQN with rollouts from the worker pool."""

    net = "quantile_net"
