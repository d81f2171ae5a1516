"""Agent of a checkpoint: selects the actions of one environment's episodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.arcade.emulator.frame_stack import Observation
from tasks.arcade.policies.actor_critic import Floats, Policy, sample
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.recurrent import RecurrentPolicy

ActionSelector = Callable[[Observation, Observation, float | None], int]
"""Selects the action at the next step of one episode; called once per step, in order.

Arguments: the observation, the previous observation (the same one at the episode's start), and a uniform number in
[0, 1) to sample the action with, or None for the most probable action.
"""


class Agent:
    """Features and policy of one checkpoint."""

    def __init__(self, features: Features, policy: Policy | RecurrentPolicy) -> None:
        self.features, self.policy = features, policy
        self.n_actions, self.uses_pixels = policy.n_actions, features.uses_pixels

    def start_episode(self) -> ActionSelector:
        """Return the action selector of a new episode, with a recurrent state of its own.

        Observations are RAM, uint8 of shape (128,), or stacked frames, uint8 of shape (4, 84, 84).
        """
        if isinstance(self.policy, RecurrentPolicy):
            return self._recurrent_selector(self.policy)
        return self._feedforward_selector(self.policy)

    def _feedforward_selector(self, policy: Policy) -> ActionSelector:
        def select(observation: Observation, previous: Observation, uniform: float | None) -> int:
            return _select(policy.logits(self.features(observation[None], previous[None])), uniform)

        return select

    def _recurrent_selector(self, policy: RecurrentPolicy) -> ActionSelector:
        state = policy.initial_state(1)

        def select(observation: Observation, previous: Observation, uniform: float | None) -> int:
            nonlocal state
            state = policy.step(self.features(observation[None], previous[None]), state)
            return _select(policy.logits(state), uniform)

        return select


def _select(logits: Floats, uniform: float | None) -> int:
    if uniform is None:
        return int(logits[0].argmax())
    return int(sample(logits, np.array([uniform]))[0][0])
