"""Training of a decoder's trees with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from tasks.arcade.decoding.sources import LEAF_VALUES, Inputs, Trees

_N_TREES = 6
_INPUTS = 60
"""Inputs of each kind, projections and coordinates, that the trees of a target choose from."""
_SAMPLE = 4000
"""Pairs on which inputs are ranked."""
_BIT_PAIRS = 12_000
"""Pairs on which the tree of a bit is trained."""


class InputRanking:
    """Ranks the inputs of trees by how much their means differ between the values of a target.

    Args:
        inputs: int16 of shape (n, n_inputs).
        n_projections: Number of the first inputs, which are projections; the others are coordinates.
    """

    def __init__(self, inputs: Inputs, n_projections: int) -> None:
        self._rows = np.arange(0, len(inputs), max(1, len(inputs) // _SAMPLE))
        self._sample = inputs[self._rows].astype(np.float32)
        self._sample -= self._sample.mean(axis=0)
        self._variance = self._sample.var(axis=0)
        self._n_projections = n_projections

    def best(self, target: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Return the inputs for a target of shape (n,), best of each kind first."""
        _, inverse, counts = np.unique(target[self._rows], return_inverse=True, return_counts=True)
        averaging = np.zeros((len(counts), len(self._rows)), np.float32)
        averaging[inverse, np.arange(len(self._rows))] = 1 / counts[inverse]
        between = counts @ (averaging @ self._sample) ** 2 / len(self._rows)
        score = between / (self._variance + 0.02)
        order = np.argsort(-score, kind="stable")
        is_projection = order < self._n_projections
        return np.concatenate([order[~is_projection][:_INPUTS], order[is_projection][:_INPUTS]])


class TreeBuilder:
    """Collects trees in one table of nodes."""

    def __init__(self) -> None:
        self._tables = list[tuple[int, int, Trees]]()
        self._n_nodes = 0

    def add(self, byte: int, bit: int, tree: Any, inputs: npt.NDArray[np.intp], classes: Sequence[int]) -> None:
        """Add a tree of scikit-learn.

        Args:
            byte: Its byte.
            bit: Bit that it predicts; -1 for the whole byte.
            tree: Its `tree_`.
            inputs: Inputs that it was trained on.
            classes: What its classes stand for: indices of values, or 0 and 1.
        """
        table = _table(tree, inputs, np.array(classes, np.uint8), is_bit=bit >= 0)
        self._tables.append((byte, bit, table))
        self._n_nodes += len(table.feature)

    def build(self) -> Trees:
        """Return all trees."""
        sizes = [len(table.feature) for _, _, table in self._tables]
        roots = np.cumsum([0, *sizes])[: len(sizes)].astype(np.int32)
        if not self._tables:
            return _empty()
        return Trees(
            roots=roots,
            owners=np.array([byte for byte, _, _ in self._tables], np.int16),
            bits=np.array([bit for _, bit, _ in self._tables], np.int8),
            feature=np.concatenate([table.feature for _, _, table in self._tables]),
            threshold=np.concatenate([table.threshold for _, _, table in self._tables]),
            children=np.concatenate(
                [table.children + root for (_, _, table), root in zip(self._tables, roots, strict=True)]
            ),
            values=np.concatenate([table.values for _, _, table in self._tables]),
            shares=np.concatenate([table.shares for _, _, table in self._tables]),
        )


def select_trees(trees: Trees, selected: npt.NDArray[np.intp]) -> Trees:
    """Return some of the trees, in a table without the others."""
    sizes = np.diff(trees.roots, append=len(trees.feature))
    if not len(selected):
        return _empty()
    parts = [np.arange(trees.roots[tree], trees.roots[tree] + sizes[tree]) for tree in selected]
    nodes = np.concatenate(parts)
    roots = np.cumsum([0, *(len(part) for part in parts)])[: len(parts)].astype(np.int32)
    shift = np.concatenate([np.full(len(part), root - part[0]) for part, root in zip(parts, roots, strict=True)])
    return Trees(
        roots=roots,
        owners=trees.owners[selected],
        bits=trees.bits[selected],
        feature=trees.feature[nodes],
        threshold=trees.threshold[nodes],
        children=(trees.children[nodes] + shift[:, None]).astype(np.int32),
        values=trees.values[nodes],
        shares=trees.shares[nodes],
    )


