"""Settings of the networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.arcade.settings.base import Settings


class Convolution(Settings):
    """A layer that looks at every part of a picture alike."""

    channels: int = Field(ge=1, le=4096, description="that come out")
    side: int = Field(ge=1, le=84, description="pixels, of the square that it looks at")
    stride: int = Field(ge=1, le=84, description="pixels, from one square to the next")


class NetworkSettings(Settings):
    """The policy's and the value function's layers; actor and critic share the body and have a head each."""

    convolutions: tuple[Convolution, ...] = Field(
        default=(), description="in front of the body, where pixels are seen; shared as well"
    )
    body: tuple[int, ...] = Field(default=(), description="widths of the layers that both heads share")
    pi: tuple[int, ...] = Field(default=(64, 64), description="widths of the policy's own layers")
    vf: tuple[int, ...] = Field(default=(64, 64), description="widths of the value function's own layers")
    activation: Literal["tanh", "relu"] = Field(default="tanh", description="between the layers")
    layer_norm: bool = Field(default=False, description="LayerNorm before every activation")


class RecurrentNetworkSettings(NetworkSettings):
    """An LSTM for the policy and another one for the value function, on RAM; the layers come after them.

    The critic has its own because what a step is worth depends on what was seen before as much as what to do does. Of
    what sb3-contrib offers besides, one that both share would learn from the policy's gradient alone, and a critic
    without one would judge by half of what flickers.
    """

    convolutions: tuple[()] = Field(default=(), description="none: RAM is what is remembered")
    lstm: int = Field(default=128, ge=1, le=1024, description="hidden units of each LSTM")


class QNetworkSettings(Settings):
    """The layers from features to what each action is worth."""

    layers: tuple[int, ...] = Field(default=(64, 64), description="widths of the layers before the last one")
    activation: Literal["tanh", "relu"] = Field(default="relu", description="between the layers")
    layer_norm: bool = Field(default=False, description="LayerNorm before every activation")
