"""What a picture says about each byte: a network and trees, evaluated in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tasks.arcade.checkpoints.verified_folder import Arrays

Floats = npt.NDArray[np.float32]
Inputs = npt.NDArray[np.int16]

LEAF_VALUES = 4
"""Most frequent values that a leaf keeps; the rest of its probability is shared by all values."""
_NORM_EPSILON = 1e-5
_LARGEST_INPUT = 4.0


def require_shape(
    name: str, array: npt.NDArray[Any], shape: tuple[int, ...], dtype: type[np.generic] = np.float32
) -> None:
    """Raise ValueError unless an array has a shape and a dtype."""
    if array.shape != shape or array.dtype != dtype:
        wanted = f"{np.dtype(dtype)} of shape {shape}"
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape} instead of {wanted}")


class _Arrays:
    """A dataclass of arrays that is read from and written to safetensors under a prefix."""

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str) -> Self:
        """Read the arrays `prefix.field`.

        Raises:
            KeyError: One is missing.
        """
        return cls(**{one.name: arrays[f"{prefix}.{one.name}"] for one in fields(cls)})  # type: ignore[arg-type]

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays as `prefix.field`."""
        return {f"{prefix}.{one.name}": getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Network(_Arrays):
    """Two layers with layer normalization and ReLU, and a softmax per byte over both.

    Attributes:
        mean: Mean of each feature, float32 of shape (n_features,).
        scale: Reciprocal of its standard deviation, likewise.
        current: Weights of this picture's features, float32 of shape (hidden, n_features).
        previous: Weights of the features of the picture before, likewise.
        bias: float32 of shape (hidden,).
        body: float32 of shape (hidden, hidden).
        body_bias: float32 of shape (hidden,).
        norms: Gain and bias of both normalizations, float32 of shape (4, hidden).
        head: float32 of shape (n_outputs, 2 * hidden).
        head_bias: float32 of shape (n_outputs,).
    """

    mean: Floats
    scale: Floats
    current: Floats
    previous: Floats
    bias: Floats
    body: Floats
    body_bias: Floats
    norms: Floats
    head: Floats
    head_bias: Floats

    def hidden(self, features: npt.NDArray[np.uint8], previous: npt.NDArray[np.uint8]) -> Floats:
        """Return the inputs of the heads, float32 of shape (n, 2 * hidden), for features of shape (n, n_features)."""
        one = self._normalized(features) @ self.current.T + self._normalized(previous) @ self.previous.T + self.bias
        first = np.maximum(_layer_norm(one, self.norms[0], self.norms[1]), 0)
        second = np.maximum(_layer_norm(first @ self.body.T + self.body_bias, self.norms[2], self.norms[3]), 0)
        return np.concatenate([first, second], axis=1)

    def probabilities(self, hidden: Floats, begin: int, end: int) -> Floats:
        """Return the softmax over outputs `begin` to `end`: float32 of shape (n, end - begin)."""
        logits = hidden @ self.head[begin:end].T + self.head_bias[begin:end]
        return _softmax(logits)

    def check(self, n_features: int, n_outputs: int) -> None:
        """Raise ValueError unless the arrays are those of a network with this many features and outputs."""
        hidden = self.bias.size
        for name, shape in {
            **dict.fromkeys(("mean", "scale"), (n_features,)),
            **dict.fromkeys(("current", "previous"), (hidden, n_features)),
            **dict.fromkeys(("bias", "body_bias"), (hidden,)),
            "body": (hidden, hidden),
            "norms": (4, hidden),
            "head": (n_outputs, 2 * hidden),
            "head_bias": (n_outputs,),
        }.items():
            require_shape(f"network.{name}", getattr(self, name), shape)

    def _normalized(self, features: npt.NDArray[np.uint8]) -> Floats:
        scaled: Floats = (features - self.mean) * self.scale
        return np.clip(scaled, -_LARGEST_INPUT, _LARGEST_INPUT)


def _within(indices: npt.NDArray[Any], end: int) -> bool:
    return bool(((indices >= 0) & (indices < end)).all())


def _softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalized: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalized


def _layer_norm(x: Floats, gain: Floats, bias: Floats) -> Floats:
    centered = x - x.mean(axis=1, keepdims=True)
    scaled: Floats = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + _NORM_EPSILON) * gain + bias
    return scaled


