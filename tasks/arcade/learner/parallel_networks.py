"""Two networks over the same input, each on a thread of its own, forward and backward.

Both do what they would do one after the other, in the same order: every number is the same. (Threads of torch's own
within a product of matrices would make sums depend on how they are shared out, and wait for each other at every layer.)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_WORTH = 2 * 10**7
"""Rows times weights of one network, below which handing it to the other thread takes longer than it saves."""

_T = TypeVar("_T")


def side_by_side(one: nn.Module, other: nn.Module, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two networks' outputs of the same rows.

    Args:
        one: a network, whose weights are not the other's.
        other: another.
        rows: float32 of shape (n, n_features).
    """
    weights = list(one.parameters()), list(other.parameters())
    if _worth_it(weights, rows):
        outputs: tuple[torch.Tensor, torch.Tensor] = _SideBySide.apply(  # type: ignore[no-untyped-call]
            one, other, rows, weights, *weights[0], *weights[1]
        )
        return outputs
    return one(rows), other(rows)


_Weights = tuple[list[nn.Parameter], list[nn.Parameter]]


def _worth_it(weights: _Weights, rows: torch.Tensor) -> bool:
    # What comes out of shared layers wants a gradient of its own.
    if rows.requires_grad or not torch.is_grad_enabled():
        return False
    return len(rows) * min(sum(array.numel() for array in network) for network in weights) >= _WORTH


class _SideBySide(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, one: nn.Module, other: nn.Module, rows: torch.Tensor, weights: _Weights, *_: nn.Parameter
    ) -> Any:
        ctx.weights = weights
        ctx.outputs = _both(partial(_with_graph, one, rows), partial(_with_graph, other, rows))
        return tuple(output.detach() for output in ctx.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        asked = zip(ctx.outputs, ctx.weights, gradients, strict=True)
        of_one, of_other = _both(*(partial(torch.autograd.grad, *one) for one in asked))
        return None, None, None, None, *of_one, *of_other


def _with_graph(network: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        output: torch.Tensor = network(rows)
        return output


def _both(here: Callable[[], _T], there: Callable[[], _T]) -> tuple[_T, _T]:
    later = _second_thread().submit(there)
    try:
        return here(), later.result()
    finally:
        # Nobody may go on while the other thread still reads weights.
        later.exception()


@cache
def _second_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "side-by-side", initializer=torch.set_num_threads, initargs=(1,))
