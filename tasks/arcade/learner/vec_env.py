"""Stable-Baselines3's VecEnv over the worker pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from tasks.arcade.emulator.frame_stack import STACK_SHAPE
from tasks.arcade.errors import RamreelError
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features, feature_size
from tasks.arcade.rollouts.on_policy import Played
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
            spaces.Box(0, 255, STACK_SHAPE, np.uint8)
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
        self.statistics = self.statistics.with_rollout(rollout.rams, rollout.actions, self.pool.settings.approach.features)
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
