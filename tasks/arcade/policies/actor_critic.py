"""Forward pass of the actor-critic network in NumPy, so that processes that only play need no torch.

Each row is multiplied on its own, so that its result depends neither on the batch size nor on its position: one
environment in a video and sixteen in a worker get bit-identical logits. In a matrix product BLAS may sum the seventh
row in another order than the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from math import prod
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import STACK_SHAPE
from tasks.arcade.policies.convolutions import Convolutions, convolution_shapes, output_shape
from tasks.arcade.policies.features import FeatureArray
from tasks.arcade.settings.networks import NetworkSettings

Floats = npt.NDArray[np.float32]
Weights = Mapping[str, Floats]
"""Arrays of a policy, under their names in Stable-Baselines3's state dict."""

_NORM_EPSILON = np.float32(1e-5)
_CONVOLUTIONS = "mlp_extractor.convolutions"
VALUES = "values"
"""Name of the table of value embeddings within the first layer."""


class Policy(Protocol):
    """A feedforward policy: logits over actions and a value estimate for each row of features."""

    n_actions: int

    def logits(self, features: FeatureArray) -> Floats:
        """Return logits over actions, float32 of shape (n, n_actions)."""
        ...

    def values(self, features: FeatureArray) -> Floats:
        """Return value estimates, float32 of shape (n,)."""
        ...


class UniformPolicy:
    """Uniformly random actions; every value estimate is 0."""

    def __init__(self, n_actions: int) -> None:
        self.n_actions = n_actions

    def logits(self, features: FeatureArray) -> Floats:
        return np.zeros((len(features), self.n_actions), np.float32)

    def values(self, features: FeatureArray) -> Floats:
        return np.zeros(len(features), np.float32)


class NoopPolicy(UniformPolicy):
    """Always action 0, which is NOOP in every game."""

    def logits(self, features: FeatureArray) -> Floats:
        out = np.full((len(features), self.n_actions), -np.inf, np.float32)
        out[:, 0] = 0
        return out


def unlearned_policy(algorithm: Literal["random", "noop"], n_actions: int) -> Policy:
    """Return the policy of a baseline without learning."""
    return NoopPolicy(n_actions) if algorithm == "noop" else UniformPolicy(n_actions)


Layer = Callable[[Floats], Floats]


class NetworkPolicy:
    """Actor-critic network.

    Attributes:
        convolutional: whether there are convolutions. Policy and value function share them, so `logits_and_values`
            takes half as long as one call each.

    Raises:
        ValueError: If the names or shapes of the weights do not match the settings.
    """

    def __init__(self, settings: NetworkSettings, n_features: int, weights: Weights) -> None:
        check_weights(settings, n_features, weights)
        activation = _tanh if settings.activation == "tanh" else _relu
        build = _LayerBuilder(weights, activation, settings.layer_norm)
        self._convolutions = (
            Convolutions(_CONVOLUTIONS, settings.convolutions, STACK_SHAPE, weights, tanh=settings.activation == "tanh")
            if settings.convolutions
            else None
        )
        self.convolutional = bool(settings.convolutions)
        self._body = build.layers("mlp_extractor.body", settings.body)
        self._pi = [*build.layers("mlp_extractor.policy_net", settings.pi), build.linear("action_net")]
        self._vf = [*build.layers("mlp_extractor.value_net", settings.vf), build.linear("value_net")]
        self.n_actions = len(weights["action_net.bias"])

    def logits(self, features: FeatureArray) -> Floats:
        if self.convolutional:
            return self.logits_and_values(features)[0]
        return _apply_rowwise([*self._body, *self._pi], _floats(features))

    def values(self, features: FeatureArray) -> Floats:
        if self.convolutional:
            return self.logits_and_values(features)[1]
        return _apply_rowwise([*self._body, *self._vf], _floats(features))[:, 0]

    def values_batched(self, features: FeatureArray) -> Floats:
        """Return `values` by one matrix product per layer, in a third of the time; not for convolutional networks.

        The last bits of a value depend on the batch size.
        """
        return _apply([*self._body, *self._vf], _floats(features))[:, 0]

    def logits_and_values(self, features: FeatureArray) -> tuple[Floats, Floats]:
        """Return logits and values, computing the shared layers once."""
        # BLAS would split products of this size among threads, and the last bits depend on how.
        with _threadpools().limit(limits=1, user_api="blas"):
            rows = self._convolutions(features) if self._convolutions else _floats(features)
            shared = _apply_rowwise(self._body, rows)
            return _apply_rowwise(self._pi, shared), _apply_rowwise(self._vf, shared)[:, 0]


def _floats(features: FeatureArray) -> Floats:
    """Return features as float32, without a copy unless they are pixels."""
    return features.astype(np.float32, copy=False)


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()


