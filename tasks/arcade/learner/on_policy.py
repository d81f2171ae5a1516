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
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from tasks.arcade.emulator.frame_stack import STACK
from tasks.arcade.errors import RamreelError
from tasks.arcade.learner.networks import arrays_of, only_what_is_shown
from tasks.arcade.policies.actor_critic import Floats, Weights
from tasks.arcade.policies.features import Features, Statistics, feature_size
from tasks.arcade.rollouts.on_policy import LEAN, Episode, Played, Rollout
from tasks.arcade.rollouts.worker_pool import WorkerPool


class DivergedError(RamreelError):
    """A training has come to where its numbers are none any more; the message says when, and what would be right."""

    @classmethod
    def at(cls, step: int, what: str) -> Self:
        return cls(f"training has diverged at step {step}: {what}: choose a smaller learning_rate")


class RolloutVecEnv(VecEnv):
    """The workers' environments, as Stable-Baselines3 sees them: they play whole rollouts, never single steps.

    Attributes:
        interrupted: asked while a rollout is played: whether something is to be done that cannot wait for its end.
        interrupt: does it, with the training as it was before that rollout, which is then played anew.
    """

    interrupted: Callable[[], bool] = staticmethod(lambda: False)
    interrupt: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, pool: WorkerPool, n_actions: int) -> None:
        self.pool = pool
        self.statistics = Statistics.empty()
        self.playing: Weights = {}
        features = pool.settings.approach.features
        seen = (
            spaces.Box(0, 255, STACK, np.uint8)
            if features.kind == "pixels"
            else spaces.Box(-np.inf, np.inf, (feature_size(features),), np.float32)
        )
        super().__init__(pool.settings.n_envs, seen, spaces.Discrete(n_actions))

    def begin(self, weights: Weights) -> None:
        """Have the workers play a rollout; `collect` waits for it."""
        self.playing = weights
        self.pool.start(weights, self.statistics)

    def collect(self) -> Played:
        """The rollout that `begin` began; the feature statistics that the next one is played with hold it too."""
        while (rollout := self.pool.finish(self.interrupted)) is None:
            self.interrupt()
            self.pool.take_back()
            self.begin(self.playing)
        self.statistics = self.statistics.after(rollout.rams, rollout.actions, self.pool.settings.approach.features)
        return rollout

    def features(self) -> Features:
        """By which RAM becomes the network's input, with the statistics as they are now."""
        return Features(self.pool.settings.approach.features, self.statistics)

    def reset(self) -> npt.NDArray[Any]:
        return np.zeros((self.num_envs, *(self.observation_space.shape or ())), self.observation_space.dtype)

    def step_async(self, actions: np.ndarray) -> None:
        raise NotImplementedError("these environments play whole rollouts; use gymnasium.make for single steps")

    def step_wait(self) -> Any:
        raise NotImplementedError("these environments play whole rollouts; use gymnasium.make for single steps")

    def close(self) -> None:
        self.pool.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        # Stable-Baselines3 asks for render_mode; workers draw nothing.
        return [None] * len(self._get_indices_list(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError(f"{attr_name} cannot be set in the workers' environments")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError(f"{method_name} cannot be called in the workers' environments")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        # As good as wrapped in Monitor: episodes' returns come with each rollout.
        return [True] * len(self._get_indices_list(indices))

    def _get_indices_list(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))


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


class RewardScale:
    """What is learned from, made of the game's reward (`ApproachSettings.reward`).

    Attributes:
        silent: nothing was rewarded in the last rollout.
    """

    def __init__(self, kind: str, n_envs: int, gamma: float) -> None:
        self._kind, self._gamma = kind, gamma
        self._discounted = np.zeros(n_envs)
        self._running = RunningMeanStd(shape=())
        self.silent = False

    def state(self) -> dict[str, Any]:
        """Its running figures, as plain numbers."""
        running = {"mean": float(self._running.mean), "var": float(self._running.var), "count": self._running.count}
        return {"discounted": self._discounted.tolist(), "silent": self.silent, **running}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._discounted = np.array(state["discounted"])
        self._running.mean, self._running.var = np.array(state["mean"]), np.array(state["var"])
        self._running.count = state["count"]
        self.silent = state.get("silent", False)

    def __call__(self, rewards: Floats, starts: Floats) -> Floats:
        """Rewards to learn from; rewards and starts are float32 of shape (n_steps, n_envs)."""
        self.see(rewards, starts)
        return self.of(rewards)

    def see(self, rewards: Floats, starts: Floats) -> None:
        """Take a rollout's rewards into the running figures; float32 of shape (n_steps, n_envs) both."""
        self.silent = not rewards.any()
        if self._kind not in ("scaled", "root"):
            return
        for reward, start in zip(self._shrunk(rewards), starts, strict=True):
            self._discounted = self._discounted * self._gamma * (1 - start) + reward
            self._running.update(self._discounted)

    def of(self, rewards: Floats) -> Floats:
        """What to learn from these rewards, by the figures as they are now; any shape."""
        if self._kind == "raw":
            return rewards
        if self._kind == "sign":
            signs: Floats = np.sign(rewards)
            return signs
        deviation = float(np.sqrt(self._running.var + 1e-8))
        scaled: Floats = np.clip(self._shrunk(rewards) / np.float32(deviation), -10, 10)
        return scaled

    def _shrunk(self, rewards: Floats) -> Floats:
        if self._kind == "scaled":
            return rewards
        roots: Floats = np.sign(rewards) * np.sqrt(np.abs(rewards))
        return roots


class WholeRollouts(OnPolicyAlgorithm):
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
            return {**self.weights(), LEAN: np.array(self.lean, np.float32)}
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


class Learner(WholeRollouts):
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


class UnlearnedPlay(WholeRollouts):
    """Plays through the same rollouts, logs what every algorithm logs, and learns nothing."""

    def train(self) -> None:
        """Nothing is learned."""

    def weights(self) -> Weights:
        return {}
