"""A policy that remembers: sb3-contrib's LSTM in front of the layers, in NumPy.

    gates = W x + U h + b            of the input x and what was said before, h
    c' = sigmoid(f) c + sigmoid(i) tanh(g)
    h' = sigmoid(o) tanh(c')         what the layers see (Hochreiter and Schmidhuber 1997, with forget gates)

As in `policy.py` every row is multiplied by itself, so that its result depends on neither number nor place of others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.arcade.policies.actor_critic import Floats, NetworkPolicy, Weights, check_shapes, weight_shapes
from tasks.arcade.policies.features import FeatureArray
from tasks.arcade.settings.networks import RecurrentNetworkSettings

Memory = npt.NDArray[np.float32]
"""What is remembered by n players: float32 of shape (n, 4, units), what the actor's LSTM said (h) and holds (c), then
the critic's; all 0 where an episode starts."""
PARTS = 4
"""Rows of a player's memory."""

_LSTMS = ("lstm_actor", "lstm_critic")
_GATES = 4


class RecurrentPolicy:
    """The recurrent network of an approach, from its weights.

    It first takes in what is seen at a step, by `after`; the memory that this leaves says what to do and what the step
    is worth.

    Args:
        settings: of the network.
        n_features: inputs of the network.
        weights: under the names of sb3-contrib's state dict.

    Raises:
        ValueError: arrays are missing, too many, or of shapes that do not fit the settings.
    """

    def __init__(self, settings: RecurrentNetworkSettings, n_features: int, weights: Weights) -> None:
        check_recurrent_weights(settings, n_features, weights)
        self._units = settings.lstm
        self._inputs = np.ascontiguousarray(np.hstack([_by_gate(weights[f"{name}.weight_ih_l0"]) for name in _LSTMS]))
        self._said = np.stack([_by_gate(weights[f"{name}.weight_hh_l0"]) for name in _LSTMS])
        self._bias = np.stack(
            [_by_gate((weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"])[:, None])[0] for name in _LSTMS]
        )
        self._layers = NetworkPolicy(settings, settings.lstm, layers_of(weights))
        self.n_actions = self._layers.n_actions

    def begin(self, n: int) -> Memory:
        """What n players remember where their episodes start: nothing."""
        return np.zeros((n, PARTS, self._units), np.float32)

    def after(self, features: FeatureArray, memory: Memory) -> Memory:
        """What is remembered once a step is seen.

        Args:
            features: of what is seen, float32 of shape (n, n_features).
            memory: from the step before.

        Returns:
            An array of its own; `memory` stays as it is.
        """
        gates = np.matmul(features[:, None], self._inputs).reshape(len(features), len(_LSTMS), -1)
        gates += np.matmul(memory[:, 0::2, None], self._said)[:, :, 0]
        gates += self._bias
        np.tanh(gates, out=gates)
        opened = gates[:, :, : 3 * self._units]
        # A sigmoid is half a tanh of the half, which `_by_gate` took.
        opened *= np.float32(0.5)
        opened += np.float32(0.5)
        taken, kept, shown, new = (gates[:, :, at * self._units : (at + 1) * self._units] for at in range(_GATES))
        out = np.empty_like(memory)
        held = out[:, 1::2]
        np.multiply(kept, memory[:, 1::2], out=held)
        held += taken * new
        np.multiply(shown, np.tanh(held), out=out[:, 0::2])
        return out

    def logits(self, memory: Memory) -> Floats:
        """Preferences over actions, float32 of shape (n, n_actions), at the step that `memory` has taken in."""
        return self._layers.logits(memory[:, 0])

    def values(self, memory: Memory) -> Floats:
        """The value of the step that `memory` has taken in, float32 of shape (n,)."""
        return self._layers.values(memory[:, 2])


def _by_gate(weights: Floats) -> Floats:
    """An LSTM's matrix for rows of input, its gates in the order i, f, o, g; those with a sigmoid halved."""
    taken, kept, new, shown = np.split(np.asarray(weights, np.float32), _GATES)
    half = np.float32(0.5)
    return np.ascontiguousarray(np.concatenate([half * taken, half * kept, half * shown, new]).T)


def layers_of(weights: Weights) -> Weights:
    """The weights without those of the LSTMs: an actor-critic's, whose inputs are what an LSTM says."""
    return {name: array for name, array in weights.items() if not name.startswith(_LSTMS)}


def recurrent_weight_shapes(
    settings: RecurrentNetworkSettings, n_features: int, n_actions: int
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of a recurrent network."""
    shapes, rows = weight_shapes(settings, settings.lstm, n_actions), _GATES * settings.lstm
    for name in _LSTMS:
        shapes[f"{name}.weight_ih_l0"], shapes[f"{name}.weight_hh_l0"] = (rows, n_features), (rows, settings.lstm)
        shapes[f"{name}.bias_ih_l0"] = shapes[f"{name}.bias_hh_l0"] = (rows,)
    return shapes


def check_recurrent_weights(settings: RecurrentNetworkSettings, n_features: int, weights: Weights) -> None:
    """Raise ValueError unless the arrays are those of this network."""
    n_actions = len(weights.get("action_net.bias", ()))
    check_shapes(weights, recurrent_weight_shapes(settings, n_features, n_actions))
