"""Two networks trained side by side become what Stable-Baselines3 trains, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from tasks.arcade.learner.networks import RamPolicy, active_features_only
from tasks.arcade.learner.on_policy import single_threaded
from tasks.arcade.learner.two_networks import TwoNetworkPPO
from tasks.arcade.learner.vec_env import DivergedError
from tasks.arcade.settings.networks import NetworkSettings

pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
N_FEATURES, EMBEDDED = 368, 50
N_ENVS, N_STEPS = 3, 400
"""Minibatches of 1,199 leave one of a single row."""

NETWORKS = {
    "two threads": NetworkSettings(pi=(256, 256), vf=(256, 128), activation="relu"),
    "one thread": NetworkSettings(pi=(16,), vf=(16,), activation="tanh"),
    "embeddings": NetworkSettings(pi=(256,), vf=(256,), activation="relu", layer_norm=True, value_embeddings=EMBEDDED),
    "no hidden layers": NetworkSettings(pi=(), vf=()),
    "shared body": NetworkSettings(body=(64,), pi=(64,), vf=()),
}


class Environment(gymnasium.Env[Any, Any]):
    """Declares the spaces; nothing steps it, because the tests fill the rollout buffer."""

    observation_space = spaces.Box(-np.inf, np.inf, (N_FEATURES,), np.float32)
    action_space = spaces.Discrete(6)


def trained(kind: type[PPO], network: NetworkSettings, batch_size: int) -> tuple[PPO, Mapping[str, Any]]:
    """Return a model after training on two rollouts, and the metrics of both."""
    model, metrics = untrained(kind, network, batch_size), {}
    random = np.random.default_rng(1)
    for rollout, remaining in enumerate((1.0, 0.5)):
        model._current_progress_remaining = remaining
        fill(model, random)
        metrics |= {f"{name} {rollout}": value for name, value in train(model).items()}
    return model, metrics


def untrained(kind: type[PPO], network: NetworkSettings, batch_size: int = 512) -> PPO:
    model = kind(
        RamPolicy,
        DummyVecEnv([Environment] * N_ENVS),
        n_steps=N_STEPS,
        n_epochs=3,
        ent_coef=0.01,
        learning_rate=lambda remaining: 3e-3 * remaining,
        seed=7,
        device="cpu",
        policy_kwargs={"network": network, "optimizer_kwargs": {"eps": 1e-5, "fused": True}},
        batch_size=batch_size,
    )
    model.set_logger(Logger(None, []))
    return model


def train(model: PPO) -> Mapping[str, Any]:
    """Train on the rollout, and return the metrics."""
    with single_threaded(), active_features_only(model.policy, model.rollout_buffer):
        model.train()
    return model.logger.name_to_value


def fill(model: PPO, random: np.random.Generator) -> None:
    buffer = model.rollout_buffer
    buffer.reset()
    # Half of the features are inactive.
    buffer.observations[..., ::2] = random.normal(size=buffer.observations[..., ::2].shape)
    buffer.observations[..., -128:] = random.integers(EMBEDDED + 1, size=buffer.observations[..., -128:].shape)
    buffer.actions[:] = random.integers(6, size=buffer.actions.shape)
    for array in (buffer.values, buffer.advantages, buffer.returns):
        array[:] = random.normal(size=array.shape)
    observations = torch.from_numpy(buffer.observations.reshape(-1, N_FEATURES))
    with torch.no_grad():
        _, log_probs, _ = model.policy.evaluate_actions(observations, torch.from_numpy(buffer.actions.ravel()))
    buffer.log_probs[:] = log_probs.reshape(N_STEPS, N_ENVS)
    buffer.full = True


@pytest.mark.parametrize("batch_size", [512, 1199])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_weights_and_metrics_equal_those_of_stable_baselines3(network: NetworkSettings, batch_size: int) -> None:
    wanted, wanted_metrics = trained(PPO, network, batch_size)
    found, metrics = trained(TwoNetworkPPO, network, batch_size)
    assert metrics.keys() == wanted_metrics.keys()
    for name, value in wanted_metrics.items():
        assert type(metrics[name]) is type(value), name
        assert metrics[name] == value, name
    for one, other in zip(found.policy.parameters(), wanted.policy.parameters(), strict=True):
        assert torch.equal(one, other)
    states = (model.policy.optimizer.state_dict()["state"] for model in (found, wanted))
    for one, other in zip(*(state.values() for state in states), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


class ThreadRecorder(nn.Module):
    """Records the threads that run the forward pass of a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.threads = layer, set[str]()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.threads.add(threading.current_thread().name)
        result: torch.Tensor = self.layer(rows)
        return result


@pytest.mark.parametrize(("name", "thread"), [("two threads", "value-network_0"), ("one thread", "MainThread")])
def test_value_network_has_a_thread_of_its_own_if_it_is_large(name: str, thread: str) -> None:
    model = untrained(TwoNetworkPPO, NETWORKS[name])
    fill(model, np.random.default_rng(1))
    recorder = model.policy.value_net = ThreadRecorder(model.policy.value_net)
    train(model)
    assert recorder.threads == {thread}


def test_exception_in_the_second_thread_is_raised() -> None:
    model = untrained(TwoNetworkPPO, NETWORKS["two threads"])
    fill(model, np.random.default_rng(1))
    model.policy.value_net = nn.Linear(7, 1)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(model)


def test_logits_of_nan_are_divergence() -> None:
    model = untrained(TwoNetworkPPO, NETWORKS["two threads"])
    fill(model, np.random.default_rng(1))
    with torch.no_grad():
        model.policy.action_net.bias[2] = torch.nan
    with pytest.raises(DivergedError, match="the policy's logits became non-finite"):
        train(model)
