"""Convolutions in NumPy, for the network in front of a policy's layers where it sees pictures.

One row at a time, so that a row's result does not depend on what stands beside it; each layer is one matrix product
over all windows of the picture.
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


def convolved(layers: tuple[Convolution, ...], shape: Shape) -> Shape:
    """The shape of what comes out.

    Raises:
        ValueError: the picture is too small for a layer.
    """
    for layer in layers:
        _, height, width = shape
        if min(height, width) < layer.side:
            raise ValueError(
                f"a convolution of {layer.side} x {layer.side} does not fit a picture of {height} x {width}"
            )
        shape = (layer.channels, (height - layer.side) // layer.stride + 1, (width - layer.side) // layer.stride + 1)
    return shape


def convolution_shapes(name: str, layers: tuple[Convolution, ...], depth: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every array of the layers, over pictures of so many channels."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, called in zip(layers, _names(name, layers), strict=True):
        shapes[f"{called}.weight"] = (layer.channels, depth, layer.side, layer.side)
        shapes[f"{called}.bias"] = (layer.channels,)
        depth = layer.channels
    return shapes


def _names(name: str, layers: tuple[Convolution, ...]) -> list[str]:
    """Of the layers, numbered as torch's Sequential numbers them, an Unflatten before them."""
    return [f"{name}.{2 * at + 1}" for at in range(len(layers))]


class Convolutions:
    """Layers of convolution, each with its activation.

    Args:
        name: of the whole in the weights.
        layers: the layers.
        shape: of a picture.
        weights: by torch's names and in torch's shapes.
        tanh: whether the activation is tanh; relu otherwise.
    """

    def __init__(
        self, name: str, layers: tuple[Convolution, ...], shape: Shape, weights: Mapping[str, Floats], *, tanh: bool
    ) -> None:
        self._shape, self._tanh = shape, tanh
        self._layers = [
            _Layer(layer, weights[f"{called}.weight"], weights[f"{called}.bias"])
            for layer, called in zip(layers, _names(name, layers), strict=True)
        ]
        channels, height, width = convolved(layers, shape)
        self.size = channels * height * width

    def __call__(self, rows: npt.NDArray[np.uint8] | Floats) -> Floats:
        """What comes out of each picture.

        Args:
            rows: of shape (n, channels * height * width), 0 to 255; the first layer takes 255 for 1.

        Returns:
            float32 of shape (n, size), in torch's order.
        """
        return np.stack([self._row(row) for row in rows.reshape(-1, *self._shape)])

    def _row(self, picture: npt.NDArray[np.uint8] | Floats) -> Floats:
        values: Floats = np.ascontiguousarray(picture.transpose(1, 2, 0), np.float32)
        values *= np.float32(1 / 255)
        for layer in self._layers:
            values = layer(values)
            if self._tanh:
                np.tanh(values, out=values)
            else:
                np.maximum(values, np.float32(0), out=values)
        return values.transpose(2, 0, 1).ravel()


class _Layer:
    """One convolution: float32 of shape (height, width, channels) in and out, so that what is copied lies together."""

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
