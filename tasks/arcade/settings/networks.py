"""Architectures of the networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from tasks.arcade.settings.base import Settings


class Convolution(Settings):
    """A convolutional layer."""

    channels: int = Field(ge=1, le=4096, description="Output channels")
    side: int = Field(ge=1, le=84, description="Kernel size in pixels")
    stride: int = Field(ge=1, le=84, description="Stride in pixels")


class NetworkSettings(Settings):
    """Layers of an actor-critic network: convolutions and body are shared, then policy and value function separate."""

    convolutions: tuple[Convolution, ...] = Field(
        default=(), description="Shared convolutional layers, for pixel observations only"
    )
    body: tuple[int, ...] = Field(default=(), description="Widths of the shared fully connected layers")
    pi: tuple[int, ...] = Field(default=(64, 64), description="Widths of the policy layers")
    vf: tuple[int, ...] = Field(default=(64, 64), description="Widths of the value-function layers")
    activation: Literal["tanh", "relu"] = Field(default="tanh", description="Activation function of the hidden layers")
    layer_norm: bool = Field(default=False, description="Apply LayerNorm before every activation")
    value_embeddings: int = Field(
        default=0,
        ge=0,
        le=32_768,
        description="Number of pairs of a byte and a value with an embedding of their own, which is added to the first "
        "hidden layer: the same as one-hot inputs; equal to the features' value_indices",
    )

    @field_validator("value_embeddings")
    @classmethod
    def _validate_value_embeddings(cls, value: int, info: ValidationInfo) -> int:
        if value and not (info.data.get("body") or (info.data.get("pi") and info.data.get("vf"))):
            raise ValueError("value embeddings require hidden layers: a body, or pi and vf")
        return value


class RecurrentNetworkSettings(NetworkSettings):
    """An LSTM each for actor and critic, on RAM features, followed by the layers of an actor-critic network.

    Of sb3-contrib's alternatives, a shared LSTM would be trained by the policy gradient alone, and a critic without an
    LSTM could not estimate the value of a partially observed state.
    """

    convolutions: tuple[()] = Field(default=(), description="Not supported: recurrent networks observe RAM")
    value_embeddings: Literal[0] = Field(default=0, description="Not supported")
    lstm: int = Field(default=128, ge=1, le=1024, description="Hidden units of each LSTM")


class QNetworkSettings(Settings):
    """Layers of a Q-network."""

    layers: tuple[int, ...] = Field(default=(64, 64), description="Widths of the hidden layers")
    activation: Literal["tanh", "relu"] = Field(default="relu", description="Activation function of the hidden layers")
    layer_norm: bool = Field(default=False, description="Apply LayerNorm before every activation")
