"""What a decision depends on is what torch's autograd says, and what happens when a byte is changed."""

import numpy as np
import pytest
from helpers.torch_reference import ACTION, FEATURES, MOVERS, by_torch, some_statistics, torch_policy, two_rams

from tasks.arcade.learner.networks import weights_as_arrays
from tasks.arcade.policies.actor_critic import NetworkPolicy
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.saliency import Saliency
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import NetworkSettings

NETWORKS = {
    "as shipped": NetworkSettings(),
    "relu and norm": NetworkSettings(pi=(64, 48), vf=(32,), activation="relu", layer_norm=True),
    "shared body": NetworkSettings(body=(64, 32), pi=(32,), vf=(), activation="relu"),
    "shared body and norm": NetworkSettings(body=(40,), pi=(), vf=(16,), layer_norm=True),
    "linear": NetworkSettings(pi=(), vf=()),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("settings", FEATURES.values(), ids=FEATURES)
def test_the_gradient_is_torchs(settings: FeatureSettings, network: NetworkSettings) -> None:
    statistics, (ram, previous) = some_statistics(settings), two_rams()
    policy = torch_policy(network, Features(settings, statistics).size)
    weights = weights_as_arrays(policy)
    ours = Saliency(settings, statistics, network, weights)(ram, previous, ACTION)
    theirs = by_torch(settings, statistics, policy, ram, previous)
    assert np.abs(theirs).max() > 1e-4
    # Features are float32 before the network, here and in play.
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_what_is_cut_off_does_not_count() -> None:
    statistics, (ram, previous) = some_statistics(MOVERS), two_rams()
    network = NETWORKS["linear"]
    ram = previous.copy()
    still = int(np.argmin(statistics.deviation))
    ram[still] = previous[still] = (int(statistics.mean[still]) + 100) % 256
    policy = torch_policy(network, Features(MOVERS, statistics).size)
    gradient = Saliency(MOVERS, statistics, network, weights_as_arrays(policy))(ram, previous, ACTION)
    move = weights_as_arrays(policy)["action_net.weight"][:, 128 + still]
    logits = NetworkPolicy(network, weights_as_arrays(policy)["action_net.weight"].shape[1], weights_as_arrays(policy)).logits(
        Features(MOVERS, statistics)(ram[None], previous[None])
    )[0]
    shares = np.exp(logits - logits.max())
    by_move = (move[ACTION] - move @ shares / shares.sum()) * MOVERS.static_byte_gain / MOVERS.difference_scale
    assert gradient[still] == pytest.approx(by_move, rel=1e-4), "the byte is far beyond the clip, its move is not"


@pytest.mark.parametrize("kind", ["scaled", "standardized", "moving_bytes", "waves"])
def test_the_gradient_is_what_one_more_in_a_byte_changes(kind: str) -> None:
    """Central differences over the policy that plays, byte by byte, far from clips and wraps."""
    settings = FEATURES[kind].model_copy(update={"clip": 1e3})
    rng = np.random.default_rng(1)
    seen = rng.integers(60, 190, (500, 128)).astype(np.uint8)
    statistics = Statistics.empty().updated(seen)
    if settings.moving_bytes:
        statistics = Statistics(500, statistics.total, statistics.squares, statistics.warmup, (5, 17, 9))
    ram, previous = seen[0], seen[0] + rng.integers(-5, 5, 128).astype(np.uint8)
    network = NetworkSettings()
    features = Features(settings, statistics)
    weights = weights_as_arrays(torch_policy(network, features.size))
    gradient = Saliency(settings, statistics, network, weights)(ram, previous, ACTION)
    rows = np.concatenate([ram + np.eye(128, dtype=np.uint8), ram - np.eye(128, dtype=np.uint8)])
    logits = NetworkPolicy(network, features.size, weights).logits(features(rows, np.tile(previous, (256, 1))))
    log_probs = logits[:, ACTION] - np.log(np.exp(logits.astype(np.float64)).sum(axis=1))
    measured = (log_probs[:128] - log_probs[128:]) / 2
    assert np.abs(gradient - measured).max() < 0.02 * np.abs(measured).max()


def test_weights_of_another_network_are_refused() -> None:
    weights = weights_as_arrays(torch_policy(NetworkSettings(), 128))
    with pytest.raises(ValueError, match="do not fit"):
        Saliency(FEATURES["scaled"], Statistics.empty(), NetworkSettings(pi=(32,)), weights)
