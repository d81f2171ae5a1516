"""Saliency equals the gradient of torch's autograd, and the effect of changing a byte."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.torch_reference import ACTION, FEATURES, MOVERS, by_torch, some_statistics, torch_policy, two_rams

from tasks.arcade.learner.networks import weights_as_arrays
from tasks.arcade.policies.actor_critic import NetworkPolicy
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.saliency import Saliency, advantage_gradient
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import NetworkSettings

NETWORKS = {
    "default": NetworkSettings(),
    "relu and norm": NetworkSettings(pi=(64, 48), vf=(32,), activation="relu", layer_norm=True),
    "shared body": NetworkSettings(body=(64, 32), pi=(32,), vf=(), activation="relu"),
    "shared body and norm": NetworkSettings(body=(40,), pi=(), vf=(16,), layer_norm=True),
    "linear": NetworkSettings(pi=(), vf=()),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("settings", FEATURES.values(), ids=FEATURES)
def test_gradient_equals_autograd(settings: FeatureSettings, network: NetworkSettings) -> None:
    statistics, (ram, previous) = some_statistics(settings), two_rams()
    policy = torch_policy(network, Features(settings, statistics).size)
    weights = weights_as_arrays(policy)
    gradient = Saliency(settings, statistics, network, weights)(ram, previous, ACTION)
    expected = by_torch(settings, statistics, policy, ram, previous)
    assert np.abs(expected).max() > 1e-4
    # Features are float32 before the network, here and in play.
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_clipped_feature_has_no_gradient() -> None:
    statistics, (ram, previous) = some_statistics(MOVERS), two_rams()
    network = NETWORKS["linear"]
    ram = previous.copy()
    static = int(np.argmin(statistics.deviation))
    ram[static] = previous[static] = (int(statistics.mean[static]) + 100) % 256
    features = Features(MOVERS, statistics)
    weights = weights_as_arrays(torch_policy(network, features.size))
    gradient = Saliency(MOVERS, statistics, network, weights)(ram, previous, ACTION)
    weight = weights["action_net.weight"][:, 128 + static]
    logits = NetworkPolicy(network, features.size, weights).logits(features(ram[None], previous[None]))[0]
    odds = np.exp(logits - logits.max())
    by_difference = (weight[ACTION] - weight @ odds / odds.sum()) * MOVERS.static_byte_gain / MOVERS.difference_scale
    assert gradient[static] == pytest.approx(by_difference, rel=1e-4), "only the value is clipped"


@pytest.mark.parametrize("kind", ["scaled", "standardized", "moving_bytes", "waves"])
def test_gradient_equals_the_effect_of_incrementing_a_byte(kind: str) -> None:
    """Central differences of the policy's log-probability, byte by byte, away from clipping and wraparound."""
    settings = FEATURES[kind].model_copy(update={"clip": 1e3})
    rng = np.random.default_rng(1)
    rams = rng.integers(60, 190, (500, 128)).astype(np.uint8)
    statistics = Statistics.empty().updated(rams)
    if settings.moving_bytes:
        statistics = Statistics(500, statistics.total, statistics.squares, statistics.warmup, (5, 17, 9))
    ram, previous = rams[0], rams[0] + rng.integers(-5, 5, 128).astype(np.uint8)
    network = NetworkSettings()
    features = Features(settings, statistics)
    weights = weights_as_arrays(torch_policy(network, features.size))
    gradient = Saliency(settings, statistics, network, weights)(ram, previous, ACTION)
    rows = np.concatenate([ram + np.eye(128, dtype=np.uint8), ram - np.eye(128, dtype=np.uint8)])
    logits = NetworkPolicy(network, features.size, weights).logits(features(rows, np.tile(previous, (256, 1))))
    log_probs = logits[:, ACTION] - np.log(np.exp(logits.astype(np.float64)).sum(axis=1))
    measured = (log_probs[:128] - log_probs[128:]) / 2
    assert np.abs(gradient - measured).max() < 0.02 * np.abs(measured).max()


def test_derivative_of_embeddings_is_half_the_difference_of_the_neighbors() -> None:
    """Only the embeddings contribute: the policy is linear in them, so differences of logits are exact."""
    settings = FeatureSettings(kind="standardized", value_indices=300)
    ram = np.full(128, 100, np.uint8)
    values = np.array([byte * 256 + value for byte in (3, 9) for value in (99, 100, 101)] + [20 * 256 + 99])
    statistics = replace(Statistics.empty().updated(ram[None]), values=values)
    network = NetworkSettings(body=(16,), pi=(), vf=(), activation="relu", value_embeddings=300)
    features = Features(settings, statistics)
    weights = {name: np.abs(array) for name, array in weights_as_arrays(torch_policy(network, features.size)).items()}
    weights["mlp_extractor.body.0.weight"] = np.zeros_like(weights["mlp_extractor.body.0.weight"])
    policy = NetworkPolicy(network, features.size, weights)

    def advantage(byte: int, value: int) -> float:
        other = ram.copy()
        other[byte] = value
        logits = policy.logits(features(other[None], other[None]))[0]
        return float(logits[ACTION] - logits.mean())

    saliency = Saliency(settings, statistics, network, weights, advantage_gradient)(ram, ram, ACTION)
    for byte in (3, 9, 20):
        expected = (advantage(byte, 101) - advantage(byte, 99)) / 2
        assert saliency[byte] == pytest.approx(expected, rel=1e-4)
        assert abs(expected) > 1e-4
    assert np.flatnonzero(saliency).tolist() == [3, 9, 20]


def test_weights_of_another_network_are_rejected() -> None:
    weights = weights_as_arrays(torch_policy(NetworkSettings(), 128))
    with pytest.raises(ValueError, match="do not match"):
        Saliency(FEATURES["scaled"], Statistics.empty(), NetworkSettings(pi=(32,)), weights)
