"""Forward pass of sb3-contrib's recurrent actor-critic network in NumPy: an LSTM each, then the layers.

    i, f, g, o = W x + U h + b                  of the input x and the previous hidden state h
    c' = sigmoid(f) c + sigmoid(i) tanh(g)      the cell state
    h' = sigmoid(o) tanh(c')                    the hidden state, input of the layers

(Hochreiter and Schmidhuber 1997, with forget gates.) As in `actor_critic.py` each row is multiplied on its own, so that
its result depends neither on the batch size nor on its position.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.arcade.policies.actor_critic import Floats, NetworkPolicy, Weights, check_shapes, n_outputs, weight_shapes
from tasks.arcade.policies.features import FeatureArray
from tasks.arcade.settings.networks import RecurrentNetworkSettings

RecurrentState = npt.NDArray[np.float32]
"""LSTM states of n environments: float32 of shape (n, 4, units), hidden and cell state of the actor, then of the
critic; all 0 at an episode's start."""
STATE_ROWS = 4
"""Rows of one environment's recurrent state."""

_LSTMS = ("lstm_actor", "lstm_critic")
_GATES = 4


class RecurrentPolicy:
    """Recurrent actor-critic network: `step` updates the state, from which logits and values are computed.

    Args:
        settings: architecture of the network.
        n_features: number of network inputs.
        weights: arrays under their names in sb3-contrib's state dict.

    Raises:
        ValueError: If the names or shapes of the weights do not match the settings.
    """

    def __init__(self, settings: RecurrentNetworkSettings, n_features: int, weights: Weights) -> None:
        check_recurrent_weights(settings, n_features, weights)
        self._units = settings.lstm
        self._inputs = np.ascontiguousarray(
            np.hstack([_gate_matrix(weights[f"{name}.weight_ih_l0"]) for name in _LSTMS])
        )
        self._hidden = np.stack([_gate_matrix(weights[f"{name}.weight_hh_l0"]) for name in _LSTMS])
        self._bias = np.stack(
            [
                _gate_matrix((weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"])[:, None])[0]
                for name in _LSTMS
            ]
        )
        self._layers = NetworkPolicy(settings, settings.lstm, actor_critic_weights(weights))
        self.n_actions = self._layers.n_actions

    def initial_state(self, n: int) -> RecurrentState:
        """Return the state of n environments at the start of an episode."""
        return np.zeros((n, STATE_ROWS, self._units), np.float32)

    def step(self, features: FeatureArray, state: RecurrentState) -> RecurrentState:
        """Return the state after observing one step.

        Args:
            features: features of the observations, float32 of shape (n, n_features).
            state: state before the step; not modified.
        """
        gates = np.matmul(features[:, None], self._inputs).reshape(len(features), len(_LSTMS), -1)
        gates += np.matmul(state[:, 0::2, None], self._hidden)[:, :, 0]
        gates += self._bias
        np.tanh(gates, out=gates)
        sigmoids = gates[:, :, : 3 * self._units]
        # sigmoid(x) = (1 + tanh(x / 2)) / 2; `_gate_matrix` has halved the inputs.
        sigmoids *= np.float32(0.5)
        sigmoids += np.float32(0.5)
        input_gate, forget_gate, output_gate, candidate = (
            gates[:, :, at * self._units : (at + 1) * self._units] for at in range(_GATES)
        )
        out = np.empty_like(state)
        cells = out[:, 1::2]
        np.multiply(forget_gate, state[:, 1::2], out=cells)
        cells += input_gate * candidate
        np.multiply(output_gate, np.tanh(cells), out=out[:, 0::2])
        return out

    def logits(self, state: RecurrentState) -> Floats:
        """Return logits over actions at the step last observed, float32 of shape (n, n_actions)."""
        return self._layers.logits(state[:, 0])

    def values(self, state: RecurrentState) -> Floats:
        """Return value estimates at the step last observed, float32 of shape (n,)."""
        return self._layers.values(state[:, 2])


def _gate_matrix(weights: Floats) -> Floats:
    """Return an LSTM matrix, transposed, with gates in the order i, f, o, g and the inputs of sigmoids halved."""
    input_gate, forget_gate, candidate, output_gate = np.split(np.asarray(weights, np.float32), _GATES)
    half = np.float32(0.5)
    return np.ascontiguousarray(
        np.concatenate([half * input_gate, half * forget_gate, half * output_gate, candidate]).T
    )


def actor_critic_weights(weights: Weights) -> Weights:
    """Return the weights without the LSTMs: an actor-critic network whose inputs are hidden states."""
    return {name: array for name, array in weights.items() if not name.startswith(_LSTMS)}


def recurrent_weight_shapes(
    settings: RecurrentNetworkSettings, n_features: int, n_actions: int
) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every array of a recurrent network."""
    shapes, rows = weight_shapes(settings, settings.lstm, n_actions), _GATES * settings.lstm
    for name in _LSTMS:
        shapes[f"{name}.weight_ih_l0"], shapes[f"{name}.weight_hh_l0"] = (rows, n_features), (rows, settings.lstm)
        shapes[f"{name}.bias_ih_l0"] = shapes[f"{name}.bias_hh_l0"] = (rows,)
    return shapes


def check_recurrent_weights(settings: RecurrentNetworkSettings, n_features: int, weights: Weights) -> None:
    """Raise ValueError unless the weights have the names and shapes of this network."""
    check_shapes(weights, recurrent_weight_shapes(settings, n_features, n_outputs(weights, "action_net.bias")))
