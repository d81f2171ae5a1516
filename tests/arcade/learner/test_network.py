"""A layer that leaves out what is 0 comes to what it comes to with it."""

import numpy as np
import pytest
import torch
from torch import nn
from torched import torch_policy

from tasks.arcade.learner.network import FirstLayer, RamPolicy, what_is_shown
from tasks.arcade.settings import NetworkSettings

NETWORKS = {
    "a head each": NetworkSettings(pi=(256, 256), vf=(256, 128), activation="relu"),
    "shared body": NetworkSettings(body=(256,), pi=(256,), vf=(), layer_norm=True),
}


def _rows() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(16, 32, 564)).astype(np.float32)
    rows[:, :, np.random.default_rng(1).random(564) < 0.7] = 0
    rows[:, :, 5] = 0
    rows[3, 7, 5] = 1
    return rows


def _learned(policy: RamPolicy, rows: torch.Tensor) -> list[torch.Tensor]:
    """What a batch says, and the gradients that come of it."""
    values, log_probs, entropy = policy.evaluate_actions(rows, torch.arange(len(rows)) % 6)
    assert entropy is not None
    gradients = torch.autograd.grad((values**2).sum() + log_probs.sum() + entropy.sum(), list(policy.parameters()))
    return [values, log_probs, entropy, *gradients]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_what_is_never_shown_is_left_out_and_changes_nothing(
    network: NetworkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, rows = torch_policy(network, 564), _rows()
    batch = torch.from_numpy(rows.reshape(512, 564))
    wanted, widths = _learned(policy, batch), set[int]()
    whole = nn.functional.linear

    def noting(rows: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        widths.add(rows.shape[1])
        return whole(rows, *weights)

    monkeypatch.setattr("tasks.arcade.learner.network.linear", noting)
    with what_is_shown(policy, rows):
        found = _learned(policy, batch)
    assert widths == {int(rows.any(axis=(0, 1)).sum())}, "only in first layers, and there all that was ever shown"
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4 * float(other.detach().abs().max()))
    first = next(layer for layer in policy.modules() if isinstance(layer, FirstLayer))
    gradient = next(array for array in found if array.shape == first.weight.shape)
    assert not gradient[:, ~rows.any(axis=(0, 1))].any()
    widths.clear()
    _learned(policy, batch)
    assert not widths, "afterwards all of it is taken in again"


def test_few_rows_are_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tasks.arcade.learner.network.linear", never)
    policy = torch_policy(NetworkSettings(), 564)
    with what_is_shown(policy, _rows()):
        _learned(policy, torch.from_numpy(_rows()[0]))
