"""What the workers play for a policy that remembers: its memories are kept from step to step and handed over."""

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
from tasks.arcade.rollouts.on_policy import Episode, Rollout, RolloutPlayer, RolloutSettings
from tasks.arcade.settings.algorithms import RecurrentPpoSettings
from tasks.arcade.settings.networks import RecurrentNetworkSettings


@dataclass(frozen=True, kw_only=True)
class RecurrentRollout(Rollout):
    """What a recurrent algorithm learns from.

    Attributes:
        memories: float32 (n_steps, n_envs, 4, units), what was remembered before each step was seen: a `RecurrentState`.
    """

    memories: RecurrentState


@dataclass(frozen=True)
class RecurrentRolloutSettings(RolloutSettings):
    """What it takes to play them."""

    @property
    def network(self) -> RecurrentNetworkSettings:
        assert isinstance(self.approach.algorithm, RecurrentPpoSettings)
        return self.approach.algorithm.network

    @property
    def memory_size(self) -> int:
        """Bytes that a policy remembers of an episode."""
        return STATE_ROWS * self.network.lstm * np.dtype(np.float32).itemsize

    def layout(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Name, shape and dtype of every array."""
        return {**super().layout(), "memories": ((self.n_steps, self.n_envs, STATE_ROWS, self.network.lstm), np.float32)}

    def player(self, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> RolloutPlayer:
        """Who plays some of the environments."""
        return RecurrentPlayer(self, span, arrays)

    def played(self, arrays: Mapping[str, npt.NDArray[Any]], episodes: tuple[Episode, ...]) -> RecurrentRollout:
        """What was played, from the whole arrays of `layout`."""
        return RecurrentRollout(**arrays, episodes=episodes)


class RecurrentPlayer(RolloutPlayer):
    """Plays rollouts of some of the environments, remembering each one's episode, into its columns of the arrays."""

    def __init__(self, settings: RecurrentRolloutSettings, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        super().__init__(settings, span, arrays)
        self._network = settings.network
        self._memories: RecurrentState = np.zeros((len(span), STATE_ROWS, self._network.lstm), np.float32)
        self._memories_before = self._memories.copy()

    def play(self, weights: Weights, statistics: Statistics, on_step: Callable[[], None]) -> list[Episode]:
        """Play one rollout; `on_step` is called before each step. Returns the episodes that ended."""
        weights, features, uniforms = self._begin(weights, statistics)
        self._memories_before = self._memories.copy()
        policy = RecurrentPolicy(self._network, feature_size(self._settings.approach.features), weights)

        def values(rows: slice) -> Floats:
            # What is shown now is not yet remembered.
            return policy.values(policy.step(features(self._seen[rows], self._past[rows]), self._memories[rows]))

        out = self._out
        episodes: list[Episode] = []
        out["bootstraps"][:] = 0
        for step in range(self._settings.n_steps):
            on_step()
            out["memories"][step] = self._memories
            self._memories = policy.step(self._look(step, features), self._memories)
            out["values"][step] = policy.values(self._memories)
            actions = self._choose(step, policy.logits(self._memories), uniforms[:, step])
            for row, action in enumerate(actions):
                episodes += self._advance(step, row, action, values)
        out["last_starts"][:] = self._starts()
        out["last_values"][:] = values(slice(None))
        return episodes

    def _ended(self, step: int, row: int) -> Episode:
        self._memories[row] = 0
        return super()._ended(step, row)

    def states(self, *, before: bool) -> list[EnvironmentState]:
        """Every environment in flight: as it is, or as it was before the last rollout."""
        memories = self._memories_before if before else self._memories
        states = super().states(before=before)
        return [replace(state, memory=memory.tobytes()) for state, memory in zip(states, memories, strict=True)]

    def restore(self, states: Sequence[EnvironmentState], on_step: Callable[[], None] = lambda: None) -> None:
        """Bring every environment, and what is remembered of it, back to where `states` found it.

        `on_step` is called at each step played again.
        """
        super().restore(states, on_step)
        for memory, state in zip(self._memories, states, strict=True):
            memory[:] = np.frombuffer(state.memory, np.float32).reshape(memory.shape)
