"""Stable-Baselines3's actor-critic policy with the layers of a `NetworkSettings`.

Stable-Baselines3 scales images to [0, 1] and flattens them, so convolutions are part of the MLP extractor here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import STACK_SHAPE
from tasks.arcade.learner.onednn_linear import Linear, linear
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.convolutions import output_shape
from tasks.arcade.settings.networks import NetworkSettings, QNetworkSettings, RecurrentNetworkSettings

_MAX_ACTIVE_SHARE = 0.9
"""Share of active features above which dropping the others costs more time than it saves."""
_EMBEDDING_DEVIATION = 0.05
"""Of the initial embeddings: the sum of 128 of them has the deviation 0.6, about that of the other inputs' part."""
_WIDTH_STEP = 16
"""The number of active features is rounded up to a multiple of this: oneDNN compiles and caches kernels per width."""


class FirstLayer(Linear):
    """First linear layer, of all features or of the active ones.

    A feature that is 0 throughout contributes nothing, and its weights get no gradient.

    Attributes:
        active: indices of the features in the rows, int64 of shape (n,); None if the rows have all features.
    """

    active: torch.Tensor | None = None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if self.active is None:
            return super().forward(rows)
        return linear(rows, self.weight.index_select(1, self.active), self.bias)


class EmbeddedLayer(FirstLayer):
    """First linear layer that adds the embeddings of the last 128 features, indices of rows of a table.

    Attributes:
        values: the table, float32 of shape (n_values + 1, n_out); row 0, of values without an embedding, stays 0.
    """

    def __init__(self, n_in: int, n_out: int, n_values: int) -> None:
        super().__init__(n_in - RAM_SIZE, n_out)
        table = _EMBEDDING_DEVIATION * torch.randn(n_values + 1, n_out)
        table[0] = 0
        self.values = nn.Parameter(table)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        indices = rows[:, -RAM_SIZE:].long()
        embedded = nn.functional.embedding_bag(indices, self.values, mode="sum", padding_idx=0)
        return super().forward(rows[:, :-RAM_SIZE].contiguous()) + embedded


@contextmanager
def active_features_only(policy: nn.Module, buffer: RolloutBuffer) -> Iterator[None]:
    """Drop the features that are 0 throughout a rollout while training on it: most games use few of their bytes.

    Args:
        policy: the policy, whose `FirstLayer`s are switched to the active features.
        buffer: the rollout, whose observations, float32 of shape (..., n_features), are reduced meanwhile.
    """
    whole, flat = buffer.observations, buffer.generator_ready
    first = [layer for layer in policy.modules() if isinstance(layer, FirstLayer)]
    n_indices = RAM_SIZE if any(isinstance(layer, EmbeddedLayer) for layer in first) else 0
    n_dense = whole.shape[-1] - n_indices
    active = _active(whole[..., :n_dense]) if first else None
    if active is None or len(active) > _MAX_ACTIVE_SHARE * n_dense:
        yield
        return
    buffer.observations = whole.take([*active, *range(n_dense, whole.shape[-1])], axis=-1)
    for layer in first:
        layer.active = torch.from_numpy(active)
    try:
        yield
    finally:
        for layer in first:
            layer.active = None
        # Stable-Baselines3 flattens the buffer on the first call of `get`.
        buffer.observations = whole if buffer.generator_ready == flat else buffer.swap_and_flatten(whole)


def _active(features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the features that are not 0 throughout, and a few more to round up their number."""
    active = np.asarray(features.reshape(-1, features.shape[-1]).any(axis=0))
    active[np.flatnonzero(~active)[: -int(active.sum()) % _WIDTH_STEP]] = True
    return np.flatnonzero(active)


class ActorCritic(nn.Module):
    """The layers of a `NetworkSettings`, as an MLP extractor of Stable-Baselines3."""

    first: type[nn.Linear] = FirstLayer
    later: type[nn.Linear] = Linear

    def __init__(self, n_features: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.convolutions, size = _convolutions(n_features, settings)
        gets_features = not (settings.convolutions or isinstance(settings, RecurrentNetworkSettings))
        # Without hidden layers, Stable-Baselines3's own output layer gets the features, and needs all of them.
        has_first_layers = settings.body or (settings.pi and settings.vf)
        first: Callable[[int, int], nn.Module] = self.first if gets_features and has_first_layers else self.later
        if settings.value_embeddings:
            first = partial(EmbeddedLayer, n_values=settings.value_embeddings)
        self.body, hidden = mlp(size, settings.body, settings, first, self.later)
        first = self.later if settings.body else first
        self.policy_net, self.latent_dim_pi = mlp(hidden, settings.pi, settings, first, self.later)
        self.value_net, self.latent_dim_vf = mlp(hidden, settings.vf, settings, first, self.later)

    @property
    def shares_layers(self) -> bool:
        """Whether policy and value have layers in common."""
        return bool(self.convolutions or self.body)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shared = self.body(self.convolutions(features))
        return self.policy_net(shared), self.value_net(shared)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        latent: torch.Tensor = self.policy_net(self.body(self.convolutions(features)))
        return latent

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        latent: torch.Tensor = self.value_net(self.body(self.convolutions(features)))
        return latent


def _convolutions(n_features: int, settings: NetworkSettings) -> tuple[nn.Sequential, int]:
    if not settings.convolutions:
        return nn.Sequential(), n_features
    built: list[nn.Module] = [nn.Unflatten(1, STACK_SHAPE)]
    depth = STACK_SHAPE[0]
    for layer in settings.convolutions:
        built += [nn.Conv2d(depth, layer.channels, layer.side, layer.stride), _activation(settings)]
        depth = layer.channels
    return nn.Sequential(*built, nn.Flatten()), prod(output_shape(settings.convolutions, STACK_SHAPE))


def _activation(settings: NetworkSettings | QNetworkSettings) -> nn.Module:
    return nn.Tanh() if settings.activation == "tanh" else nn.ReLU()


def mlp(
    n_in: int,
    widths: tuple[int, ...],
    settings: NetworkSettings | QNetworkSettings,
    first: Callable[[int, int], nn.Module] = Linear,
    later: type[nn.Linear] = Linear,
) -> tuple[nn.Sequential, int]:
    """Return hidden layers of these widths, and the width of the last one."""
    built: list[nn.Module] = []
    for width in widths:
        built.append((later if built else first)(n_in, width))
        if settings.layer_norm:
            built.append(nn.LayerNorm(width))
        built.append(_activation(settings))
        n_in = width
    return nn.Sequential(*built), n_in


class RamPolicy(ActorCriticPolicy):
    """Stable-Baselines3's actor-critic policy with the layers of a `NetworkSettings`."""

    extractor: type[ActorCritic] = ActorCritic

    def __init__(self, *args: Any, network: NetworkSettings, **kwargs: Any) -> None:
        self._network = network
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = self.extractor(self.features_dim, self._network)  # type: ignore[assignment]


class PlainActorCritic(ActorCritic):
    """The same layers with torch's own operators."""

    first, later = nn.Linear, nn.Linear


class PlainRamPolicy(RamPolicy):
    """The same policy as Stable-Baselines3 would train it: the baseline of the speed benchmark."""

    extractor = PlainActorCritic


def weights_as_arrays(policy: nn.Module, prefix: str = "") -> Weights:
    """Return the weights in the state dict whose names start with a prefix, as NumPy arrays."""
    state = policy.state_dict().items()
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in state if name.startswith(prefix)}
