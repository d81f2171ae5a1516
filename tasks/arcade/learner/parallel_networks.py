"""Forward and backward passes of two networks over the same input in parallel, each on its own thread.

Each network's operations and their order are the same as in sequence, so results are bit-identical. (torch's own
threads split matrix products, which changes sums, and wait for each other at every layer.)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_MIN_MULTIPLICATIONS = 2 * 10**7
"""Rows times weights of the smaller network, below which a second thread costs more time than it saves."""

_T = TypeVar("_T")


def parallel_forward(one: nn.Module, other: nn.Module, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the outputs of two networks for the same rows.

    Args:
        one: first network.
        other: second network, which shares no weights with the first.
        rows: float32 of shape (n, n_features).
    """
    weights = list(one.parameters()), list(other.parameters())
    if _is_worthwhile(weights, rows):
        outputs: tuple[torch.Tensor, torch.Tensor] = _ParallelForward.apply(  # type: ignore[no-untyped-call]
            one, other, rows, weights, *weights[0], *weights[1]
        )
        return outputs
    return one(rows), other(rows)


_Weights = tuple[list[nn.Parameter], list[nn.Parameter]]


def _is_worthwhile(weights: _Weights, rows: torch.Tensor) -> bool:
    # The rows need a gradient if they are the output of shared layers.
    if rows.requires_grad or not torch.is_grad_enabled():
        return False
    return len(rows) * min(sum(array.numel() for array in network) for network in weights) >= _MIN_MULTIPLICATIONS


class _ParallelForward(torch.autograd.Function):
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
        arguments = zip(ctx.outputs, ctx.weights, gradients, strict=True)
        one, other = _both(*(partial(torch.autograd.grad, *of_network) for of_network in arguments))
        return None, None, None, None, *one, *other


def _with_graph(network: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        output: torch.Tensor = network(rows)
        return output


def _both(here: Callable[[], _T], there: Callable[[], _T]) -> tuple[_T, _T]:
    later = _second_thread().submit(there)
    try:
        return here(), later.result()
    finally:
        # Even after an exception, wait until the other thread has stopped reading weights.
        later.exception()


@cache
def _second_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "parallel-forward", initializer=torch.set_num_threads, initargs=(1,))
