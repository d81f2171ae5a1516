"""Which bytes a decision depends on where a policy remembers: as in `attention.py`, through an LSTM.

What was remembered when a step was seen is held as it is: what counts is what the bytes of this step add to it.
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
    """What a recurrent network's decisions depend on.

    Args:
        features: how RAM becomes the network's input.
        statistics: of the checkpoint.
        network: the LSTMs and the layers after them.
        weights: of the checkpoint.

    Raises:
        ValueError: the weights do not fit the network.
    """

    def __init__(
        self, features: FeatureSettings, statistics: Statistics, network: RecurrentNetworkSettings, weights: Weights
    ) -> None:
        self._carry = RamGradient(features, statistics)
        check_recurrent_weights(network, self._carry.n_features, weights)
        self._layers = policy_layers(network, network.lstm, actor_critic_weights(weights))
        wide = {name: weights[f"lstm_actor.{name}_l0"].astype(np.float64) for name in ("weight_ih", "weight_hh")}
        self._seen, self._said = wide["weight_ih"], wide["weight_hh"]
        self._bias = sum(weights[f"lstm_actor.{name}_l0"].astype(np.float64) for name in ("bias_ih", "bias_hh"))

    def __call__(self, ram: Ram, previous: Ram, action: int, memory: RecurrentState) -> Vector:
        """The gradient of an action's log-probability by each byte of the RAM; the rest is as in `Attention`.

        Args:
            ram: uint8 of shape (128,).
            previous: the RAM one step before.
            action: the one that was taken.
            memory: of the step before, float32 of shape (1, 4, units).
        """
        said, held, *_ = memory[0].astype(np.float64)
        return self._carry([self._lstm(said, held), *self._layers], ram, previous, action)

    def _lstm(self, said: Vector, held: Vector) -> Layer:
        def layer(values: Vector) -> tuple[Vector, Backward]:
            gates = self._seen @ values + self._said @ said + self._bias
            taken, kept, new, shown = np.split(gates, 4)
            taken, kept, new, shown = _sigmoid(taken), _sigmoid(kept), np.tanh(new), _sigmoid(shown)
            bounded = np.tanh(kept * held + taken * new)

            def backward(gradient: Vector) -> Vector:
                by_held = gradient * shown * (1 - np.square(bounded))
                by_gates = [
                    by_held * new * taken * (1 - taken),
                    by_held * held * kept * (1 - kept),
                    by_held * taken * (1 - np.square(new)),
                    gradient * bounded * shown * (1 - shown),
                ]
                by_seen: Vector = np.concatenate(by_gates) @ self._seen
                return by_seen

            return shown * bounded, backward

        return layer


def _sigmoid(values: Vector) -> Vector:
    half: Vector = 0.5 + 0.5 * np.tanh(values / 2)
    return half
