"""Epsilon-greedy policies of DQN and QR-DQN in NumPy.

Epsilon-greedy play is expressed by logits with exactly its action probabilities, so these policies are sampled from,
recorded and verified by the same code as all others.

The forward pass is `NetworkPolicy`'s: a Q-network is the body and the action head of an actor-critic network. QR-DQN
acts by the mean of its quantiles, which is the output of the mean of the last layer's weights.
"""

from __future__ import annotations

import numpy as np

from tasks.arcade.policies.actor_critic import Floats, NetworkPolicy, Weights, check_shapes, n_outputs, weight_shapes
from tasks.arcade.policies.features import FeatureArray
from tasks.arcade.settings.algorithms import OffPolicySettings, QrDqnSettings
from tasks.arcade.settings.networks import NetworkSettings

EXPLORATION = "exploration_rate"
"""Key of the exploration rate among the weights sent to the workers: float32 of shape ()."""
_BODY, _HEAD = "mlp_extractor.body", "action_net"


class QPolicy:
    """Epsilon-greedy policy of a Q-network.

    Args:
        settings: hyperparameters of the algorithm.
        n_features: number of network inputs.
        weights: arrays under their names in Stable-Baselines3's state dict, without the target network, optionally with
            `EXPLORATION` (default: the final exploration rate).

    Raises:
        ValueError: If the names or shapes of the weights do not match the settings.
    """

    def __init__(self, settings: OffPolicySettings, n_features: int, weights: Weights) -> None:
        exploration = float(weights.get(EXPLORATION, np.float32(settings.exploration_final_eps)))
        network, own = as_actor(
            settings, n_features, {name: array for name, array in weights.items() if name != EXPLORATION}
        )
        self._network = NetworkPolicy(network, n_features, own)
        self.n_actions = self._network.n_actions
        random_share = exploration / self.n_actions
        with np.errstate(divide="ignore"):
            self._greedy, self._other = np.log(np.array([1 - exploration + random_share, random_share])).astype(
                np.float32
            )

    def q_values(self, features: FeatureArray) -> Floats:
        """Return Q-values, float32 of shape (n, n_actions), in units of the transformed reward."""
        return self._network.logits(features)

    def logits(self, features: FeatureArray) -> Floats:
        """Return the log-probabilities of epsilon-greedy play, float32 of shape (n, n_actions)."""
        q_values = self.q_values(features)
        out = np.full(q_values.shape, self._other, np.float32)
        out[np.arange(len(q_values)), q_values.argmax(axis=1)] = self._greedy
        return out

    def values(self, features: FeatureArray) -> Floats:
        """Return the largest Q-value of each row, float32 of shape (n,)."""
        best: Floats = self.q_values(features).max(axis=1)
        return best


def q_weight_shapes(settings: OffPolicySettings, n_features: int, n_actions: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every array of a Q-network."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (rows, *columns) in _actor_shapes(settings, n_features, n_actions).items():
        outputs_per_action = _quantiles(settings) if name.startswith(_HEAD) else 1
        shapes[_q_network_name(settings, name)] = (rows * outputs_per_action, *columns)
    return shapes


def check_q_weights(settings: OffPolicySettings, n_features: int, weights: Weights) -> int:
    """Return the number of actions of a Q-network.

    Raises:
        ValueError: If the names or shapes of the weights do not match the settings.
    """
    n_actions = n_outputs(weights, _q_network_name(settings, f"{_HEAD}.bias")) // _quantiles(settings)
    check_shapes(weights, q_weight_shapes(settings, n_features, n_actions))
    return n_actions


def as_actor(settings: OffPolicySettings, n_features: int, weights: Weights) -> tuple[NetworkSettings, Weights]:
    """Return a Q-network as an actor-critic network whose logits are the Q-values.

    Raises:
        ValueError: If the names or shapes of the weights do not match the settings.
    """
    n_actions, quantiles = check_q_weights(settings, n_features, weights), _quantiles(settings)
    actor: dict[str, Floats] = {}
    for name in _actor_shapes(settings, n_features, n_actions):
        array = weights[_q_network_name(settings, name)]
        if name.startswith(_HEAD):
            # The mean of a linear layer's outputs is the output of its mean weights.
            array = array.reshape(quantiles, n_actions, *array.shape[1:]).mean(axis=0, dtype=np.float64)
        actor[name] = array.astype(np.float32)
    hidden = actor[f"{_HEAD}.weight"].shape[1]
    critic = {"value_net.weight": np.zeros((1, hidden), np.float32), "value_net.bias": np.zeros(1, np.float32)}
    return _actor_settings(settings), {**actor, **critic}


def _actor_settings(settings: OffPolicySettings) -> NetworkSettings:
    own = settings.network
    return NetworkSettings(body=own.layers, pi=(), vf=(), activation=own.activation, layer_norm=own.layer_norm)


def _actor_shapes(settings: OffPolicySettings, n_features: int, n_actions: int) -> dict[str, tuple[int, ...]]:
    shapes = weight_shapes(_actor_settings(settings), n_features, n_actions)
    return {name: shape for name, shape in shapes.items() if name.startswith((_BODY, _HEAD))}


def _q_network_name(settings: OffPolicySettings, name: str) -> str:
    """Return the name in Stable-Baselines3's Q-network of an array of the actor."""
    net = "quantile_net.quantile_net" if isinstance(settings, QrDqnSettings) else "q_net.q_net"
    last = len(settings.network.layers) * (3 if settings.network.layer_norm else 2)
    return name.replace(_BODY, net).replace(_HEAD, f"{net}.{last}")


def _quantiles(settings: OffPolicySettings) -> int:
    return settings.n_quantiles if isinstance(settings, QrDqnSettings) else 1
