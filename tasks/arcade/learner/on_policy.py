"""Stable-Baselines3's on-policy algorithms with rollouts from the worker pool.

`RolloutPPO` and `RolloutA2C` are subclasses of `PPO` and `A2C` and inherit `learn`, callbacks, logger and `save`.
`collect_rollouts` is overridden to have the workers collect a rollout and to fill the RolloutBuffer with it. That and
`dump_logs` rely on internals of Stable-Baselines3, last tried with 2.9.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from tasks.arcade.learner.networks import active_features_only, weights_as_arrays
from tasks.arcade.learner.reward_scaling import RewardScaler
from tasks.arcade.learner.sb3_arguments import schedule_function
from tasks.arcade.learner.two_networks import TwoNetworkPPO
from tasks.arcade.learner.vec_env import DivergedError, RolloutVecEnv
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.rollouts.environment import LOGIT_NOISE
from tasks.arcade.rollouts.on_policy import FinishedEpisode, Rollout
from tasks.arcade.settings.algorithms import ActorCriticSettings, ClippedSettings
from tasks.arcade.settings.run import ApproachSettings


def monitor_infos(episodes: Iterable[FinishedEpisode], start_time: float) -> dict[int, list[dict[str, Any]]]:
    """Return, by step of the rollout, the info dicts of Stable-Baselines3's Monitor for the finished episodes.

    Args:
        episodes: finished episodes.
        start_time: start of training in nanoseconds, as Stable-Baselines3 keeps it.
    """
    infos: dict[int, list[dict[str, Any]]] = {}
    seconds = round(time.time() - start_time / 1e9, 6)
    for episode in episodes:
        info = {"r": episode.episode_return, "l": episode.length, "t": seconds}
        infos.setdefault(episode.step, []).append({"episode": info})
    return infos


@contextmanager
def single_threaded() -> Iterator[None]:
    """Run torch's operations on one thread, because sums depend on how they are split among threads.

    A second thread would save a quarter of the time on an idle machine, and cost ten times as much on a busy one, where
    threads wait for each other at every layer.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class OnPolicyRolloutMixin(OnPolicyAlgorithm):
    """Mixin for an on-policy algorithm: the worker pool collects its rollouts.

    Attributes:
        pipelined: collect the next rollout while training on the last one.
        terminal_on_life_loss: treat a lost life as the end of an episode when learning.
        logit_noise: standard deviation of the logit noise after a rollout without reward; 0 to disable.
        stop_requested: collect no further rollout.
        ent_coef_schedule: entropy coefficient by remaining progress.
        reward_scaler: reward transformation.
    """

    env: RolloutVecEnv
    reward_scaler: RewardScaler
    pipelined = False
    terminal_on_life_loss = False
    logit_noise = 0.0
    stop_requested = False
    ent_coef_schedule: Callable[[float], float]

    def configure(self, approach: ApproachSettings) -> None:
        """Set what Stable-Baselines3's constructor has no arguments for."""
        algorithm = approach.algorithm
        assert isinstance(algorithm, ActorCriticSettings)
        self.pipelined, self.terminal_on_life_loss = algorithm.pipelined, algorithm.terminal_on_life_loss
        self.ent_coef_schedule = schedule_function(algorithm.ent_coef)
        if isinstance(algorithm, ClippedSettings):
            self.logit_noise = algorithm.no_reward_logit_noise
        self.reward_scaler = RewardScaler(approach.reward, self.n_envs, self.gamma)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Have the workers collect one rollout; callbacks get its steps one by one once it is complete."""
        assert isinstance(env, RolloutVecEnv)
        callback.on_rollout_start()
        if self.stop_requested:
            return False
        if not env.pool.rollout_pending:
            env.start_rollout(self._rollout_weights())
        rollout = env.collect_rollout()
        assert isinstance(rollout, Rollout)
        rewards = rollout.rewards.copy()
        self._fill(rollout_buffer, rollout)
        if self.pipelined and self.num_timesteps + n_rollout_steps * env.num_envs < self._total_timesteps:
            env.start_rollout(self._rollout_weights())
        step_infos = monitor_infos(rollout.episodes, self.start_time)
        for step in range(n_rollout_steps):
            self.num_timesteps += env.num_envs
            infos = step_infos.get(step, [])
            callback.update_locals({"self": self, "infos": infos, "rewards": rewards[step], "n_steps": step})
            if not callback.on_step():
                return False
            self._update_info_buffer(infos)
        callback.update_locals({"rollout_buffer": rollout_buffer})
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Update the networks by the rollout, single-threaded and without inactive features.

        Raises:
            DivergedError: If the logits become non-finite.
        """
        self.ent_coef = self.ent_coef_schedule(self._current_progress_remaining)
        try:
            with single_threaded(), active_features_only(self.policy, self.rollout_buffer):
                super().train()
        except ValueError as error:
            # torch's distributions refuse NaN logits, and print every one of them.
            if "invalid values" not in str(error):
                raise
            raise DivergedError.of_logits(self.num_timesteps) from None

    def weights(self) -> Weights:
        """Return the weights that a checkpoint stores."""
        return weights_as_arrays(self.policy)

    def _rollout_weights(self) -> Weights:
        """Return what the workers need to collect the next rollout.

        After a rollout without any reward they get logit noise: an environment that prefers some actions for a whole
        rollout explores further than independent samples do (temporally extended exploration, Dabney et al. 2021).
        """
        if self.logit_noise > 0 and self.reward_scaler.no_reward:
            return {**self.weights(), LOGIT_NOISE: np.array(self.logit_noise, np.float32)}
        return self.weights()

    def dump_logs(self, iteration: int = 0) -> None:
        """Log as Stable-Baselines3 does, but count the iterations of the whole run after a resume."""
        super().dump_logs(iteration and self.n_rollouts)

    @property
    def n_rollouts(self) -> int:
        """Number of rollouts collected since the start of the run."""
        return self.num_timesteps // (self.n_steps * self.n_envs)

    def _fill(self, buffer: RolloutBuffer, rollout: Rollout) -> None:
        starts, last_starts = rollout.starts, rollout.last_starts
        if self.terminal_on_life_loss:
            starts, last_starts = rollout.life_starts()
        buffer.reset()
        buffer.observations[:] = rollout.features.reshape(buffer.observations.shape)
        buffer.actions[:] = rollout.actions[..., None]
        # Truncation by the time limit is not termination: bootstrap the final value (SB3 issue 633).
        buffer.rewards[:] = self.reward_scaler(rollout.rewards, rollout.starts) + self.gamma * rollout.bootstraps
        buffer.episode_starts[:] = starts
        buffer.values[:] = rollout.values
        buffer.log_probs[:] = rollout.log_probs
        buffer.pos, buffer.full = buffer.buffer_size, True
        buffer.compute_returns_and_advantage(torch.from_numpy(rollout.last_values), last_starts)
        # The recurrent state lasts for a whole episode, however many lives it has.
        buffer.episode_starts[:] = rollout.starts


class RolloutPPO(OnPolicyRolloutMixin, TwoNetworkPPO):
    """PPO with rollouts from the worker pool."""


class RolloutA2C(OnPolicyRolloutMixin, A2C):
    """A2C with rollouts from the worker pool."""

    def learn(
        self, total_timesteps: int, callback: MaybeCallback = None, log_interval: int = 100, *args: Any, **kwargs: Any
    ) -> Self:
        """Learn as Stable-Baselines3 does, but apply `log_interval` to the rollouts of the whole run."""
        self._log_interval = log_interval
        return super().learn(total_timesteps, callback, 1, *args, **kwargs)

    def dump_logs(self, iteration: int = 0) -> None:
        """Log every `log_interval` rollouts."""
        if self.n_rollouts % self._log_interval == 0:
            super().dump_logs(iteration)