@dataclass(frozen=True)
class Trees(_Arrays):
    """Decision trees in one table of nodes; a leaf is its own child.

    Attributes:
        roots: First node of each tree, int32 of shape (n_trees,).
        owners: Byte of each tree, int16 of shape (n_trees,).
        bits: Bit that each tree predicts, int8 of shape (n_trees,); -1 for the whole byte.
        feature: Input that each node compares, int32 of shape (n_nodes,).
        threshold: float32 of shape (n_nodes,).
        children: Child where the input is at most the threshold, and the other one: int32 of shape (n_nodes, 2).
        values: Most frequent value indices, or the bit, of each leaf, uint8 of shape (n_nodes, LEAF_VALUES).
        shares: Their probabilities, float16 of shape (n_nodes, LEAF_VALUES).
    """

    roots: npt.NDArray[np.int32]
    owners: npt.NDArray[np.int16]
    bits: npt.NDArray[np.int8]
    feature: npt.NDArray[np.int32]
    threshold: Floats
    children: npt.NDArray[np.int32]
    values: npt.NDArray[np.uint8]
    shares: npt.NDArray[np.float16]

    def check(self, n_inputs: int, n_values: npt.NDArray[np.int64]) -> None:
        """Raise ValueError unless the arrays are those of trees, each a range of the table that begins with its root.

        Args:
            n_inputs: Number of inputs.
            n_values: Number of values of each byte, shape (128,).
        """
        n_trees, n_nodes = self.roots.size, self.feature.size
        for name, shape, dtype in (
            ("roots", (n_trees,), np.int32),
            ("owners", (n_trees,), np.int16),
            ("bits", (n_trees,), np.int8),
            ("feature", (n_nodes,), np.int32),
            ("threshold", (n_nodes,), np.float32),
            ("children", (n_nodes, 2), np.int32),
            ("values", (n_nodes, LEAF_VALUES), np.uint8),
            ("shares", (n_nodes, LEAF_VALUES), np.float16),
        ):
            require_shape(f"trees.{name}", getattr(self, name), shape, dtype)
        if not n_nodes and not n_trees:
            return
        if (np.diff(self.roots, prepend=-1, append=n_nodes) < 1).any() or self.roots[:1].tolist() != [0]:
            raise ValueError("the roots of the trees do not divide the table")
        own = np.arange(n_nodes)
        tree = np.searchsorted(self.roots, own, side="right") - 1
        last = np.append(self.roots[1:], n_nodes)[tree] - 1
        # Children come after their node, and leaves are their own: so every walk ends.
        if ((self.children < own[:, None]) | (self.children > last[:, None])).any():
            raise ValueError("a tree has children that do not come after it")
        if not _within(self.owners, len(n_values)) or not _within(self.bits + 1, 9):
            raise ValueError("a tree predicts no bit or byte")
        if not _within(self.feature, n_inputs) or (self.values >= n_values[self.owners][tree][:, None]).any():
            raise ValueError("a tree has inputs or values that do not exist")

    def leaves(self, inputs: Inputs) -> npt.NDArray[np.int32]:
        """Return each tree's leaf for one picture's inputs: int32 of shape (n_trees,)."""
        nodes, before = self.roots, np.full_like(self.roots, -1)
        while not np.array_equal(nodes, before):
            before = nodes
            right = inputs[self.feature[nodes]] > self.threshold[nodes]
            nodes = self.children[nodes, right.astype(np.intp)]
        return nodes

    def of(self, byte: int, *, by_bits: bool) -> npt.NDArray[np.intp]:
        """Return the indices of a byte's trees: those of its bits, or those of the whole byte."""
        return np.flatnonzero((self.owners == byte) & ((self.bits >= 0) == by_bits))

    def byte_probabilities(self, leaves: npt.NDArray[np.int32], n_values: int) -> Floats:
        """Return the mean of the leaves' distributions.

        Args:
            leaves: Leaves of the trees of one byte, int32 of shape (n, n_trees).
            n_values: Number of the byte's values.

        Returns:
            float32 of shape (n, n_values).
        """
        shares = self.shares[leaves].astype(np.float32)
        rest = 1 - shares.sum(axis=(1, 2)) / leaves.shape[1]
        out = np.repeat(np.maximum(rest, 1e-4)[:, None] / n_values, n_values, axis=1)
        rows = np.arange(len(leaves))[:, None, None]
        np.add.at(out, (rows, self.values[leaves]), shares / leaves.shape[1])
        normalized: Floats = (out / out.sum(axis=1, keepdims=True)).astype(np.float32)
        return normalized

    def bit_probabilities(
        self, leaves: npt.NDArray[np.int32], bits: npt.NDArray[np.int8], values: npt.NDArray[np.uint8]
    ) -> Floats:
        """Return the product of the probabilities of a value's bits, normalized over the byte's values.

        Args:
            leaves: Leaves of the trees of one byte's bits, int32 of shape (n, n_trees).
            bits: Bit of each of these trees, int8 of shape (n_trees,).
            values: The byte's values, uint8 of shape (n_values,).

        Returns:
            float32 of shape (n, n_values).
        """
        is_set = np.clip(self.shares[leaves, 0].astype(np.float32), 1e-4, 1 - 1e-4)
        wanted = (values[:, None] >> bits.astype(np.uint8)[None]) & 1
        logs = np.log(is_set) @ wanted.T + np.log1p(-is_set) @ (1 - wanted).T
        return _softmax(logs.astype(np.float32))
