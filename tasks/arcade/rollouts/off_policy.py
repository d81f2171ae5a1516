"""Rollouts of transitions for the replay buffer of off-policy algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.policies.actor_critic import Policy, Weights, sample
from tasks.arcade.policies.feature_statistics import Rams, Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.rollouts.on_policy import CollectedSteps, FinishedEpisode, RolloutPlayer, RolloutSettings


class StepEnd(IntEnum):
    """Whether and how a step ended its episode, or a life."""

    NONE = 0
    TERMINATED = 1
    TRUNCATED = 2
    """By the time limit: the value of the final state is still bootstrapped."""
    LOST_LIFE = 3
    """The episode continues."""


@dataclass(frozen=True, kw_only=True)
class Transitions(CollectedSteps):
    """A rollout for off-policy algorithms.

    Attributes:
        next_rams: uint8 (n_steps, n_envs, 128), the RAM after each step, before a new episode started.
        ends: uint8 (n_steps, n_envs), a `StepEnd` each.
    """

    next_rams: Rams
    ends: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TransitionSettings(RolloutSettings):
    """Specification of rollouts of transitions."""

    def layout(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Return name, shape and dtype of every array of a rollout."""
        grid = (self.n_steps, self.n_envs)
        return {
            **dict.fromkeys(("rams", "next_rams"), ((*grid, RAM_SIZE), np.uint8)),
            "actions": (grid, np.int64),
            **dict.fromkeys(("rewards", "starts"), (grid, np.float32)),
            "ends": (grid, np.uint8),
        }

    def player(self, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> RolloutPlayer:
        """Return the player of some of the environments."""
        return TransitionPlayer(self, span, arrays)

    def collected(self, arrays: Mapping[str, npt.NDArray[Any]], episodes: tuple[FinishedEpisode, ...]) -> Transitions:
        """Return a rollout over the arrays of `layout`."""
        return Transitions(**arrays, episodes=episodes)


class TransitionPlayer(RolloutPlayer):
    """Collects transitions in some of the environments, writing into its columns of the arrays."""

    def play(self, weights: Weights, statistics: Statistics, on_step: Callable[[], None]) -> list[FinishedEpisode]:
        """Collect one rollout; `on_step` is called before each step. Returns the finished episodes."""
        weights, features, uniforms = self._start_rollout(weights, statistics)
        policy = self._policy(weights)
        episodes: list[FinishedEpisode] = []
        for step in range(self._settings.n_steps):
            on_step()
            for row, action in enumerate(self._act(step, features, policy, uniforms[:, step])):
                episodes += self._record_step(step, row, action)
        return episodes

    def _act(self, step: int, features: Features, policy: Policy, uniforms: npt.NDArray[np.float64]) -> list[int]:
        out = self._out
        out["rams"][step], out["starts"][step] = self._rams, self._episode_starts()
        actions, _ = sample(policy.logits(features(self._observations, self._previous)), uniforms)
        out["actions"][step] = actions
        sampled: list[int] = actions.tolist()
        return sampled

    def _record_step(self, step: int, row: int, action: int) -> list[FinishedEpisode]:
        environment, out = self._environments[row], self._out
        out["rewards"][step, row], terminated, truncated = environment.step(action)
        out["next_rams"][step, row] = environment.ram
        if not (terminated or truncated):
            out["ends"][step, row] = StepEnd.LOST_LIFE if environment.lost_life else StepEnd.NONE
            return []
        out["ends"][step, row] = StepEnd.TERMINATED if terminated else StepEnd.TRUNCATED
        return [self._finish_episode(step, row)]
