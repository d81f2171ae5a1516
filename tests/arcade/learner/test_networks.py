"""Dropping features that are always 0 does not change the training results."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from helpers.torch_reference import torch_policy
from stable_baselines3.common.buffers import RolloutBuffer

from tasks.arcade.learner.networks import EmbeddedLayer, FirstLayer, RamPolicy, active_features_only
from tasks.arcade.settings.networks import NetworkSettings

NETWORKS = {
    "a head each": NetworkSettings(pi=(256, 256), vf=(256, 128), activation="relu"),
    "shared body": NetworkSettings(body=(256,), pi=(256,), vf=(), layer_norm=True),
}

EMBEDDINGS = NetworkSettings(pi=(64,), vf=(64,), activation="relu", layer_norm=True, value_embeddings=50)
NO_LAYERS = NetworkSettings(pi=(), vf=())


def _rollout(active_share: float) -> RolloutBuffer:
    """Return a rollout of 32 steps in 16 environments; most features are always 0, one is nonzero once."""
    seen, generator = spaces.Box(-np.inf, np.inf, (564,), np.float32), np.random.default_rng(0)
    buffer = RolloutBuffer(32, seen, spaces.Discrete(6), device="cpu", n_envs=16)
    buffer.observations[:] = generator.normal(size=buffer.observations.shape)
    buffer.observations[:, :, generator.random(564) > active_share] = 0
    buffer.observations[:, :, 5] = 0
    buffer.observations[3, 7, 5] = 1
    buffer.actions[:] = generator.integers(6, size=buffer.actions.shape)
    buffer.full = True
    return buffer


def _outputs(policy: RamPolicy, buffer: RolloutBuffer) -> tuple[int, list[torch.Tensor]]:
    """Return the number of features in a rollout, the policy's outputs for it, and their gradients."""
    np.random.seed(0)
    batch = next(buffer.get(512))
    values, log_probs, entropy = policy.evaluate_actions(batch.observations, batch.actions.long().flatten())
    assert entropy is not None
    gradients = torch.autograd.grad((values**2).sum() + log_probs.sum() + entropy.sum(), list(policy.parameters()))
    return batch.observations.shape[1], [values, log_probs, entropy, *gradients]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_inactive_features_are_dropped_without_changing_results(network: NetworkSettings) -> None:
    policy, buffer = torch_policy(network, 564), _rollout(0.3)
    ever = buffer.observations.any(axis=(0, 1))
    width, wanted = _outputs(policy, _rollout(0.3))
    assert width == 564
    with active_features_only(policy, buffer):
        width, found = _outputs(policy, buffer)
    assert ever.sum() <= width < ever.sum() + 16
    assert width % 16 == 0
    assert width < 0.4 * 564
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(other.detach().abs().max()))
    first = next(layer for layer in policy.modules() if isinstance(layer, FirstLayer))
    gradient = next(array for array in found if array.shape == first.weight.shape)
    assert gradient[:, ever].any()
    assert not gradient[:, ~ever].any()
    width, again = _outputs(policy, buffer)
    assert width == 564, "all features are used again afterwards"
    for one, other in zip(again, wanted, strict=True):
        assert torch.equal(one, other)


def test_unused_rollout_is_restored() -> None:
    policy, buffer = torch_policy(NETWORKS["a head each"], 564), _rollout(0.3)
    with active_features_only(policy, buffer):
        assert buffer.observations.shape[:2] == (32, 16)
    assert np.array_equal(buffer.observations, _rollout(0.3).observations)


@pytest.mark.parametrize("network", [NetworkSettings(pi=(), vf=(64,)), NetworkSettings(pi=(64,), vf=()), NO_LAYERS])
def test_head_without_hidden_layers_gets_all_features(network: NetworkSettings) -> None:
    policy, buffer = torch_policy(network, 564), _rollout(0.3)
    _, wanted = _outputs(policy, _rollout(0.3))
    with active_features_only(policy, buffer):
        width, found = _outputs(policy, buffer)
    assert width == 564
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)


def test_no_feature_is_dropped_if_nearly_all_are_active() -> None:
    policy, buffer = torch_policy(NETWORKS["a head each"], 564), _rollout(0.97)
    assert not buffer.observations.any(axis=(0, 1)).all()
    with active_features_only(policy, buffer):
        assert _outputs(policy, buffer)[0] == 564


def test_embeddings_are_one_hot_inputs_and_row_0_stays_zero() -> None:
    policy, buffer = torch_policy(EMBEDDINGS, 564), _rollout(0.3)
    indices = np.random.default_rng(1).integers(51, size=buffer.observations[..., -128:].shape)
    buffer.observations[..., -128:] = indices
    width, wanted = _outputs(policy, _copy(buffer))
    assert width == 564
    with active_features_only(policy, buffer):
        width, found = _outputs(policy, buffer)
    assert width < 0.4 * 436 + 128
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(other.detach().abs().max()))
    layer = next(layer for layer in policy.modules() if isinstance(layer, EmbeddedLayer))
    gradient = next(array for array in found if array.shape == layer.values.shape)
    assert gradient[1:].any(dim=1).all()
    assert not gradient[0].any()
    assert not layer.values[0].any()
    rows = torch.from_numpy(buffer.observations.reshape(-1, 564)[:5])
    one_hot = torch.nn.functional.one_hot(rows[:, -128:].long(), 51).sum(dim=1).float()
    hidden = rows[:, :-128] @ layer.weight.T + layer.bias + one_hot @ layer.values
    assert torch.allclose(layer(rows), hidden, atol=1e-4)


def _copy(buffer: RolloutBuffer) -> RolloutBuffer:
    copy = _rollout(0.3)
    copy.observations[:] = buffer.observations
    return copy
