"""What the workers play for an algorithm that learns from a replay buffer: RAM, and what came of it."""

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
from tasks.arcade.rollouts.on_policy import Episode, Played, RolloutPlayer, RolloutSettings
from tasks.arcade.rollouts.recurrent import RecurrentRolloutSettings
from tasks.arcade.settings.algorithms import OffPolicySettings, RecurrentPpoSettings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings


class End(IntEnum):
    """How a step ended its episode, or a life of it, if it did."""

    NONE = 0
    TERMINATED = 1
    TRUNCATED = 2
    """By the time limit, which is no end of the game: what was still to come counts."""
    LOST_LIFE = 3
    """The episode goes on."""


@dataclass(frozen=True, kw_only=True)
class Transitions(Played):
    """What a value-based algorithm learns from.

    Attributes:
        next_rams: uint8 (n_steps, n_envs, 128), the RAM that each step led to, before a new episode began.
        ends: uint8 (n_steps, n_envs), an `End` each.
    """

    next_rams: Rams
    ends: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TransitionSettings(RolloutSettings):
    """What it takes to play transitions."""

    def layout(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Name, shape and dtype of every array."""
        grid = (self.n_steps, self.n_envs)
        return {
            **dict.fromkeys(("rams", "next_rams"), ((*grid, RAM_SIZE), np.uint8)),
            "actions": (grid, np.int64),
            **dict.fromkeys(("rewards", "starts"), (grid, np.float32)),
            "ends": (grid, np.uint8),
        }

    def player(self, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> RolloutPlayer:
        """Who plays some of the environments."""
        return TransitionPlayer(self, span, arrays)

    def played(self, arrays: Mapping[str, npt.NDArray[Any]], episodes: tuple[Episode, ...]) -> Transitions:
        """What was played, from the whole arrays of `layout`."""
        return Transitions(**arrays, episodes=episodes)


def rollout_settings(game: GameSettings, approach: ApproachSettings, seed: int) -> RolloutSettings:
    """What it takes to play what an approach learns from."""
    match approach.algorithm:
        case OffPolicySettings():
            kind: type[RolloutSettings] = TransitionSettings
        case RecurrentPpoSettings():
            kind = RecurrentRolloutSettings
        case _:
            kind = RolloutSettings
    return kind(game, approach, seed)


class TransitionPlayer(RolloutPlayer):
    """Plays transitions of some of the environments, and writes into its columns of the arrays."""

    def play(self, weights: Weights, statistics: Statistics, on_step: Callable[[], None]) -> list[Episode]:
        """Play one rollout; `on_step` is called before each step. Returns the episodes that ended."""
        weights, features, uniforms = self._begin(weights, statistics)
        policy = self._policy(weights)
        episodes: list[Episode] = []
        for step in range(self._settings.n_steps):
            on_step()
            for row, action in enumerate(self._decide(step, features, policy, uniforms[:, step])):
                episodes += self._step(step, row, action)
        return episodes

    def _decide(self, step: int, features: Features, policy: Policy, uniforms: npt.NDArray[np.float64]) -> list[int]:
        out = self._out
        out["rams"][step], out["starts"][step] = self._rams, self._starts()
        actions, _ = sample(policy.logits(features(self._seen, self._past)), uniforms)
        out["actions"][step] = actions
        chosen: list[int] = actions.tolist()
        return chosen

    def _step(self, step: int, row: int, action: int) -> list[Episode]:
        environment, out = self._environments[row], self._out
        out["rewards"][step, row], terminated, truncated = environment.step(action)
        out["next_rams"][step, row] = environment.ram
        if not (terminated or truncated):
            out["ends"][step, row] = End.LOST_LIFE if environment.lost_life else End.NONE
            return []
        out["ends"][step, row] = End.TERMINATED if terminated else End.TRUNCATED
        return [self._ended(step, row)]
