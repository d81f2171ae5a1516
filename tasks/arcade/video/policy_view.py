"""Readout of a checkpoint's policy for each step of an episode: action probabilities or Q-values, value, saliency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.text import with_minus_sign
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import Observation
from tasks.arcade.policies.algorithms import algorithm_of
from tasks.arcade.policies.features import FeatureArray
from tasks.arcade.policies.q_network import QPolicy
from tasks.arcade.policies.recurrent import RecurrentPolicy
from tasks.arcade.policies.recurrent_saliency import RecurrentSaliency
from tasks.arcade.policies.saliency import Saliency, advantage_gradient, log_probability_gradient, softmax
from tasks.arcade.settings.networks import RecurrentNetworkSettings

Vector = npt.NDArray[np.float64]

_MIN_EFFECT = {"probabilities": 0.1, "q-values": 0.01}
"""Effect of a byte's typical change, in nats or units of the Q-value, that counts as full saliency at least: where all
effects are smaller, nothing lights up."""


@dataclass(frozen=True)
class PolicyReadout:
    """Readout of one step.

    Attributes:
        bar_lengths: Length of each action's bar, 0 to 1: its probability, or where its Q-value lies between the
            smallest and the largest.
        bar_labels: Label of each action's bar: its probability in percent, or its Q-value.
        value: Value estimate.
        saliency: How much the decision depends on each byte, float64 of shape (128,), 0 to 1; all 0 for a policy on
            pixels.
    """

    bar_lengths: Vector
    bar_labels: tuple[str, ...]
    value: float
    saliency: Vector


class PolicyView:
    """Reads out a checkpoint's policy during one episode: call it at every step, in order.

    Attributes:
        agent: Agent of the checkpoint.
        outputs: What the policy assigns to actions: probabilities or Q-values.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.agent = checkpoint.agent()
        self.outputs: Literal["probabilities", "q-values"] = algorithm_of(checkpoint.settings.approach).outputs
        self._saliency = None if self.agent.uses_pixels else _make_saliency(checkpoint, self.agent.features.size)
        self._typical_change = checkpoint.statistics.deviation
        policy = self.agent.policy
        self._state = policy.initial_state(1) if isinstance(policy, RecurrentPolicy) else None

    def __call__(self, observation: Observation, previous: Observation, action: int) -> PolicyReadout:
        """Return the readout of a step.

        Args:
            observation: The observation.
            previous: The observation of the previous step.
            action: The chosen action.
        """
        # Before the recurrent state advances: the saliency is that of this step's bytes.
        saliency = self._scaled_saliency(observation, previous, action)
        outputs, value = self._evaluate(self.agent.features(observation[None], previous[None]))
        if self.outputs == "q-values":
            return PolicyReadout(_rescale(outputs), tuple(map(_format_q_value, outputs)), value, saliency)
        probabilities = softmax(outputs)
        labels = tuple(f"{100 * probability:.0f}%" for probability in probabilities)
        return PolicyReadout(probabilities, labels, value, saliency)

    def _evaluate(self, features: FeatureArray) -> tuple[Vector, float]:
        """Return the logits or Q-values, of shape (actions,), and the value estimate; advance the recurrent state."""
        policy = self.agent.policy
        if isinstance(policy, RecurrentPolicy):
            assert self._state is not None
            self._state = policy.step(features, self._state)
            logits, values = policy.logits(self._state), policy.values(self._state)
        elif isinstance(policy, QPolicy):
            logits = policy.q_values(features)
            values = logits.max(axis=1)
        else:
            logits, values = policy.logits(features), policy.values(features)
        return logits[0].astype(np.float64), float(values[0])

    def _scaled_saliency(self, ram: Observation, previous: Observation, action: int) -> Vector:
        if self._saliency is None:
            return np.zeros(RAM_SIZE)
        if isinstance(self._saliency, RecurrentSaliency):
            assert self._state is not None
            gradient = self._saliency(ram, previous, action, self._state)
        else:
            gradient = self._saliency(ram, previous, action)
        # The gradient alone is steepest for bytes that never change: what counts is the effect of a typical change.
        effects = np.abs(gradient) * self._typical_change
        scaled: Vector = effects / max(effects.max(), _MIN_EFFECT[self.outputs])
        return scaled


def _make_saliency(checkpoint: Checkpoint, n_features: int) -> Saliency | RecurrentSaliency | None:
    approach = checkpoint.settings.approach
    algorithm = algorithm_of(approach)
    if algorithm.actor is None:
        return None
    network, weights = algorithm.actor(approach.algorithm, n_features, checkpoint.weights)
    if isinstance(network, RecurrentNetworkSettings):
        return RecurrentSaliency(approach.features, checkpoint.statistics, network, weights)
    gradient = advantage_gradient if algorithm.outputs == "q-values" else log_probability_gradient
    return Saliency(approach.features, checkpoint.statistics, network, weights, gradient)


def _rescale(q_values: Vector) -> Vector:
    """Return 0 for the smallest and 1 for the largest Q-value; all 1 where they are equal."""
    span = q_values.max() - q_values.min()
    lengths: Vector = (q_values - q_values.min()) / span if span > 0 else np.ones(len(q_values))
    return lengths


def _format_q_value(q_value: float) -> str:
    """Return three digits, the number that fits next to a bar."""
    return with_minus_sign(f"{q_value:+.{2 if abs(q_value) < 9.995 else 1 if abs(q_value) < 99.95 else 0}f}")
