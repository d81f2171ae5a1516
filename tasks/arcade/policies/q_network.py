"""A policy that knows what each action is worth: DQN's and QR-DQN's, in NumPy.

It plays the action that is worth most, or now and then any one. As preferences over actions, whose probabilities are
exactly these, it is a policy like all others: sampled from, recorded and proved by the same code.

The arithmetic is `NetworkPolicy`'s: a Q-network is an actor-critic's body and action head. QR-DQN plays by the mean of
its quantiles, which the last layer gives by the mean of its weights.
"""

from __future__ import annotations

import numpy as np

from tasks.arcade.policies.actor_critic import Floats, NetworkPolicy, Weights, check_shapes, weight_shapes
from tasks.arcade.policies.features import FeatureArray
from tasks.arcade.settings.algorithms import OffPolicySettings, QrDqnSettings
from tasks.arcade.settings.networks import NetworkSettings

EXPLORATION = "exploration_rate"
"""Beside the weights that a rollout is played with: the share of random actions, float32 of shape ()."""
_BODY, _HEAD = "mlp_extractor.body", "action_net"


class QPolicy:
    """Plays the action that is worth most; with the probability of exploration, any one.

    Args:
        settings: of the algorithm.
        n_features: inputs of the network.
        weights: under the names of Stable-Baselines3's state dict, without the target network; beside them may stand
            `EXPLORATION`. Where it does not, exploration is what it is in the end of a training.

    Raises:
        ValueError: arrays are missing, too many, or of shapes that do not fit the settings.
    """

    def __init__(self, settings: OffPolicySettings, n_features: int, weights: Weights) -> None:
        exploration = float(weights.get(EXPLORATION, np.float32(settings.exploration_final_eps)))
        network, own = as_actor(
            settings, n_features, {name: array for name, array in weights.items() if name != EXPLORATION}
        )
        self._network = NetworkPolicy(network, n_features, own)
        self.n_actions = self._network.n_actions
        any_one = exploration / self.n_actions
        with np.errstate(divide="ignore"):
            self._best, self._other = np.log(np.array([1 - exploration + any_one, any_one])).astype(np.float32)

    def q_values(self, features: FeatureArray) -> Floats:
        """What each action is worth, float32 of shape (n, n_actions): the discounted sum of what is learned from."""
        return self._network.logits(features)

    def logits(self, features: FeatureArray) -> Floats:
        """Logarithms of the probabilities with which actions are played, float32 of shape (n, n_actions)."""
        worth = self.q_values(features)
        out = np.full(worth.shape, self._other, np.float32)
        out[np.arange(len(worth)), worth.argmax(axis=1)] = self._best
        return out

    def values(self, features: FeatureArray) -> Floats:
        """What the best action is worth, float32 of shape (n,)."""
        best: Floats = self.q_values(features).max(axis=1)
        return best


def q_weight_shapes(settings: OffPolicySettings, n_features: int, n_actions: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of a Q-network."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (rows, *columns) in _actor_shapes(settings, n_features, n_actions).items():
        of_each_action = _quantiles(settings) if name.startswith(_HEAD) else 1
        shapes[_own_name(settings, name)] = (rows * of_each_action, *columns)
    return shapes


def check_q_weights(settings: OffPolicySettings, n_features: int, weights: Weights) -> int:
    """How many actions a Q-network has.

    Raises:
        ValueError: the arrays are not those of this network.
    """
    n_actions = len(weights.get(_own_name(settings, f"{_HEAD}.bias"), ())) // _quantiles(settings)
    check_shapes(weights, q_weight_shapes(settings, n_features, n_actions))
    return n_actions


def as_actor(settings: OffPolicySettings, n_features: int, weights: Weights) -> tuple[NetworkSettings, Weights]:
    """A Q-network as the actor of an actor-critic, whose preferences are what each action is worth.

    Raises:
        ValueError: the weights do not fit the settings.
    """
    n_actions, quantiles = check_q_weights(settings, n_features, weights), _quantiles(settings)
    actor: dict[str, Floats] = {}
    for name in _actor_shapes(settings, n_features, n_actions):
        array = weights[_own_name(settings, name)]
        if name.startswith(_HEAD):
            # The mean of a linear layer's outputs is the output of its mean.
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


def _own_name(settings: OffPolicySettings, name: str) -> str:
    """What Stable-Baselines3 calls an array of the actor's in a Q-network."""
    net = "quantile_net.quantile_net" if isinstance(settings, QrDqnSettings) else "q_net.q_net"
    last = len(settings.network.layers) * (3 if settings.network.layer_norm else 2)
    return name.replace(_BODY, net).replace(_HEAD, f"{net}.{last}")


def _quantiles(settings: OffPolicySettings) -> int:
    return settings.n_quantiles if isinstance(settings, QrDqnSettings) else 1
