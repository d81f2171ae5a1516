"""Products of matrices by oneDNN instead of MKL, forward and backward.

Both come with torch. For float32 `nn.functional.linear` takes MKL, which leaves an AMD EPYC's AVX-512, half of its
arithmetic, unused; oneDNN asks what a processor can do, not who made it. It is reached by the operator that
torch.compile puts in the place of a linear layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

# The operator is torch's own affair: another version may call it otherwise.
_ONE_DNN = bool(
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)

_WORTH = 2 * 10**6
"""Products of a layer, below which what it takes to call oneDNN is more than what it saves."""


class Linear(nn.Linear):
    """A linear layer whose products are oneDNN's where that is worth it; their last bits are not MKL's."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return linear(rows, self.weight, self.bias)


def linear(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The rows times the weights, and the bias: by torch itself, unless they are float32 and the CPU's.

    Args:
        rows: of shape (n, n_in).
        weight: of shape (n_out, n_in).
        bias: of shape (n_out,).
    """
    worth = _ONE_DNN and len(rows) * weight.numel() >= _WORTH
    if not worth or rows.dtype != torch.float32 or not rows.is_cpu:
        return nn.functional.linear(rows, weight, bias)
    product: torch.Tensor = _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return product


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows, weight)
        return _product(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.t()) if of_rows else None,
            _product(gradient.t(), rows.t()) if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


def _product(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Rows times rows of another matrix, and the bias."""
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return product
