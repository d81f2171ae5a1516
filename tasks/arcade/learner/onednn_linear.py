"""Linear layers by oneDNN instead of MKL, forward and backward.

Both come with torch. For float32 `nn.functional.linear` uses MKL, which does not use AVX-512 on AMD processors, half of
their throughput; oneDNN does. It is reached by `torch.ops.mkldnn._linear_pointwise`, the private operator that
torch.compile substitutes for linear layers; last tried with torch 2.13.0. Without it, torch's own operator is used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_ONE_DNN = bool(
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)

_MIN_MULTIPLICATIONS = 2 * 10**6
"""Multiplications of a layer, below which calling oneDNN costs more time than it saves."""


class Linear(nn.Linear):
    """Linear layer that uses oneDNN for large batches; results differ from MKL's in the last bits."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return linear(rows, self.weight, self.bias)


def linear(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Apply a linear layer: by oneDNN if the batch is large, float32 and on the CPU, otherwise by torch's own operator.

    Args:
        rows: of shape (n, n_in).
        weight: of shape (n_out, n_in).
        bias: of shape (n_out,).
    """
    worthwhile = _ONE_DNN and len(rows) * weight.numel() >= _MIN_MULTIPLICATIONS
    if not worthwhile or rows.dtype != torch.float32 or not rows.is_cpu:
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
    """Return left @ right.T + bias."""
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return product
