"""Rollouts of recurrent policies, with the recurrent state before every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.arcade.policies.actor_critic import Floats, Weights
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import feature_size
from tasks.arcade.policies.recurrent import STATE_ROWS, RecurrentPolicy, RecurrentState
from tasks.arcade.rollouts.environment import EnvironmentState
from tasks.arcade.rollouts.on_policy import FinishedEpisode, Rollout, RolloutPlayer, RolloutSettings
from tasks.arcade.settings.algorithms import RecurrentPpoSettings
from tasks.arcade.settings.networks import RecurrentNetworkSettings


@dataclass(frozen=True, kw_only=True)
class RecurrentRollout(Rollout):
    """A rollout for recurrent on-policy algorithms.

    Attributes:
        states: float32 (n_steps, n_envs, 4, units), the `RecurrentState` before each step was observed.
    """

    states: RecurrentState


@dataclass(frozen=True)
class RecurrentRolloutSettings(RolloutSettings):
    """Specification of recurrent rollouts."""

    @property
    def network(self) -> RecurrentNetworkSettings:
        """Architecture of the network."""
        assert isinstance(self.approach.algorithm, RecurrentPpoSettings)
        return self.approach.algorithm.network

    @property
    def recurrent_state_size(self) -> int:
        """Size of an environment's recurrent state in bytes."""
        return STATE_ROWS * self.network.lstm * np.dtype(np.float32).itemsize

    def layout(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Return name, shape and dtype of every array of a rollout."""
        return {**super().layout(), "states": ((self.n_steps, self.n_envs, STATE_ROWS, self.network.lstm), np.float32)}

    def player(self, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> RolloutPlayer:
        """Return the player of some of the environments."""
        return RecurrentPlayer(self, span, arrays)

    def collected(
        self, arrays: Mapping[str, npt.NDArray[Any]], episodes: tuple[FinishedEpisode, ...]
    ) -> RecurrentRollout:
        """Return a rollout over the arrays of `layout`."""
        return RecurrentRollout(**arrays, episodes=episodes)


class RecurrentPlayer(RolloutPlayer):
    """Collects rollouts in some of the environments, with a recurrent state for each."""

    def __init__(self, settings: RecurrentRolloutSettings, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super().__init__(settings, span, arrays)
        self._network = settings.network
        self._states: RecurrentState = np.zeros((len(span), STATE_ROWS, self._network.lstm), np.float32)
        self._states_before = self._states.copy()

    def play(self, weights: Weights, statistics: Statistics, on_step: Callable[[], None]) -> list[FinishedEpisode]:
        """Collect one rollout; `on_step` is called before each step. Returns the finished episodes."""
        weights, features, uniforms = self._start_rollout(weights, statistics)
        self._states_before = self._states.copy()
        policy = RecurrentPolicy(self._network, feature_size(self._settings.approach.features), weights)

        def values(rows: slice) -> Floats:
            # The current observation is not part of the state yet.
            return policy.values(
                policy.step(features(self._observations[rows], self._previous[rows]), self._states[rows])
            )

        out = self._out
        episodes: list[FinishedEpisode] = []
        out["bootstraps"][:] = 0
        for step in range(self._settings.n_steps):
            on_step()
            out["states"][step] = self._states
            self._states = policy.step(self._observe(step, features), self._states)
            out["values"][step] = policy.values(self._states)
            actions = self._sample_actions(step, policy.logits(self._states), uniforms[:, step])
            for row, action in enumerate(actions):
                episodes += self._step_environment(step, row, action, values)
        out["last_starts"][:] = self._episode_starts()
        out["last_values"][:] = values(slice(None))
        return episodes

    def _finish_episode(self, step: int, row: int) -> FinishedEpisode:
        self._states[row] = 0
        return super()._finish_episode(step, row)

    def states(self, *, before: bool) -> list[EnvironmentState]:
        """Return the state of every environment: now, or before the last rollout."""
        recurrent = self._states_before if before else self._states
        states = super().states(before=before)
        return [replace(state, recurrent_state=own.tobytes()) for state, own in zip(states, recurrent, strict=True)]

    def restore(self, states: Sequence[EnvironmentState], on_step: Callable[[], None] = lambda: None) -> None:
        """Restore every environment and its recurrent state; `on_step` is called before each replayed step."""
        super().restore(states, on_step)
        for own, state in zip(self._states, states, strict=True):
            own[:] = np.frombuffer(state.recurrent_state, np.float32).reshape(own.shape)
