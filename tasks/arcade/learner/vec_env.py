"""Stable-Baselines3 VecEnv over the worker pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from tasks.arcade.errors import RamreelError
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features, observation_kind
from tasks.arcade.rollouts.on_policy import CollectedSteps
from tasks.arcade.rollouts.worker_pool import WorkerPool


class DivergedError(RamreelError):
    """Training diverged: a loss or the policy's logits became non-finite."""

    @classmethod
    def at(cls, step: int, cause: str) -> Self:
        """Return the error for a step, with a suggestion."""
        return cls(f"training diverged at step {step:,}: {cause}. Choose a smaller learning_rate")

    @classmethod
    def of_logits(cls, step: int) -> Self:
        """Return the error for a step at which the policy's logits became non-finite."""
        return cls.at(step, "the policy's logits became non-finite")


class BatchVecEnv(VecEnv):
    """VecEnv that steps or plays all its environments together, and gives no access to single ones."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        # Stable-Baselines3 reads render_mode; nothing is rendered.
        return [None] * len(self._get_indices_list(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError(f"{attr_name} cannot be set in single environments")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError(f"{method_name} cannot be called in single environments")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(self._get_indices_list(indices))

    def _get_indices_list(self, indices: Any) -> list[int]:
        return list(self._get_indices(indices))


class RolloutVecEnv(BatchVecEnv):
    """The workers' environments as a VecEnv that collects whole rollouts and does not support single steps.

    Attributes:
        pool: the worker pool.
        statistics: feature statistics of all rollouts so far.
        rollout_weights: weights of the current rollout.
        interrupt_requested: polled while a rollout is collected; True cancels it to call `on_interrupt`.
        on_interrupt: called in the state before the cancelled rollout, which is then collected again.
    """

    interrupt_requested: Callable[[], bool] = staticmethod(lambda: False)
    on_interrupt: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, pool: WorkerPool, n_actions: int) -> None:
        self.pool = pool
        self.statistics = Statistics.empty()
        self.rollout_weights: Weights = {}
        features = pool.settings.approach.features
        kind = observation_kind(features)
        low, high = (0, 255) if kind.dtype is np.uint8 else (-np.inf, np.inf)
        space = spaces.Box(low, high, kind.shape(features), kind.dtype)
        super().__init__(pool.settings.n_envs, space, spaces.Discrete(n_actions))

    def start_rollout(self, weights: Weights) -> None:
        """Start a rollout in the workers; `collect_rollout` waits for it."""
        self.rollout_weights = weights
        self.pool.start_rollout(weights, self.statistics)

    def collect_rollout(self) -> CollectedSteps:
        """Return the rollout that was started, and add it to the feature statistics of the next one."""
        while (rollout := self.pool.finish_rollout(self.interrupt_requested)) is None:
            self.on_interrupt()
            self.pool.discard_rollout()
            self.start_rollout(self.rollout_weights)
        features = self.pool.settings.approach.features
        self.statistics = self.statistics.with_rollout(rollout.rams, rollout.actions, features)
        return rollout

    def features(self) -> Features:
        """Return the feature extractor with the current statistics."""
        return Features(self.pool.settings.approach.features, self.statistics)

    def reset(self) -> npt.NDArray[Any]:
        return np.zeros((self.num_envs, *(self.observation_space.shape or ())), self.observation_space.dtype)

    def step_async(self, actions: np.ndarray) -> None:
        raise NotImplementedError("only whole rollouts are supported: use gymnasium.make for single steps")

    def step_wait(self) -> Any:
        raise NotImplementedError("only whole rollouts are supported: use gymnasium.make for single steps")

    def close(self) -> None:
        self.pool.close()

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        # Equivalent to Monitor: each rollout reports the returns of its episodes.
        return [True] * len(self._get_indices_list(indices))
