"""The tables of algorithms and of observation kinds are complete and consistent."""

from __future__ import annotations

import inspect
from pkgutil import resolve_name
from typing import get_args

import numpy as np
import pytest
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from tasks.arcade.learner.off_policy import OffPolicyRolloutMixin
from tasks.arcade.learner.on_policy import OnPolicyRolloutMixin
from tasks.arcade.policies.algorithms import ALGORITHMS, build_policy, policy_weight_shapes
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import OBSERVATION_KINDS, Features, feature_size
from tasks.arcade.rollouts.on_policy import RolloutSettings
from tasks.arcade.settings.algorithms import AlgorithmSettings, LearningSettings
from tasks.arcade.settings.approaches import APPROACHES
from tasks.arcade.settings.features import FeatureSettings, ObservationKindName


def test_every_algorithm_and_observation_kind_has_an_entry() -> None:
    assert set(ALGORITHMS) == set(get_args(AlgorithmSettings))
    assert set(OBSERVATION_KINDS) == set(get_args(ObservationKindName))


@pytest.mark.parametrize("settings", ALGORITHMS, ids=lambda settings: settings.__name__)
def test_training_of_an_algorithm_is_importable(settings: type[LearningSettings]) -> None:
    training = ALGORITHMS[settings].training
    assert (training is not None) == settings().learns
    if training is None:
        return
    model, exported = resolve_name(training.model), resolve_name(training.exported)
    assert issubclass(resolve_name(training.rollouts), RolloutSettings)
    assert issubclass(model, OnPolicyRolloutMixin | OffPolicyRolloutMixin)
    assert issubclass(model, exported)
    assert issubclass(exported, BaseAlgorithm)
    assert issubclass(resolve_name(training.policy), BasePolicy)
    arguments = resolve_name(training.arguments)(settings())
    assert arguments.keys() <= inspect.signature(exported).parameters.keys()


@pytest.mark.parametrize("name", APPROACHES)
def test_policy_of_every_approach_is_built_from_its_weight_shapes(name: str) -> None:
    shapes = policy_weight_shapes(APPROACHES[name], 6)
    policy = build_policy(APPROACHES[name], 6, {key: np.zeros(shape, np.float32) for key, shape in shapes.items()})
    assert policy.n_actions == 6


@pytest.mark.parametrize("kind", get_args(ObservationKindName))
def test_features_have_the_specified_shape_and_dtype(kind: ObservationKindName) -> None:
    settings, specification = FeatureSettings(kind=kind, moving_bytes=4), OBSERVATION_KINDS[kind]
    observations = np.zeros((3, *specification.observation_shape), np.uint8)
    features = Features(settings, Statistics.empty())(observations, observations)
    assert features.shape == (3, feature_size(settings))
    assert features.dtype == specification.dtype
    assert (specification.dtype is np.uint8) == settings.uses_pixels
