"""Which bytes a decision depends on: the gradient of what speaks for the chosen action, carried back to the RAM.

What speaks for an action is the logarithm of its probability, where a policy samples by preferences; where actions are
played by what they are worth, it is the advantage: how much more the action is worth than all of them on average.

Exact: the chain rule through the network and through the features, in float64, no sampling and no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE, Ram
from tasks.arcade.policies.actor_critic import Weights, weight_shapes
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import NetworkSettings

Vector = npt.NDArray[np.float64]
Backward = Callable[[Vector], Vector]
"""From the gradient by a layer's output to the gradient by its input."""
Layer = Callable[[Vector], tuple[Vector, Backward]]

_NORM_EPSILON = 1e-5


class Saliency:
    """What a network's decisions depend on.

    Args:
        features: how RAM becomes the network's input.
        statistics: of the checkpoint.
        network: the layers.
        weights: of the checkpoint.
        speaks_for: the gradient, by the network's outputs, of what speaks for an action.

    Raises:
        ValueError: the weights do not fit the network.
    """

    def __init__(
        self,
        features: FeatureSettings,
        statistics: Statistics,
        network: NetworkSettings,
        weights: Weights,
        speaks_for: Callable[[Vector, int], Vector] | None = None,
    ) -> None:
        self._carry = RamGradient(features, statistics, speaks_for)
        self._layers = policy_layers(network, self._carry.n_features, weights)

    def __call__(self, ram: Ram, previous: Ram, action: int) -> Vector:
        """The gradient of what speaks for an action by each byte of the RAM, the RAM before held as it is.

        Where features are bits a byte has no derivative; it gets the length of the gradient by its eight bits.

        Args:
            ram: uint8 of shape (128,).
            previous: the RAM one step before.
            action: the one that was taken.

        Returns:
            float64 of shape (128,), nats (or worth) for one more in the byte.

        Raises:
            ValueError: the network sees pixels, no RAM.
        """
        return self._carry(self._layers, ram, previous, action)


class RamGradient:
    """Carries what speaks for an action through layers and features back to the bytes that these are made of.

    Args:
        features: how RAM becomes the network's input.
        statistics: of the checkpoint.
        speaks_for: the gradient, by the layers' outputs, of what speaks for an action; none: of its log-probability.

    Attributes:
        n_features: inputs of the first layer.
    """

    def __init__(
        self,
        features: FeatureSettings,
        statistics: Statistics,
        speaks_for: Callable[[Vector, int], Vector] | None = None,
    ) -> None:
        self._speaks_for = speaks_for or log_probability_gradient
        self._features = Features(features, statistics)
        self._bytes = _BytesBehindFeatures(features, statistics)
        self.n_features = self._features.size

    def __call__(self, layers: Iterable[Layer], ram: Ram, previous: Ram, action: int) -> Vector:
        """The gradient by each byte, as `Attention` has it, through these layers."""
        inputs = self._features(ram[None], previous[None])[0].astype(np.float64)
        values, back = inputs, list[Backward]()
        for layer in layers:
            values, backward = layer(values)
            back.append(backward)
        gradient = self._speaks_for(values, action)
        for backward in reversed(back):
            gradient = backward(gradient)
        return self._bytes(gradient, inputs)


def softmax(logits: Vector) -> Vector:
    """Probabilities from logits, float64 of shape (actions,) both."""
    odds = np.exp(logits - logits.max())
    shares: Vector = odds / odds.sum()
    return shares


def log_probability_gradient(logits: Vector, action: int) -> Vector:
    """The gradient of an action's log-probability by the logits."""
    gradient = -softmax(logits)
    gradient[action] += 1
    return gradient


def advantage_gradient(worth: Vector, action: int) -> Vector:
    """The gradient of an action's advantage, its worth less the mean of all, by what each action is worth."""
    gradient: Vector = np.full(len(worth), -1 / len(worth))
    gradient[action] += 1
    return gradient


