"""The algorithms: one entry in `ALGORITHMS` declares how each is played, trained, exported and visualized.

A new algorithm is a settings class (tasks/arcade/settings/algorithms.py), an entry here, and what the entry names.
Its training half is named by `module:attribute` strings, like Gymnasium's entry points, and imported on first use:
processes that only play import neither torch nor Stable-Baselines3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from tasks.arcade.policies.actor_critic import (
    NetworkPolicy,
    Policy,
    Weights,
    check_shapes,
    unlearned_policy,
    weight_shapes,
)
from tasks.arcade.policies.features import feature_size
from tasks.arcade.policies.q_network import QPolicy, as_actor, q_weight_shapes
from tasks.arcade.policies.recurrent import RecurrentPolicy, recurrent_weight_shapes
from tasks.arcade.settings.algorithms import (
    A2cSettings,
    ActorCriticSettings,
    DqnSettings,
    LearningSettings,
    OffPolicySettings,
    PpoSettings,
    QrDqnSettings,
    RecurrentPpoSettings,
    UnlearnedSettings,
)
from tasks.arcade.settings.game import MAX_ACTIONS
from tasks.arcade.settings.networks import NetworkSettings
from tasks.arcade.settings.run import ApproachSettings

Shapes = dict[str, tuple[int, ...]]
S = TypeVar("S", bound=LearningSettings)

_ROLLOUTS = "tasks.arcade.rollouts.on_policy:RolloutSettings"
_RECURRENT_ROLLOUTS = "tasks.arcade.rollouts.recurrent:RecurrentRolloutSettings"
_TRANSITIONS = "tasks.arcade.rollouts.off_policy:TransitionSettings"


@dataclass(frozen=True)
class Training:
    """How an algorithm is trained and exported, as `module:attribute` strings.

    Attributes:
        rollouts: a `RolloutSettings` class: what workers collect.
        model: a subclass of the Stable-Baselines3 algorithm that collects rollouts from the worker pool.
        exported: the algorithm class of the exported zip, as its users load it.
        policy: the Stable-Baselines3 policy class.
        arguments: function from the hyperparameters to the arguments of the algorithm.
    """

    rollouts: str
    model: str
    exported: str
    policy: str
    arguments: str


@dataclass(frozen=True)
class Algorithm(Generic[S]):
    """Declaration of an algorithm.

    Attributes:
        shapes: name and shape of every weight, by hyperparameters, number of features and number of actions.
        policy: builds the NumPy policy from hyperparameters, number of features, number of actions and weights.
        training: how it is trained; None for baselines without learning.
        actor: the network whose saliency a video shows, and its weights, by hyperparameters, number of features and
            weights; None if there is none.
        outputs: what the network's outputs mean, and a video shows of them: probabilities of actions, or Q-values.
    """

    shapes: Callable[[S, int, int], Shapes]
    policy: Callable[[S, int, int, Weights], Policy | RecurrentPolicy]
    training: Training | None = None
    actor: Callable[[S, int, Weights], tuple[NetworkSettings, Weights]] | None = None
    outputs: Literal["probabilities", "q-values"] = "probabilities"


def _actor_critic_shapes(settings: ActorCriticSettings, n_features: int, n_actions: int) -> Shapes:
    return weight_shapes(settings.network, n_features, n_actions)


def _actor_critic_policy(settings: ActorCriticSettings, n_features: int, _n_actions: int, weights: Weights) -> Policy:
    return NetworkPolicy(settings.network, n_features, weights)


def _actor_of_actor_critic(
    settings: ActorCriticSettings, _n_features: int, weights: Weights
) -> tuple[NetworkSettings, Weights]:
    return settings.network, weights


def _recurrent_shapes(settings: RecurrentPpoSettings, n_features: int, n_actions: int) -> Shapes:
    return recurrent_weight_shapes(settings.network, n_features, n_actions)


def _recurrent_policy(
    settings: RecurrentPpoSettings, n_features: int, _n_actions: int, weights: Weights
) -> RecurrentPolicy:
    return RecurrentPolicy(settings.network, n_features, weights)


def _q_policy(settings: OffPolicySettings, n_features: int, _n_actions: int, weights: Weights) -> Policy:
    return QPolicy(settings, n_features, weights)


def _unlearned_policy(settings: UnlearnedSettings, _n_features: int, n_actions: int, _weights: Weights) -> Policy:
    return unlearned_policy(settings.algorithm, n_actions)


ALGORITHMS: Mapping[type[LearningSettings], Algorithm[Any]] = {
    PpoSettings: Algorithm(
        shapes=_actor_critic_shapes,
        policy=_actor_critic_policy,
        actor=_actor_of_actor_critic,
        training=Training(
            rollouts=_ROLLOUTS,
            model="tasks.arcade.learner.on_policy:RolloutPPO",
            exported="stable_baselines3:PPO",
            policy="tasks.arcade.learner.networks:RamPolicy",
            arguments="tasks.arcade.learner.sb3_arguments:ppo_arguments",
        ),
    ),
    RecurrentPpoSettings: Algorithm(
        shapes=_recurrent_shapes,
        policy=_recurrent_policy,
        actor=_actor_of_actor_critic,
        training=Training(
            rollouts=_RECURRENT_ROLLOUTS,
            model="tasks.arcade.learner.recurrent:RolloutRecurrentPPO",
            exported="sb3_contrib:RecurrentPPO",
            policy="tasks.arcade.learner.recurrent:RecurrentRamPolicy",
            arguments="tasks.arcade.learner.sb3_arguments:ppo_arguments",
        ),
    ),
    A2cSettings: Algorithm(
        shapes=_actor_critic_shapes,
        policy=_actor_critic_policy,
        actor=_actor_of_actor_critic,
        training=Training(
            rollouts=_ROLLOUTS,
            model="tasks.arcade.learner.on_policy:RolloutA2C",
            exported="stable_baselines3:A2C",
            policy="tasks.arcade.learner.networks:RamPolicy",
            arguments="tasks.arcade.learner.sb3_arguments:on_policy_arguments",
        ),
    ),
    DqnSettings: Algorithm(
        shapes=q_weight_shapes,
        policy=_q_policy,
        actor=as_actor,
        outputs="q-values",
        training=Training(
            rollouts=_TRANSITIONS,
            model="tasks.arcade.learner.off_policy:RolloutDQN",
            exported="stable_baselines3:DQN",
            policy="tasks.arcade.learner.off_policy:RamQPolicy",
            arguments="tasks.arcade.learner.sb3_arguments:off_policy_arguments",
        ),
    ),
    QrDqnSettings: Algorithm(
        shapes=q_weight_shapes,
        policy=_q_policy,
        actor=as_actor,
        outputs="q-values",
        training=Training(
            rollouts=_TRANSITIONS,
            model="tasks.arcade.learner.off_policy:RolloutQRDQN",
            exported="sb3_contrib:QRDQN",
            policy="tasks.arcade.learner.off_policy:RamQuantilePolicy",
            arguments="tasks.arcade.learner.sb3_arguments:off_policy_arguments",
        ),
    ),
    UnlearnedSettings: Algorithm(shapes=lambda *_: {}, policy=_unlearned_policy),
}


def algorithm_of(approach: ApproachSettings) -> Algorithm[Any]:
    """Return the declaration of an approach's algorithm."""
    return ALGORITHMS[type(approach.algorithm)]


