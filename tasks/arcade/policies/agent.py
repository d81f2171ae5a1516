"""What a checkpoint plays by, one environment's steps at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.arcade.emulator.frame_stack import Observation
from tasks.arcade.policies.actor_critic import Floats, Policy, sample
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.recurrent import RecurrentPolicy

Decide = Callable[[Observation, Observation, float | None], int]
"""The action at the next step of one episode, asked for at every step in its order.

It is given what is seen, what was seen one step before (at an episode's start the same), and a number in [0, 1) that
samples the action; none takes the likeliest.
"""


class Agent:
    """Features and policy of one checkpoint."""

    def __init__(self, features: Features, policy: Policy | RecurrentPolicy) -> None:
        self.features, self.policy = features, policy
        self.n_actions, self.uses_pixels = policy.n_actions, features.uses_pixels

    def begin(self) -> Decide:
        """What decides the steps of one episode that starts now.

        Nothing else decides, so no memory comes from another episode: it is that of what is returned, and empty.
        What is seen is RAM, uint8 of shape (128,), or the last pictures, uint8 of shape (4, 84, 84).
        """
        return self._with_memory(self.policy) if isinstance(self.policy, RecurrentPolicy) else self._by(self.policy)

    def _by(self, policy: Policy) -> Decide:
        def decide(seen: Observation, previous: Observation, uniform: float | None) -> int:
            return _action(policy.logits(self.features(seen[None], previous[None])), uniform)

        return decide

    def _with_memory(self, policy: RecurrentPolicy) -> Decide:
        memory = policy.begin(1)

        def decide(seen: Observation, previous: Observation, uniform: float | None) -> int:
            nonlocal memory
            memory = policy.after(self.features(seen[None], previous[None]), memory)
            return _action(policy.logits(memory), uniform)

        return decide


def _action(logits: Floats, uniform: float | None) -> int:
    if uniform is None:
        return int(logits[0].argmax())
    return int(sample(logits, np.array([uniform]))[0][0])
