"""The most probable way through the states of a search, and the probability of what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.state_search import Arrival, Hypothesis, Moment
from tasks.arcade.emulator.emulator import RAM_SIZE

_SURE = 0.99
"""Probability from which a set of actions is certain to contain the executed one."""


@dataclass(frozen=True)
class History:
    """The most probable way from the start to the last of n steps.

    Probabilities are given all pictures, the later ones included.

    Attributes:
        ram: uint8 of shape (n + 1, 128).
        confidence: Probability of each byte, float32 of shape (n + 1, 128); 0 in uncertain rows.
        frames: Frames emulated since the reset: int32 of shape (n + 1,).
        actions: Action executed at the last frame of each step: int16 of shape (n,).
        action_probabilities: Probability that it was each of the actions: float32 of shape (n, n_actions).
        action_names: ALE's names of the actions.
        executed: Action executed at each frame: int16 of shape (frames[-1],).
    """

    ram: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    frames: npt.NDArray[np.int32]
    actions: npt.NDArray[np.int16]
    action_probabilities: npt.NDArray[np.float32]
    action_names: tuple[str, ...]
    executed: npt.NDArray[np.int16]

    def action_sets(self) -> list[tuple[int, ...]]:
        """Return for each step the fewest actions of which one was executed with a probability of .99."""
        sets = []
        for probabilities in self.action_probabilities:
            order = np.argsort(-probabilities, kind="stable")
            n = int(np.searchsorted(np.cumsum(probabilities[order]), _SURE)) + 1
            sets.append(tuple(sorted(int(action) for action in order[:n])))
        return sets


def read_history(
    hypotheses: Sequence[Hypothesis], action_names: Sequence[str], uncertain: npt.NDArray[np.bool_]
) -> History:
    """Return the history of a search that kept it.

    Args:
        hypotheses: States after the last step, the likeliest first.
        action_names: ALE's names of the actions.
        uncertain: Rows of confidence 0: bool of shape (n + 1,).
    """
    n = len(uncertain) - 1
    ram, confidence = np.zeros((n + 1, RAM_SIZE), np.uint8), np.zeros((n + 1, RAM_SIZE), np.float32)
    probabilities = np.zeros((n, len(action_names)), np.float32)
    way: list[Arrival] = []
    log_probabilities = np.array([hypothesis.log_probability for hypothesis in hypotheses])
    weights = _normalized(log_probabilities)
    layer = {hypothesis.moment: float(weight) for hypothesis, weight in zip(hypotheses, weights, strict=True)}
    moment = hypotheses[0].moment
    for row in range(n, -1, -1):
        ram[row] = moment.ram
        if not uncertain[row]:
            confidence[row] = sum(weight * (one.ram == moment.ram) for one, weight in layer.items())
        if row == 0:
            break
        before: dict[Moment, float] = {}
        for one, weight in layer.items():
            shares = weight * _normalized(np.array([arrival.log_probability for arrival in one.arrivals]))
            for arrival, share in zip(one.arrivals, shares, strict=True):
                before[arrival.origin] = before.get(arrival.origin, 0.0) + float(share)
                probabilities[row - 1, arrival.action] += share
        arrival = max(moment.arrivals, key=lambda one: one.log_probability)
        way.append(arrival)
        layer, moment = before, arrival.origin
    way.reverse()
    return History(
        ram=ram,
        confidence=np.minimum(confidence, 1),
        frames=np.cumsum([0, *(arrival.frames for arrival in way)], dtype=np.int32),
        actions=np.array([arrival.action for arrival in way], np.int16),
        action_probabilities=np.minimum(probabilities, 1),
        action_names=tuple(action_names),
        executed=np.array([action for arrival in way for action in _executed(arrival)], np.int16),
    )


def _executed(arrival: Arrival) -> list[int]:
    return [arrival.origin.action] * arrival.delay + [arrival.action] * (arrival.frames - arrival.delay)


def _normalized(log_probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    weights: npt.NDArray[np.float64] = np.exp(log_probabilities - log_probabilities.max())
    weights /= weights.sum()
    return weights
