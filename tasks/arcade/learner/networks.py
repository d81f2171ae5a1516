"""The policy that learns: Stable-Baselines3's actor-critic with the layers of a `NetworkSettings`.

Stable-Baselines3 divides pictures by 255 and flattens them; convolutions are layers like any others here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from tasks.arcade.emulator.frame_stack import STACK_SHAPE
from tasks.arcade.learner.onednn_linear import Linear, linear
from tasks.arcade.learner.parallel_networks import side_by_side
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.convolutions import output_shape
from tasks.arcade.settings.networks import NetworkSettings, QNetworkSettings, RecurrentNetworkSettings

_WORTH = 0.9
"""Share of the features shown, above which leaving the others out takes longer than it saves."""

_GRAIN = 16
"""Features are left out by as many: for each width of a layer oneDNN makes itself kernels and keeps them."""


class FirstLayer(Linear):
    """Takes features in: all of them, or those that are shown in any row.

    Features that are 0 add nothing, and their weights get no gradient.

    Attributes:
        shown: which features the rows are of, int64 of shape (n,); none: of all of them.
    """

    shown: torch.Tensor | None = None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if self.shown is None:
            return super().forward(rows)
        return linear(rows, self.weight.index_select(1, self.shown), self.bias)


@contextmanager
def only_what_is_shown(policy: nn.Module, buffer: RolloutBuffer) -> Iterator[None]:
    """A rollout is learned from without the features that are 0 throughout: most games use few of their bytes.

    Args:
        policy: that learns, by its `FirstLayer`s.
        buffer: the rollout, whose observations are float32 of shape (..., n_features); fewer features meanwhile.
    """
    whole, flat = buffer.observations, buffer.generator_ready
    first = [layer for layer in policy.modules() if isinstance(layer, FirstLayer)]
    shown = _shown(whole) if first else None
    if shown is None or len(shown) > _WORTH * whole.shape[-1]:
        yield
        return
    buffer.observations = whole.take(shown, axis=-1)
    for layer in first:
        layer.shown = torch.from_numpy(shown)
    try:
        yield
    finally:
        for layer in first:
            layer.shown = None
        # Stable-Baselines3 flattens a rollout as soon as it is learned from.
        buffer.observations = whole if buffer.generator_ready == flat else buffer.swap_and_flatten(whole)


def _shown(features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Which features are not 0 throughout, and some that are."""
    ever = np.asarray(features.reshape(-1, features.shape[-1]).any(axis=0))
    ever[np.flatnonzero(~ever)[: -int(ever.sum()) % _GRAIN]] = True
    return np.flatnonzero(ever)


class ActorCritic(nn.Module):
    """The layers of a `NetworkSettings`, in the shape that Stable-Baselines3 expects of an mlp_extractor."""

    first: type[nn.Linear] = FirstLayer
    later: type[nn.Linear] = Linear

    def __init__(self, n_features: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.convolutions, size = _convolutions(n_features, settings)
        sees_features = not (settings.convolutions or isinstance(settings, RecurrentNetworkSettings))
        # A head without a layer takes features in by Stable-Baselines3's own last one, which wants all of them.
        all_by_layers = settings.body or (settings.pi and settings.vf)
        first = self.first if sees_features and all_by_layers else self.later
        self.body, hidden = layers(size, settings.body, settings, first, self.later)
        first = self.later if settings.body else first
        self.policy_net, self.latent_dim_pi = layers(hidden, settings.pi, settings, first, self.later)
        self.value_net, self.latent_dim_vf = layers(hidden, settings.vf, settings, first, self.later)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return side_by_side(self.policy_net, self.value_net, self.body(self.convolutions(features)))

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


def layers(
    n_in: int,
    widths: tuple[int, ...],
    settings: NetworkSettings | QNetworkSettings,
    first: type[nn.Linear] = Linear,
    later: type[nn.Linear] = Linear,
) -> tuple[nn.Sequential, int]:
    """Layers of these widths and kinds, and how wide the last of them is."""
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
    """One network after the other, of torch's own layers."""

    first, later = nn.Linear, nn.Linear

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)


class PlainRamPolicy(RamPolicy):
    """The same layers, learned as Stable-Baselines3 does it: the yardstick that `RamPolicy` is held against."""

    extractor = PlainActorCritic


def arrays_of(policy: nn.Module, prefix: str = "") -> Weights:
    """A policy's weights as NumPy arrays, under those names of its state dict that begin like this."""
    state = policy.state_dict().items()
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in state if name.startswith(prefix)}
