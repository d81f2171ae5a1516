"""Two networks in parallel give bit-identical results to sequential execution."""

import threading

import pytest
import torch
from torch import nn

from tasks.arcade.learner.networks import mlp
from tasks.arcade.learner.on_policy import single_threaded
from tasks.arcade.learner.parallel_networks import parallel_forward
from tasks.arcade.settings.networks import NetworkSettings


class ThreadRecorder(nn.Module):
    """Records the threads that run its forward pass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.threads = network, set[str]()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.threads.add(threading.current_thread().name)
        return self.network(rows)


def _pair(layer_norm: bool = False) -> tuple[ThreadRecorder, ThreadRecorder]:
    torch.manual_seed(0)
    settings = NetworkSettings(layer_norm=layer_norm, activation="relu")
    return ThreadRecorder(mlp(368, (256, 256), settings)[0]), ThreadRecorder(mlp(368, (256, 128), settings)[0])


@pytest.mark.parametrize("layer_norm", [False, True])
def test_outputs_and_gradients_equal_sequential_execution(layer_norm: bool) -> None:
    one, other = _pair(layer_norm)
    rows = torch.randn(512, 368)
    weights = [*one.parameters(), *other.parameters()]
    with single_threaded():
        outputs = parallel_forward(one, other, rows)
        assert one.threads == {"MainThread"}
        assert other.threads == {"parallel-forward_0"}
        plain = one(rows), other(rows)
        # One sum, as in a loss, whose gradient reaches both networks in one backward pass.
        gradients = torch.autograd.grad(sum((output**2).sum() for output in outputs), weights)
        expected = torch.autograd.grad(sum((output**2).sum() for output in plain), weights)
    for found, wanted in zip((*outputs, *gradients), (*plain, *expected), strict=True):
        assert torch.equal(found, wanted)


def test_small_batches_shared_layers_and_inference_stay_on_one_thread() -> None:
    one, other = _pair()
    rows = torch.randn(512, 368)
    parallel_forward(one, other, rows[:64])
    parallel_forward(one, other, rows.clone().requires_grad_())
    with torch.no_grad():
        parallel_forward(one, other, rows)
    assert one.threads == other.threads == {"MainThread"}


def test_exception_in_the_second_thread_is_raised() -> None:
    one, _ = _pair()
    wrong = nn.Linear(367, 256)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        parallel_forward(one, wrong, torch.randn(512, 368))