def policy_layers(network: NetworkSettings, n_inputs: int, weights: Weights) -> list[Layer]:
    """The layers from inputs to logits, in order; those that give the value are left out."""
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    shapes = weight_shapes(network, n_inputs, len(wide["action_net.bias"]))
    if {name: array.shape for name, array in wide.items()} != shapes:
        raise ValueError("weights do not fit the network")
    activation = _tanh if network.activation == "tanh" else _relu
    layers: list[Layer] = []
    names = [name.removesuffix(".weight") for name in shapes if name.endswith(".weight") and "value" not in name]
    for name in names:
        is_norm = wide[f"{name}.weight"].ndim == 1
        layers.append((_norm if is_norm else _linear)(name, wide))
        ends_here = name == "action_net" or (network.layer_norm and not is_norm)
        if not ends_here:
            layers.append(activation)
    return layers


def _linear(name: str, weights: Mapping[str, Vector]) -> Layer:
    matrix, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def layer(values: Vector) -> tuple[Vector, Backward]:
        return matrix @ values + bias, lambda gradient: gradient @ matrix

    return layer


def _norm(name: str, weights: Mapping[str, Vector]) -> Layer:
    gain, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def layer(values: Vector) -> tuple[Vector, Backward]:
        inverse = 1 / np.sqrt(values.var() + _NORM_EPSILON)
        normal = (values - values.mean()) * inverse

        def backward(gradient: Vector) -> Vector:
            scaled = gradient * gain
            left: Vector = inverse * (scaled - scaled.mean() - normal * (scaled * normal).mean())
            return left

        return normal * gain + bias, backward

    return layer


def _tanh(values: Vector) -> tuple[Vector, Backward]:
    out = np.tanh(values)
    return out, lambda gradient: gradient * (1 - np.square(out))


def _relu(values: Vector) -> tuple[Vector, Backward]:
    return np.maximum(values, 0), lambda gradient: gradient * (values > 0)


class _BytesBehindFeatures:
    """From the gradient by the features to the gradient by the bytes that they are made of."""

    def __init__(self, settings: FeatureSettings, statistics: Statistics) -> None:
        self._settings = settings
        self._inverse = 1 / statistics.deviation
        moving_bytes = np.array(statistics.moving_bytes, np.intp)
        left, right = np.triu_indices(len(moving_bytes), 1)
        self._left, self._right = moving_bytes[left], moving_bytes[right]
        self._gain = np.full(RAM_SIZE, settings.static_byte_gain if len(moving_bytes) else 1.0)
        self._gain[moving_bytes] = 1

    def __call__(self, gradient: Vector, features: Vector) -> Vector:
        match self._settings.kind:
            case "scaled":
                return gradient / 255
            case "bits":
                bits = gradient[: 8 * RAM_SIZE].reshape(RAM_SIZE, 8)
                lengths: Vector = np.sqrt(np.square(bits).sum(axis=1))
                return lengths
            case "standardized":
                return self._standardized(gradient, features)
            case "pixels":
                raise ValueError("of a policy on pixels no byte decides")

    def _standardized(self, gradient: Vector, features: Vector) -> Vector:
        settings = self._settings
        # A feature that is cut off, which float32 may have moved by a hair, does not follow its byte.
        clip = np.full(len(features), settings.clip * (1 - 1e-6))
        clip[: 2 * RAM_SIZE] *= np.tile(self._gain, 2)
        follows = gradient * (np.abs(features) < clip)
        own, moves = follows[:RAM_SIZE], follows[RAM_SIZE : 2 * RAM_SIZE]
        out: Vector = self._gain * (own * self._inverse + moves / settings.difference_scale)
        at, pairs = 2 * RAM_SIZE, len(self._left)
        for scale in settings.gap_scales if settings.moving_bytes else ():
            np.add.at(out, self._left, follows[at : at + pairs] / scale)
            np.add.at(out, self._right, -follows[at : at + pairs] / scale)
            at += pairs
        for period in settings.gap_periods if settings.moving_bytes else ():
            sines, cosines = (slice(start, start + pairs) for start in (at, at + pairs))
            slopes = gradient[sines] * features[cosines] - gradient[cosines] * features[sines]
            np.add.at(out, self._left, slopes * (2 * np.pi / period))
            np.add.at(out, self._right, -slopes * (2 * np.pi / period))
            at += 2 * pairs
        return out