def weight_shapes(settings: NetworkSettings, n_features: int, n_actions: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every array of an actor-critic network."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name: str, widths: tuple[int, ...], n_in: int, embeddings: int) -> int:
        for width, (linear, norm) in zip(widths, _names(name, widths, settings.layer_norm), strict=True):
            if embeddings:
                # Row 0 is that of values without an embedding.
                shapes[f"{linear}.{VALUES}"] = (embeddings + 1, width)
                n_in, embeddings = n_in - RAM_SIZE, 0
            shapes[f"{linear}.weight"], shapes[f"{linear}.bias"] = (width, n_in), (width,)
            if norm:
                shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (width,)
            n_in = width
        return n_in

    if settings.convolutions:
        shapes |= convolution_shapes(_CONVOLUTIONS, settings.convolutions, STACK_SHAPE[0])
        n_features = prod(output_shape(settings.convolutions, STACK_SHAPE))
    hidden = add("mlp_extractor.body", settings.body, n_features, settings.value_embeddings)
    embeddings = 0 if settings.body else settings.value_embeddings
    n_pi = add("mlp_extractor.policy_net", settings.pi, hidden, embeddings)
    n_vf = add("mlp_extractor.value_net", settings.vf, hidden, embeddings)
    shapes["action_net.weight"], shapes["action_net.bias"] = (n_actions, n_pi), (n_actions,)
    shapes["value_net.weight"], shapes["value_net.bias"] = (1, n_vf), (1,)
    return shapes


def check_weights(settings: NetworkSettings, n_features: int, weights: Weights) -> None:
    """Raise ValueError unless the weights have the names and shapes of this network."""
    check_shapes(weights, weight_shapes(settings, n_features, n_outputs(weights, "action_net.bias")))


def n_outputs(weights: Weights, bias: str) -> int:
    """Return the number of outputs of the layer with this bias; 0 if there is none."""
    array = weights.get(bias)
    return len(array) if array is not None and array.ndim else 0


def check_shapes(weights: Weights, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless the weights have these names and shapes, and are float32."""
    found = {name: array.shape if array.dtype == np.float32 else None for name, array in weights.items()}
    if found != expected:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ValueError(f"weights do not match the network: {', '.join(wrong[:3])}")


def _names(name: str, widths: tuple[int, ...], layer_norm: bool) -> list[tuple[str, str | None]]:
    """Return the names of (linear, norm) layers, with the indices of torch's Sequential."""
    stride = 3 if layer_norm else 2
    return [(f"{name}.{stride * at}", f"{name}.{stride * at + 1}" if layer_norm else None) for at in range(len(widths))]


class _LayerBuilder:
    def __init__(self, weights: Weights, activation: Layer, layer_norm: bool) -> None:
        self._weights, self._activation, self._layer_norm = weights, activation, layer_norm

    def layers(self, name: str, widths: tuple[int, ...]) -> list[Layer]:
        built: list[Layer] = []
        for linear, norm in _names(name, widths, self._layer_norm):
            built.append(self.linear(linear, centered=norm is not None))
            if norm:
                built.append(self._norm(norm))
            built.append(self._activation)
        return built

    def linear(self, name: str, centered: bool = False) -> Layer:
        matrix, bias = self._weights[f"{name}.weight"].T, self._weights[f"{name}.bias"]
        if centered:
            # LayerNorm subtracts the mean of its inputs: centering the weights once does that for every row.
            matrix, bias = matrix - matrix.mean(axis=1, keepdims=True), bias - bias.mean()
        matrix = np.ascontiguousarray(matrix, np.float32)

        def layer(rows: Floats) -> Floats:
            out: Floats = rows @ matrix
            out += bias
            return out

        table = self._weights.get(f"{name}.{VALUES}")
        if table is None:
            return layer
        return _embedded(layer, table - table.mean(axis=1, keepdims=True) if centered else table)

    def _norm(self, name: str) -> Layer:
        gain, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        share = np.float32(1 / len(gain))

        def layer(centered: Floats) -> Floats:
            variance = np.einsum("...j,...j->...", centered, centered) * share
            centered *= (1 / np.sqrt(variance + _NORM_EPSILON))[..., None]
            centered *= gain
            centered += bias
            return centered

        return layer


def _embedded(dense: Layer, table: Floats) -> Layer:
    """Return a layer that adds the embeddings of the last 128 features, indices of rows of the table."""

    def layer(rows: Floats) -> Floats:
        out = dense(rows[..., :-RAM_SIZE])
        out += table[rows[..., -RAM_SIZE:].astype(np.intp)].sum(axis=-2)
        return out

    return layer


def _apply_rowwise(layers: list[Layer], rows: Floats) -> Floats:
    """Apply the layers to each row on its own, so that its result does not depend on the batch."""
    return _apply(layers, rows[:, None])[:, 0]


def _apply(layers: list[Layer], rows: Floats) -> Floats:
    for layer in layers:
        rows = layer(rows)
    return rows


def _tanh(rows: Floats) -> Floats:
    return np.tanh(rows, out=rows)


def _relu(rows: Floats) -> Floats:
    return np.maximum(rows, np.float32(0), out=rows)


def sample(logits: Floats, uniforms: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Sample actions by inverting the cumulative distribution.

    Args:
        logits: float32 of shape (n, n_actions).
        uniforms: float64 of shape (n,), in [0, 1).

    Returns:
        Actions, int64 of shape (n,), and their log-probabilities, float32 of shape (n,).
    """
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    cumulative = np.cumsum(np.exp(shifted), axis=1)
    total = cumulative[:, -1]
    actions = (cumulative <= (uniforms * total)[:, None]).sum(axis=1)
    chosen = shifted[np.arange(len(actions)), actions]
    return actions, (chosen - np.log(total)).astype(np.float32)
