"""Saliency of a recurrent policy: as in `saliency.py`, through one step of the LSTM.

The recurrent state before the step is held constant: what counts is the effect of this step's bytes.
"""

from __future__ import annotations

import numpy as np

from tasks.arcade.emulator.emulator import Ram
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.recurrent import RecurrentState, actor_critic_weights, check_recurrent_weights
from tasks.arcade.policies.saliency import Backward, Layer, RamGradient, Vector, policy_layers
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import RecurrentNetworkSettings


class RecurrentSaliency:
    """Saliency of a recurrent network.

    Args:
        features: Feature settings of the checkpoint.
        statistics: Feature statistics of the checkpoint.
        network: Architecture: the LSTMs and the layers after them.
        weights: Weights of the checkpoint.

    Raises:
        ValueError: The weights do not match the network.
    """

    def __init__(
        self, features: FeatureSettings, statistics: Statistics, network: RecurrentNetworkSettings, weights: Weights
    ) -> None:
        self._gradient = RamGradient(features, statistics)
        check_recurrent_weights(network, self._gradient.n_features, weights)
        self._layers = policy_layers(network, network.lstm, actor_critic_weights(weights))
        wide = {name: weights[f"lstm_actor.{name}_l0"].astype(np.float64) for name in ("weight_ih", "weight_hh")}
        self._input_weights, self._hidden_weights = wide["weight_ih"], wide["weight_hh"]
        self._bias = sum(weights[f"lstm_actor.{name}_l0"].astype(np.float64) for name in ("bias_ih", "bias_hh"))

    def __call__(self, ram: Ram, previous: Ram, action: int, state: RecurrentState) -> Vector:
        """Return the gradient of an action's log-probability with respect to each byte, as `Saliency` does.

        Args:
            ram: Observed RAM, uint8 of shape (128,).
            previous: RAM of the previous step.
            action: The chosen action.
            state: Recurrent state before the step, float32 of shape (1, 4, units).
        """
        hidden, cell, *_ = state[0].astype(np.float64)
        return self._gradient([self._lstm(hidden, cell), *self._layers], ram, previous, action)

    def _lstm(self, hidden: Vector, cell: Vector) -> Layer:
        def layer(values: Vector) -> tuple[Vector, Backward]:
            gates = self._input_weights @ values + self._hidden_weights @ hidden + self._bias
            i, f, g, o = np.split(gates, 4)
            i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
            bounded = np.tanh(f * cell + i * g)

            def backward(gradient: Vector) -> Vector:
                by_cell = gradient * o * (1 - np.square(bounded))
                by_gates = [
                    by_cell * g * i * (1 - i),
                    by_cell * cell * f * (1 - f),
                    by_cell * i * (1 - np.square(g)),
                    gradient * bounded * o * (1 - o),
                ]
                by_inputs: Vector = np.concatenate(by_gates) @ self._input_weights
                return by_inputs

            return o * bounded, backward

        return layer


def _sigmoid(values: Vector) -> Vector:
    result: Vector = 0.5 + 0.5 * np.tanh(values / 2)
    return result