def fit_byte(
    builder: TreeBuilder, ranking: InputRanking, inputs: Inputs, byte: int, target: npt.NDArray[np.int64], seed: int
) -> None:
    """Train trees of a whole byte.

    Args:
        builder: Receives the trees.
        ranking: Ranking of the inputs.
        inputs: int16 of shape (n, n_inputs).
        byte: The byte.
        target: Index of its value, shape (n,).
        seed: Seed of the trees.
    """
    chosen = ranking.best(target)
    forest = RandomForestClassifier(
        _N_TREES, max_features=0.4, min_samples_leaf=2, max_leaf_nodes=2048, random_state=seed, bootstrap=False
    )
    forest.fit(inputs[:, chosen].astype(np.float32), target)
    for estimator in forest.estimators_:
        builder.add(byte, -1, estimator.tree_, chosen, forest.classes_.astype(int).tolist())


def fit_bits(
    builder: TreeBuilder, ranking: InputRanking, inputs: Inputs, byte: int, values: npt.NDArray[np.int64], seed: int
) -> None:
    """Train a tree for each bit of a byte that varies; `values` are those of the byte, shape (n,)."""
    step = max(1, len(values) // _BIT_PAIRS)
    for bit in range(8):
        target = (values >> bit) & 1
        if target.min() == target.max():
            continue
        chosen = ranking.best(target)
        tree = DecisionTreeClassifier(min_samples_leaf=2, max_leaf_nodes=128, random_state=seed)
        tree.fit(inputs[::step, chosen].astype(np.float32), target[::step])
        builder.add(byte, bit, tree.tree_, chosen, tree.classes_.astype(int).tolist())


def _table(tree: Any, inputs: npt.NDArray[np.intp], classes: npt.NDArray[np.uint8], *, is_bit: bool) -> Trees:
    """Return scikit-learn's tree with the nodes of this table."""
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    own, is_leaf = np.arange(len(left)), left < 0
    feature = np.asarray(tree.feature)
    distributions = np.asarray(tree.value)[:, 0]
    distributions = distributions / distributions.sum(axis=1, keepdims=True)
    values = np.zeros((len(left), LEAF_VALUES), np.uint8)
    shares = np.zeros((len(left), LEAF_VALUES), np.float16)
    if is_bit:
        shares[:, 0] = distributions @ classes
    else:
        top = np.argsort(-distributions, axis=1, kind="stable")[:, :LEAF_VALUES]
        values[:, : top.shape[1]] = classes[top]
        shares[:, : top.shape[1]] = np.take_along_axis(distributions, top, axis=1)
    return Trees(
        roots=np.zeros(1, np.int32),
        owners=np.zeros(1, np.int16),
        bits=np.zeros(1, np.int8),
        feature=np.where(is_leaf, 0, inputs[np.maximum(feature, 0)]).astype(np.int32),
        threshold=np.asarray(tree.threshold, np.float32),
        children=np.where(is_leaf[:, None], own[:, None], np.stack([left, right], axis=1)).astype(np.int32),
        values=values,
        shares=shares,
    )


def _empty() -> Trees:
    none = np.zeros(0, np.int32)
    return Trees(
        none,
        none.astype(np.int16),
        none.astype(np.int8),
        none,
        none.astype(np.float32),
        np.zeros((0, 2), np.int32),
        np.zeros((0, LEAF_VALUES), np.uint8),
        np.zeros((0, LEAF_VALUES), np.float16),
    )
