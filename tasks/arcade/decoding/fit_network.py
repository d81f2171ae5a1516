"""Training of a decoder's network with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tasks.arcade.decoding.sources import Floats, Network

HIDDEN = 256
_BATCH = 256
_LEARNING_RATE = 2e-3
_WARMUP = 100
"""Batches until the learning rate is reached; it falls to zero from there."""
_MIN_DEVIATION = 0.25
"""Features that hardly vary are not magnified beyond this."""
_LARGEST_INPUT = 4.0


class _Module(nn.Module):
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: Floats, scale: Floats, n_outputs: int) -> None:
        super().__init__()
        n_features = len(mean)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.current = nn.Linear(n_features, HIDDEN)
        self.previous = nn.Linear(n_features, HIDDEN, bias=False)
        self.body = nn.Linear(HIDDEN, HIDDEN)
        self.norm, self.body_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.head = nn.Linear(2 * HIDDEN, n_outputs)

    def _normalized(self, x: torch.Tensor) -> torch.Tensor:
        return ((x.float() - self.mean) * self.scale).clamp(-_LARGEST_INPUT, _LARGEST_INPUT)

    def forward(self, features: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        one = self.current(self._normalized(features)) + self.previous(self._normalized(previous))
        first = self.norm(one).relu()
        second = self.body_norm(self.body(first)).relu()
        out: torch.Tensor = self.head(torch.cat([first, second], 1))
        return out


def fit_network(
    features: npt.NDArray[np.uint8],
    previous: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    sizes: Sequence[int],
    *,
    epochs: int,
    seed: int,
    on_epoch: Callable[[int, float], object],
) -> Network:
    """Train a network on one core.

    Args:
        features: Features of each picture, shape (n, n_features).
        previous: Features of the picture before each, likewise.
        targets: Index of each byte's value, shape (n, n_bytes).
        sizes: Number of values of each byte.
        epochs: Passes over the pairs.
        seed: Seed of weights and order.
        on_epoch: Called after each epoch with its number, from 1, and its mean loss.
    """
    sample = features[:: max(1, len(features) // 4000)].astype(np.float32)
    deviation = np.maximum(sample.std(axis=0), _MIN_DEVIATION)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = _Module(sample.mean(axis=0), 1 / deviation, sum(sizes))
            _train(module, features, previous, targets, sizes, epochs, np.random.default_rng(seed), on_epoch)
    finally:
        torch.set_num_threads(threads)
    return _network(module)


def _train(
    module: _Module,
    features: npt.NDArray[np.uint8],
    previous: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    sizes: Sequence[int],
    epochs: int,
    rng: np.random.Generator,
    on_epoch: Callable[[int, float], object],
) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=_LEARNING_RATE)
    offsets = torch.from_numpy(np.cumsum([0, *sizes[:-1]]))
    batches = max(1, len(features) // _BATCH)
    total_steps = epochs * batches
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / _WARMUP) * (1 - step / total_steps) + 1e-3
    )
    for epoch in range(1, epochs + 1):
        order, total = rng.permutation(len(features)), 0.0
        for rows in np.array_split(order, batches):
            logits = module(torch.from_numpy(features[rows]), torch.from_numpy(previous[rows]))
            loss = _loss(logits, torch.from_numpy(targets[rows]), sizes, offsets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        on_epoch(epoch, total / batches)


def _loss(logits: torch.Tensor, targets: torch.Tensor, sizes: Sequence[int], offsets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy over bytes."""
    normalizers = torch.stack([part.logsumexp(1) for part in torch.split(logits, list(sizes), dim=1)], 1)
    return (normalizers - logits.gather(1, targets + offsets)).mean()


def _network(module: _Module) -> Network:
    def array(tensor: torch.Tensor) -> Floats:
        return np.ascontiguousarray(tensor.detach().numpy())

    norms = (module.norm.weight, module.norm.bias, module.body_norm.weight, module.body_norm.bias)
    return Network(
        mean=array(module.mean),
        scale=array(module.scale),
        current=array(module.current.weight),
        previous=array(module.previous.weight),
        bias=array(module.current.bias),
        body=array(module.body.weight),
        body_bias=array(module.body.bias),
        norms=array(torch.stack(norms)),
        head=array(module.head.weight),
        head_bias=array(module.head.bias),
    )
