"""What a checkpoint's policy makes of what it sees, as a video shows it: how good actions seem, the value, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.text import with_minus_sign
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import Observation
from tasks.arcade.policies.actor_critic import Floats
from tasks.arcade.policies.q_network import QPolicy, as_actor
from tasks.arcade.policies.recurrent import RecurrentPolicy
from tasks.arcade.policies.recurrent_saliency import RecurrentSaliency
from tasks.arcade.policies.saliency import Saliency, advantage_gradient, softmax
from tasks.arcade.settings.algorithms import ActorCriticSettings, OffPolicySettings, RecurrentPpoSettings

_SMALLEST_NATS, _SMALLEST_WORTH = 0.1, 0.01
"""For a byte's usual change: what is less than this lights nothing up."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PolicyReadout:
    """What a policy makes of one step.

    Attributes:
        lengths: of each action's bar, between 0 and 1: its probability, or, where the policy knows what actions are
            worth, where that lies between the worst and the best.
        words: beside each bar: the probability in percent, or the worth.
        value: of the step.
        weights: how much the decision depends on each byte, float64 of shape (128,), between 0 and 1; of pixels 0.
    """

    lengths: Vector
    words: tuple[str, ...]
    value: float
    weights: Vector


class PolicyView:
    """What a checkpoint's policy makes of one episode: ask it at every step, in their order.

    Attributes:
        agent: the checkpoint's.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.agent = checkpoint.agent()
        self._attention = None if self.agent.uses_pixels else _attention(checkpoint, self.agent.features.size)
        self._usual_change = checkpoint.statistics.deviation
        policy = self.agent.policy
        self._smallest = _SMALLEST_WORTH if isinstance(policy, QPolicy) else _SMALLEST_NATS
        self._memory = policy.initial_state(1) if isinstance(policy, RecurrentPolicy) else None

    def __call__(self, seen: Observation, previous: Observation, action: int) -> PolicyReadout:
        """What it makes of what it sees at a step, and saw one step before, where it took an action."""
        features, policy = self.agent.features(seen[None], previous[None]), self.agent.policy
        weights = self._weights(seen, previous, action)
        if isinstance(policy, QPolicy):
            worth = policy.q_values(features)[0].astype(np.float64)
            return PolicyReadout(_between(worth), tuple(map(_in_words, worth)), float(worth.max()), weights)
        if isinstance(policy, RecurrentPolicy):
            assert self._memory is not None
            self._memory = policy.step(features, self._memory)
            return _by_preferences(policy.logits(self._memory), policy.values(self._memory), weights)
        return _by_preferences(policy.logits(features), policy.values(features), weights)

    def _weights(self, ram: Observation, previous: Observation, action: int) -> Vector:
        if self._attention is None:
            return np.zeros(RAM_SIZE)
        if isinstance(self._attention, RecurrentSaliency):
            assert self._memory is not None
            gradient = self._attention(ram, previous, action, self._memory)
        else:
            gradient = self._attention(ram, previous, action)
        # The gradient alone is steepest by bytes that never change: what counts is the byte's usual change.
        effects = np.abs(gradient) * self._usual_change
        shares: Vector = effects / max(effects.max(), self._smallest)
        return shares


def _by_preferences(logits: Floats, values: Floats, weights: Vector) -> PolicyReadout:
    shares = softmax(logits[0].astype(np.float64))
    return PolicyReadout(shares, tuple(f"{100 * share:.0f}%" for share in shares), float(values[0]), weights)


def _attention(checkpoint: Checkpoint, n_features: int) -> Saliency | RecurrentSaliency | None:
    algorithm, features = checkpoint.settings.approach.algorithm, checkpoint.settings.approach.features
    if isinstance(algorithm, RecurrentPpoSettings):
        return RecurrentSaliency(features, checkpoint.statistics, algorithm.network, checkpoint.weights)
    if isinstance(algorithm, ActorCriticSettings):
        return Saliency(features, checkpoint.statistics, algorithm.network, checkpoint.weights)
    if isinstance(algorithm, OffPolicySettings):
        network, weights = as_actor(algorithm, n_features, checkpoint.weights)
        return Saliency(features, checkpoint.statistics, network, weights, advantage_gradient)
    return None


def _between(worth: Vector) -> Vector:
    """0 for the worst, 1 for the best; all 1 where all are worth the same."""
    span = worth.max() - worth.min()
    lengths: Vector = (worth - worth.min()) / span if span > 0 else np.ones(len(worth))
    return lengths


def _in_words(worth: float) -> str:
    """Three digits, as many as there is room for."""
    return with_minus_sign(f"{worth:+.{2 if abs(worth) < 9.995 else 1 if abs(worth) < 99.95 else 0}f}")