def build_policy(approach: ApproachSettings, n_actions: int, weights: Weights) -> Policy | RecurrentPolicy:
    """Return the NumPy policy of an approach.

    Raises:
        ValueError: If the names or shapes of the weights do not match the approach.
    """
    return algorithm_of(approach).policy(approach.algorithm, feature_size(approach.features), n_actions, weights)


def feedforward_policy(approach: ApproachSettings, n_actions: int, weights: Weights) -> Policy:
    """Return the NumPy policy of an approach whose policy is not recurrent.

    Raises:
        ValueError: If the policy is recurrent, or the weights do not match the approach.
    """
    policy = build_policy(approach, n_actions, weights)
    if isinstance(policy, RecurrentPolicy):
        raise ValueError(f"the policy of {approach.name} is recurrent")
    return policy


def policy_weight_shapes(approach: ApproachSettings, n_actions: int) -> Shapes:
    """Return name and shape of every weight of an approach's policy; empty if there is nothing to learn."""
    shapes: Shapes = algorithm_of(approach).shapes(approach.algorithm, feature_size(approach.features), n_actions)
    return shapes


def check_policy_weights(approach: ApproachSettings, n_actions: int, weights: Weights) -> None:
    """Check the weights of an approach's policy in a game with this many actions.

    Raises:
        ValueError: If names, shapes or the number of actions do not match.
    """
    expected, found = policy_weight_shapes(approach, n_actions), {name: array.shape for name, array in weights.items()}
    if expected and found != expected:
        for number in range(1, MAX_ACTIONS + 1):
            if found == policy_weight_shapes(approach, number):
                raise ValueError(f"the network has {number} actions, the game has {n_actions}")
    check_shapes(weights, expected)
