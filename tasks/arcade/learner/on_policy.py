"""Stable-Baselines3 over whole rollouts: what learns is its own `train()`, what plays are the workers.

`RolloutPPO` and `RolloutA2C` are ordinary subclasses of Stable-Baselines3's `PPO` and `A2C`: `learn`, callbacks, logger
and `save` are its own. Only `collect_rollouts` differs: it has the workers play a rollout and hands it to
Stable-Baselines3's RolloutBuffer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from tasks.arcade.learner.networks import arrays_of, only_what_is_shown
from tasks.arcade.learner.reward_scaling import RewardScale
from tasks.arcade.learner.vec_env import DivergedError, RolloutVecEnv
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.rollouts.environment import LOGIT_NOISE
from tasks.arcade.rollouts.on_policy import Episode, Rollout


def episodes_ended(episodes: Iterable[Episode], start_time: float) -> dict[int, list[dict[str, Any]]]:
    """Step of the rollout → what Stable-Baselines3's Monitor tells of each episode that ended with it.

    Args:
        episodes: that ended.
        start_time: of the training, in nanoseconds, as Stable-Baselines3 has it.
    """
    told: dict[int, list[dict[str, Any]]] = {}
    seconds = round(time.time() - start_time / 1e9, 6)
    for episode in episodes:
        ended = {"r": episode.episode_return, "l": episode.length, "t": seconds}
        told.setdefault(episode.step, []).append({"episode": ended})
    return told


class RolloutMixin(OnPolicyAlgorithm):
    """Mixed into an on-policy algorithm of Stable-Baselines3: rollouts come from the workers.

    Attributes:
        pipelined: the next rollout is played while the last one is learned from.
        terminal_on_life_loss: nothing is to come after a lost life.
        lean: after a rollout without reward, the deviation of what environments lean by; 0: they do not.
        over: no further rollout is played.
        entropy: coefficient of the entropy by the progress that remains.
    """

    env: RolloutVecEnv
    reward_scale: RewardScale
    pipelined = False
    terminal_on_life_loss = False
    lean = 0.0
    over = False
    entropy: Callable[[float], float]

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Have the workers play one rollout; callbacks see its steps one after the other when it is there."""
        assert isinstance(env, RolloutVecEnv)
        callback.on_rollout_start()
        if self.over:
            return False
        if not env.pool.under_way:
            env.begin(self._to_play())
        rollout = env.collect()
        assert isinstance(rollout, Rollout)
        rewards = rollout.rewards.copy()
        self._fill(rollout_buffer, rollout)
        if self.pipelined and self.num_timesteps + n_rollout_steps * env.num_envs < self._total_timesteps:
            env.begin(self._to_play())
        ended = episodes_ended(rollout.episodes, self.start_time)
        for step in range(n_rollout_steps):
            self.num_timesteps += env.num_envs
            infos = ended.get(step, [])
            callback.update_locals({"self": self, "infos": infos, "rewards": rewards[step], "n_steps": step})
            if not callback.on_step():
                return False
            self._update_info_buffer(infos)
        callback.update_locals({"rollout_buffer": rollout_buffer})
        callback.on_rollout_end()
        return True

    def weights(self) -> Weights:
        """What a checkpoint keeps."""
        return arrays_of(self.policy)

    def _to_play(self) -> Weights:
        """What the workers play the next rollout with.

        Where nothing is rewarded, even-handed play seldom gets anywhere: an environment that leans to one action for
        a whole rollout does, as temporally extended exploration does (Dabney et al. 2021).
        """
        if self.lean > 0 and self.reward_scale.silent:
            return {**self.weights(), LOGIT_NOISE: np.array(self.lean, np.float32)}
        return self.weights()

    def dump_logs(self, iteration: int = 0) -> None:
        """As Stable-Baselines3 does it, but a resumed training goes on counting its iterations."""
        super().dump_logs(iteration and self.rollouts)

    @property
    def rollouts(self) -> int:
        """How many were played, before the training was resumed too."""
        return self.num_timesteps // (self.n_steps * self.n_envs)

    def _fill(self, buffer: RolloutBuffer, rollout: Rollout) -> None:
        starts, last_starts = rollout.starts, rollout.last_starts
        if self.terminal_on_life_loss:
            starts, last_starts = rollout.starts_of_lives()
        buffer.reset()
        buffer.observations[:] = rollout.features.reshape(buffer.observations.shape)
        buffer.actions[:] = rollout.actions[..., None]
        # The time limit is no end of the game: what was still to come is bootstrapped (SB3 issue 633).
        buffer.rewards[:] = self.reward_scale(rollout.rewards, rollout.starts) + self.gamma * rollout.bootstraps
        buffer.episode_starts[:] = starts
        buffer.values[:] = rollout.values
        buffer.log_probs[:] = rollout.log_probs
        buffer.pos, buffer.full = buffer.buffer_size, True
        buffer.compute_returns_and_advantage(torch.from_numpy(rollout.last_values), last_starts)
        # A memory lasts an episode, however many lives it has.
        buffer.episode_starts[:] = rollout.starts


@contextmanager
def one_thread() -> Iterator[None]:
    """Each of torch's operations on one thread: sums depend on how they are shared out.

    A second one would save a quarter of the time where nothing else runs, and cost ten times as much where something
    does: threads wait for each other at every layer.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Learner(RolloutMixin):
    """Mixed into one that learns by gradients, by a `train()` of its own."""

    def train(self) -> None:
        """Stable-Baselines3's own, each operation on one thread.

        Raises:
            DivergedError: preferences are not finite any more.
        """
        self.ent_coef = self.entropy(self._current_progress_remaining)
        try:
            with one_thread(), only_what_is_shown(self.policy, self.rollout_buffer):
                super().train()
        except ValueError as error:
            # Of what torch's distributions refuse they print every number.
            if "invalid values" not in str(error):
                raise
            raise DivergedError.at(self.num_timesteps, "the policy's preferences are nan") from None


class RolloutPPO(Learner, PPO):
    """Stable-Baselines3's PPO, its rollouts played by worker processes."""


class RolloutA2C(Learner, A2C):
    """Stable-Baselines3's A2C, its rollouts played by worker processes."""

    def learn(
        self, total_timesteps: int, callback: MaybeCallback = None, log_interval: int = 100, *args: Any, **kwargs: Any
    ) -> Self:
        """As Stable-Baselines3 does it, but every so many rollouts of the whole training are logged."""
        self._log_interval = log_interval
        return super().learn(total_timesteps, callback, 1, *args, **kwargs)

    def dump_logs(self, iteration: int = 0) -> None:
        """As Stable-Baselines3 does it, where it is due."""
        if self.rollouts % self._log_interval == 0:
            super().dump_logs(iteration)
