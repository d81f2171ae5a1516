"""The NumPy policy matches torch, and its logits do not depend on the batch."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers.torch_reference import torch_policy

from tasks.arcade.learner.networks import weights_as_arrays
from tasks.arcade.policies.actor_critic import NetworkPolicy, UniformPolicy, sample, unlearned_policy, weight_shapes
from tasks.arcade.policies.agent import Agent
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import NetworkSettings

NETWORKS = {
    "as shipped": NetworkSettings(),
    "relu and norm": NetworkSettings(pi=(256, 256), vf=(256, 256), activation="relu", layer_norm=True),
    "shared body": NetworkSettings(body=(64,), pi=(32,), vf=(), activation="relu"),
    "linear": NetworkSettings(pi=(), vf=()),
    "embeddings": NetworkSettings(pi=(64, 32), vf=(64,), activation="relu", value_embeddings=40),
    "embeddings and norm": NetworkSettings(body=(48,), pi=(), vf=(32,), layer_norm=True, value_embeddings=40),
}


def some_rows(network: NetworkSettings, n: int) -> npt.NDArray[np.float32]:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(n, 256)).astype(np.float32)
    if network.value_embeddings:
        rows[:, -128:] = generator.integers(network.value_embeddings + 1, size=(n, 128))
    return rows


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_numpy_forward_pass_matches_torch(network: NetworkSettings) -> None:
    theirs = torch_policy(network)
    ours = NetworkPolicy(network, 256, weights_as_arrays(theirs))
    rows = some_rows(network, 37)
    logits, values = ours.logits(rows), ours.values(rows)
    actions, log_probs = sample(logits, np.random.default_rng(1).random(37))
    with torch.no_grad():
        torch_values, torch_log_probs, _ = theirs.evaluate_actions(torch.from_numpy(rows), torch.from_numpy(actions))
    assert np.abs(values - torch_values[:, 0].numpy()).max() < 1e-5
    assert np.abs(ours.values_batched(rows) - values).max() < 1e-5
    assert np.abs(log_probs - torch_log_probs.numpy()).max() < 1e-5


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_logits_do_not_depend_on_the_batch_bit_for_bit(network: NetworkSettings) -> None:
    policy = NetworkPolicy(network, 256, weights_as_arrays(torch_policy(network)))
    rows = some_rows(network, 32)
    logits, values = policy.logits(rows), policy.values(rows)
    for low, high in [*((at, at + 1) for at in range(32)), (5, 8), (1, 18)]:
        assert (policy.logits(rows[low:high]) == logits[low:high]).all()
        assert (policy.values(rows[low:high]) == values[low:high]).all()


def test_samples_follow_the_probabilities() -> None:
    probabilities = np.array([0.5, 0.125, 0.375])
    logits = np.tile(np.log(probabilities).astype(np.float32), (8, 1))
    uniforms = np.array([0, 0.49, 0.51, 0.62, 0.63, 0.99, 0.5000001, 1 - 2**-53])
    actions, log_probs = sample(logits, uniforms)
    assert actions.tolist() == [0, 0, 1, 1, 2, 2, 1, 2]
    assert np.allclose(np.exp(log_probs), probabilities[actions])


def test_agent_samples_or_takes_the_most_probable_action() -> None:
    features = Features(FeatureSettings(kind="scaled"), Statistics.empty())
    network = NetworkSettings(pi=(), vf=())
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(network, features.size, 4).items()}
    weights["action_net.bias"] = np.array([0, 0, 1, 0], np.float32)
    agent = Agent(features, NetworkPolicy(network, features.size, weights))
    decide = agent.start_episode()
    ram = np.zeros(128, np.uint8)
    assert agent.n_actions == 4
    assert decide(ram, ram, None) == 2
    assert decide(ram, ram, 0.0) == 0
    assert decide(ram, ram, 0.99) == 3


def test_uniform_policy_is_uniform() -> None:
    policy, rows = UniformPolicy(5), np.zeros((1000, 3), np.float32)
    actions, log_probs = sample(policy.logits(rows), np.random.default_rng(0).random(1000))
    assert np.bincount(actions, minlength=5).min() > 150
    assert np.allclose(log_probs, np.log(0.2))
    assert not policy.values(rows).any()


def test_noop_policy_always_chooses_action_0() -> None:
    actions, log_probs = sample(
        unlearned_policy("noop", 5).logits(np.zeros((9, 3), np.float32)), np.linspace(0, 0.99, 9)
    )
    assert not actions.any()
    assert not log_probs.any()


def test_mismatched_weights_are_named() -> None:
    network = NetworkSettings()
    weights = dict(weights_as_arrays(torch_policy(network)))
    weights["action_net.weight"] = weights["action_net.weight"][:, :-1]
    del weights["value_net.bias"]
    with pytest.raises(ValueError, match=r"action_net\.weight, value_net\.bias"):
        NetworkPolicy(network, 256, weights)
