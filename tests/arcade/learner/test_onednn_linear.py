"""oneDNN's linear layer matches torch's up to the last bits."""

import pytest
import torch
from torch import nn

from tasks.arcade.learner import onednn_linear
from tasks.arcade.learner.onednn_linear import Linear, linear


def _gradients(layer: nn.Linear, rows: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
    out = layer(rows)
    return [out, *torch.autograd.grad((out * weights).sum(), [rows, *layer.parameters()])]


@pytest.mark.parametrize("n", [1, 13, 512])
@pytest.mark.parametrize(("n_in", "n_out"), [(168, 256), (256, 256), (256, 6), (1, 256)])
def test_forward_and_backward_match_torch(n: int, n_in: int, n_out: int) -> None:
    torch.manual_seed(0)
    ours = Linear(n_in, n_out)
    theirs = nn.Linear(n_in, n_out)
    theirs.load_state_dict(ours.state_dict())
    rows, weights = torch.randn(n, n_in, requires_grad=True), torch.randn(n, n_out)
    for one, other in zip(_gradients(ours, rows, weights), _gradients(theirs, rows, weights), strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-5 * max(1.0, float(other.detach().abs().max())))


def never(*_: object) -> None:
    raise AssertionError


@pytest.mark.skipif(not onednn_linear._ONE_DNN, reason="this torch has no oneDNN")
def test_large_batches_use_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weight, bias = torch.randn(512, 168), torch.randn(256, 168), torch.randn(256)
    wanted = torch.nn.functional.linear(rows, weight, bias)
    monkeypatch.setattr(torch.nn.functional, "linear", never)
    assert torch.allclose(linear(rows, weight, bias), wanted, atol=1e-4)
    with pytest.raises(AssertionError):
        linear(rows[:8], weight, bias)


def test_large_batches_use_torch_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weight, bias = torch.randn(512, 168), torch.randn(256, 168), torch.randn(256)
    monkeypatch.setattr(onednn_linear, "_ONE_DNN", False)
    monkeypatch.setattr(onednn_linear, "_product", never)
    assert (linear(rows, weight, bias) == torch.nn.functional.linear(rows, weight, bias)).all()


@pytest.mark.parametrize(("dtype", "device"), [(torch.float64, "cpu"), (torch.float32, "meta")])
def test_other_dtypes_and_devices_use_torch(dtype: torch.dtype, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an exported zip that is loaded on a GPU; the device "meta" is available everywhere."""
    layer = Linear(168, 256).to(device, dtype)
    rows = torch.randn(512, 168, dtype=dtype, device=device, requires_grad=True)
    monkeypatch.setattr(onednn_linear, "_product", never)
    out = layer(rows)
    assert (out.dtype, out.device.type, out.shape) == (dtype, device, (512, 256))
    if device == "cpu":
        assert (out == torch.nn.functional.linear(rows, layer.weight, layer.bias)).all()


def test_only_requested_gradients_are_computed() -> None:
    rows, weight, bias = torch.randn(512, 256), torch.randn(256, 256, requires_grad=True), torch.randn(256)
    linear(rows, weight, bias).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, rows.sum(0).expand(256, 256), atol=1e-3)
    assert rows.grad is bias.grad is None
