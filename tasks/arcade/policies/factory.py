"""Which policy an approach plays by: the one place where play tells algorithms apart."""

from __future__ import annotations

from tasks.arcade.policies.actor_critic import (
    NetworkPolicy,
    Policy,
    Weights,
    check_weights,
    unlearned_policy,
    weight_shapes,
)
from tasks.arcade.policies.features import feature_size
from tasks.arcade.policies.q_network import QPolicy, check_q_weights, q_weight_shapes
from tasks.arcade.policies.recurrent import RecurrentPolicy, check_recurrent_weights, recurrent_weight_shapes
from tasks.arcade.settings.algorithms import ActorCriticSettings, OffPolicySettings, RecurrentPpoSettings
from tasks.arcade.settings.run import ApproachSettings


def policy_of(approach: ApproachSettings, n_actions: int, weights: Weights) -> Policy | RecurrentPolicy:
    """The policy of an approach, from its weights.

    Raises:
        ValueError: the weights do not fit the approach.
    """
    if isinstance(approach.algorithm, RecurrentPpoSettings):
        return RecurrentPolicy(approach.algorithm.network, feature_size(approach.features), weights)
    return forgetful_policy(approach, n_actions, weights)


def forgetful_policy(approach: ApproachSettings, n_actions: int, weights: Weights) -> Policy:
    """The policy of an approach that remembers nothing from step to step.

    Raises:
        ValueError: the weights do not fit the approach, or it has a memory.
    """
    algorithm, n_features = approach.algorithm, feature_size(approach.features)
    match algorithm:
        case RecurrentPpoSettings():
            raise ValueError(f"{approach.name} has a memory")
        case ActorCriticSettings():
            return NetworkPolicy(algorithm.network, n_features, weights)
        case OffPolicySettings():
            return QPolicy(algorithm, n_features, weights)
        case _:
            return unlearned_policy(algorithm.algorithm, n_actions)


def shapes_of(approach: ApproachSettings, n_actions: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array that an approach plays by; none where nothing is learned."""
    algorithm, n_features = approach.algorithm, feature_size(approach.features)
    match algorithm:
        case RecurrentPpoSettings():
            return recurrent_weight_shapes(algorithm.network, n_features, n_actions)
        case ActorCriticSettings():
            return weight_shapes(algorithm.network, n_features, n_actions)
        case OffPolicySettings():
            return q_weight_shapes(algorithm, n_features, n_actions)
        case _:
            return {}


def check(approach: ApproachSettings, n_actions: int, weights: Weights) -> None:
    """Check that arrays are what an approach plays by in a game of so many actions.

    Raises:
        ValueError: they are not; the message says how.
    """
    algorithm, n_features = approach.algorithm, feature_size(approach.features)
    match algorithm:
        case RecurrentPpoSettings():
            check_recurrent_weights(algorithm.network, n_features, weights)
            found = len(weights["action_net.bias"])
        case ActorCriticSettings():
            check_weights(algorithm.network, n_features, weights)
            found = len(weights["action_net.bias"])
        case OffPolicySettings():
            found = check_q_weights(algorithm, n_features, weights)
        case _:
            if weights:
                raise ValueError("an approach that learns nothing has weights")
            found = n_actions
    if found != n_actions:
        raise ValueError("the network has another number of actions than the game")
