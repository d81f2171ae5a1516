"""The NumPy Q-networks match Stable-Baselines3 and sb3-contrib, and play epsilon-greedily."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tasks.arcade.learner.off_policy import RamQPolicy, RamQuantilePolicy
from tasks.arcade.policies.actor_critic import Weights, sample
from tasks.arcade.policies.agent import Agent
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.q_network import EXPLORATION, QPolicy, as_actor
from tasks.arcade.policies.saliency import Saliency, advantage_gradient
from tasks.arcade.settings.algorithms import DqnSettings, OffPolicySettings, QrDqnSettings
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import QNetworkSettings

ALGORITHMS = {
    "dqn": DqnSettings(network=QNetworkSettings(layers=(48, 32), layer_norm=True)),
    "dqn, tanh": DqnSettings(network=QNetworkSettings(layers=(32,), activation="tanh")),
    "dqn, linear": DqnSettings(network=QNetworkSettings(layers=())),
    "qrdqn": QrDqnSettings(n_quantiles=7, network=QNetworkSettings(layers=(48, 32), layer_norm=True)),
    "qrdqn, linear": QrDqnSettings(n_quantiles=5, network=QNetworkSettings(layers=())),
}
N_ACTIONS = 6


def torch_policy(settings: OffPolicySettings, n_features: int) -> RamQPolicy | RamQuantilePolicy:
    torch.manual_seed(0)
    spaces_of = spaces.Box(-np.inf, np.inf, (n_features,), np.float32), spaces.Discrete(N_ACTIONS)
    policy: RamQPolicy | RamQuantilePolicy
    if isinstance(settings, QrDqnSettings):
        policy = RamQuantilePolicy(
            *spaces_of, lambda _: 0.0, network=settings.network, n_quantiles=settings.n_quantiles
        )
    else:
        policy = RamQPolicy(*spaces_of, lambda _: 0.0, network=settings.network)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return policy


def weights_as_arrays(policy: RamQPolicy | RamQuantilePolicy) -> Weights:
    state = policy.state_dict().items()
    return {name: tensor.numpy().copy() for name, tensor in state if "target" not in name}


def torch_worth(policy: RamQPolicy | RamQuantilePolicy, rows: torch.Tensor) -> torch.Tensor:
    return policy.quantile_net(rows).mean(dim=1) if isinstance(policy, RamQuantilePolicy) else policy.q_net(rows)


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_q_values_match_torch(settings: OffPolicySettings) -> None:
    theirs = torch_policy(settings, 256)
    ours = QPolicy(settings, 256, weights_as_arrays(theirs))
    assert ours.n_actions == N_ACTIONS
    rows = np.random.default_rng(0).normal(size=(37, 256)).astype(np.float32)
    with torch.no_grad():
        worth = torch_worth(theirs, torch.from_numpy(rows)).numpy()
        best = theirs._predict(torch.from_numpy(rows)).numpy()
    assert np.abs(ours.q_values(rows) - worth).max() < 1e-5
    assert np.abs(ours.values(rows) - worth.max(axis=1)).max() < 1e-5
    assert (ours.logits(rows).argmax(axis=1) == best).all()


@pytest.mark.parametrize("exploration", [0.0, 0.01, 0.4, 1.0])
def test_logits_are_epsilon_greedy(exploration: float) -> None:
    settings = ALGORITHMS["dqn"]
    weights = {**weights_as_arrays(torch_policy(settings, 16)), EXPLORATION: np.array(exploration, np.float32)}
    policy = QPolicy(settings, 16, weights)
    rows = np.random.default_rng(0).normal(size=(50_000, 16)).astype(np.float32)
    actions, log_probs = sample(policy.logits(rows), np.random.default_rng(1).random(len(rows)))
    best = policy.q_values(rows).argmax(axis=1)
    assert np.exp(policy.logits(rows).astype(np.float64)).sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    share = (actions != best).mean()
    assert share == pytest.approx(exploration * (N_ACTIONS - 1) / N_ACTIONS, abs=0.01)
    assert (share == 0) == (exploration == 0)
    assert np.isfinite(log_probs).all()


def test_checkpoint_plays_with_the_final_exploration_rate_or_greedily() -> None:
    settings = ALGORITHMS["qrdqn"].model_copy(update={"exploration_final_eps": 0.5})
    features = Features(FeatureSettings(kind="scaled"), Statistics.empty())
    agent = Agent(features, QPolicy(settings, features.size, weights_as_arrays(torch_policy(settings, features.size))))
    rams = np.random.default_rng(0).integers(256, size=(300, 128), dtype=np.uint8)
    assert isinstance(agent.policy, QPolicy)
    best = agent.policy.q_values(features(rams, rams)).argmax(axis=1)
    decide = agent.start_episode()
    assert [decide(ram, ram, None) for ram in rams] == best.tolist()
    uniforms = np.random.default_rng(1).random(300)
    sampled = np.array([decide(ram, ram, uniform) for ram, uniform in zip(rams, uniforms, strict=True)])
    assert (sampled == best).mean() == pytest.approx(0.5 + 0.5 / N_ACTIONS, abs=0.08)


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_saliency_is_torchs_gradient_of_the_advantage(settings: OffPolicySettings) -> None:
    features, action = FeatureSettings(kind="scaled"), 4
    policy = torch_policy(settings, 128)
    ram = np.random.default_rng(0).integers(256, size=128).astype(np.uint8)
    byte = torch.tensor(ram, dtype=torch.float32, requires_grad=True)
    worth = torch_worth(policy, byte[None] / 255)[0]
    (worth[action] - worth.mean()).backward()
    network, weights = as_actor(settings, 128, weights_as_arrays(policy))
    ours = Saliency(features, Statistics.empty(), network, weights, advantage_gradient)(ram, ram, action)
    theirs = byte.grad.numpy()
    assert np.abs(theirs).max() > 1e-5
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_mismatched_weights_are_named_as_in_stable_baselines3() -> None:
    settings = ALGORITHMS["qrdqn"]
    weights = dict(weights_as_arrays(torch_policy(settings, 128)))
    del weights["quantile_net.quantile_net.1.bias"]
    weights["quantile_net.quantile_net.6.weight"] = weights["quantile_net.quantile_net.6.weight"][:-1]
    with pytest.raises(ValueError, match=r"quantile_net\.1\.bias, quantile_net\.quantile_net\.6\.weight"):
        QPolicy(settings, 128, weights)
    with pytest.raises(ValueError, match="do not match the network"):
        QPolicy(ALGORITHMS["dqn"], 128, weights)
