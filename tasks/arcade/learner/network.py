"""The policy that learns: Stable-Baselines3's actor-critic with the layers of a `NetworkSettings`."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from tasks.arcade.policy import Weights
from tasks.arcade.settings import NetworkSettings, QNetworkSettings


class ActorCritic(nn.Module):
    """The layers of a `NetworkSettings`, in the shape that Stable-Baselines3 expects of an mlp_extractor."""

    def __init__(self, n_features: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.body, hidden = layers(n_features, settings.body, settings)
        self.policy_net, self.latent_dim_pi = layers(hidden, settings.pi, settings)
        self.value_net, self.latent_dim_vf = layers(hidden, settings.vf, settings)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.body(features)
        return self.policy_net(hidden), self.value_net(hidden)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        latent: torch.Tensor = self.policy_net(self.body(features))
        return latent

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        latent: torch.Tensor = self.value_net(self.body(features))
        return latent


def layers(
    n_in: int, widths: tuple[int, ...], settings: NetworkSettings | QNetworkSettings
) -> tuple[nn.Sequential, int]:
    """Layers of these widths, and how wide the last of them is."""
    built: list[nn.Module] = []
    for width in widths:
        built.append(nn.Linear(n_in, width))
        if settings.layer_norm:
            built.append(nn.LayerNorm(width))
        built.append(nn.Tanh() if settings.activation == "tanh" else nn.ReLU())
        n_in = width
    return nn.Sequential(*built), n_in


class RamPolicy(ActorCriticPolicy):
    """Stable-Baselines3's actor-critic policy with the layers of a `NetworkSettings`."""

    def __init__(self, *args: Any, network: NetworkSettings, **kwargs: Any) -> None:
        self._network = network
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = ActorCritic(self.features_dim, self._network)  # type: ignore[assignment]

    def arrays(self) -> Weights:
        """The weights as NumPy arrays."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state_dict().items()}
