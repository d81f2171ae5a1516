"""Convolutions in NumPy, for policies on pixels.

One observation at a time, so that a result does not depend on the batch; each layer is one matrix product over all
windows of the image.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from tasks.arcade.settings.networks import Convolution

Floats = npt.NDArray[np.float32]
Shape = tuple[int, int, int]
"""Channels, height, width."""


def output_shape(layers: tuple[Convolution, ...], shape: Shape) -> Shape:
    """Return the output shape of the layers.

    Raises:
        ValueError: If an input is smaller than a layer's kernel.
    """
    for layer in layers:
        _, height, width = shape
        if min(height, width) < layer.side:
            raise ValueError(f"a {layer.side} x {layer.side} kernel is larger than its {height} x {width} input")
        shape = (layer.channels, (height - layer.side) // layer.stride + 1, (width - layer.side) // layer.stride + 1)
    return shape


def convolution_shapes(name: str, layers: tuple[Convolution, ...], depth: int) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every array of the layers, for inputs with `depth` channels."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, layer_name in zip(layers, _names(name, layers), strict=True):
        shapes[f"{layer_name}.weight"] = (layer.channels, depth, layer.side, layer.side)
        shapes[f"{layer_name}.bias"] = (layer.channels,)
        depth = layer.channels
    return shapes


def _names(name: str, layers: tuple[Convolution, ...]) -> list[str]:
    """Return the layers' names, with the indices of torch's Sequential after an Unflatten."""
    return [f"{name}.{2 * at + 1}" for at in range(len(layers))]


class Convolutions:
    """Convolutional layers, each followed by its activation.

    Args:
        name: prefix of the layers' names in the weights.
        layers: the layers.
        shape: shape of an observation.
        weights: arrays under torch's names and in torch's shapes.
        tanh: whether the activation is tanh instead of relu.

    Attributes:
        size: number of outputs per observation.
    """

    def __init__(
        self, name: str, layers: tuple[Convolution, ...], shape: Shape, weights: Mapping[str, Floats], *, tanh: bool
    ) -> None:
        self._shape, self._tanh = shape, tanh
        self._layers = [
            _Convolution(layer, weights[f"{layer_name}.weight"], weights[f"{layer_name}.bias"])
            for layer, layer_name in zip(layers, _names(name, layers), strict=True)
        ]
        channels, height, width = output_shape(layers, shape)
        self.size = channels * height * width

    def __call__(self, rows: npt.NDArray[np.uint8] | Floats) -> Floats:
        """Return the flattened outputs of a batch.

        Args:
            rows: shape (n, channels * height * width), 0 to 255; scaled to [0, 1] before the first layer.

        Returns:
            float32 of shape (n, size), flattened in torch's order.
        """
        return np.stack([self._forward(image) for image in rows.reshape(-1, *self._shape)])

    def _forward(self, image: npt.NDArray[np.uint8] | Floats) -> Floats:
        values: Floats = np.ascontiguousarray(image.transpose(1, 2, 0), np.float32)
        values *= np.float32(1 / 255)
        for layer in self._layers:
            values = layer(values)
            if self._tanh:
                np.tanh(values, out=values)
            else:
                np.maximum(values, np.float32(0), out=values)
        return values.transpose(2, 0, 1).ravel()


class _Convolution:
    """One convolution, channels last (height, width, channels), so that windows are copied contiguously."""

    def __init__(self, settings: Convolution, weights: Floats, bias: Floats) -> None:
        self._settings, self._bias = settings, bias
        self._matrix = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, len(weights)))

    def __call__(self, values: Floats) -> Floats:
        side, stride = self._settings.side, self._settings.stride
        windows = sliding_window_view(values, (side, side), axis=(0, 1))[::stride, ::stride]
        height, width = windows.shape[:2]
        flat = windows.transpose(0, 1, 3, 4, 2).reshape(height * width, -1)
        out: Floats = flat @ self._matrix
        out += self._bias
        return out.reshape(height, width, -1)
