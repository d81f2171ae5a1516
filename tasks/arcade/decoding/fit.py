"""Training of a decoder: sources of every byte, the best one on validation episodes, and its calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from tasks.arcade.decoding.decoder import (
    ByteDecoding,
    ByteModel,
    Decoder,
    DecoderDescription,
    DecoderError,
    FeatureExtractor,
    Source,
    network_offsets,
)
from tasks.arcade.decoding.fit_network import fit_network
from tasks.arcade.decoding.fit_trees import InputRanking, TreeBuilder, fit_bits, fit_byte, select_trees
from tasks.arcade.decoding.pairs import Pairs
from tasks.arcade.decoding.picture_colors import choose_colors
from tasks.arcade.decoding.picture_features import Classes, FeatureVector, PictureFeatures
from tasks.arcade.decoding.sources import Floats, Network, Trees
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.settings.game import GameSettings

Indices = npt.NDArray[np.intp]

MIN_EPISODES = 5
"""Episodes that training, validation and test need: validation and test have a fifth each."""
_SURVEY = 4000
"""Pairs on which features that never vary are found."""
_PICTURE_WEIGHTS = (0.0, 0.5, 1.0)
"""Weights of a picture against memory that are tried."""
_MEMORY_GAIN = 0.003
"""Accuracy that memory must add: a byte that is remembered wrongly stays wrong for a while."""
_SMOOTHING = 0.05
"""Transitions from each value that are added to the counted ones."""


@dataclass(frozen=True)
class Split:
    """Pairs of different episodes: indices, ascending."""

    train: Indices
    validation: Indices
    test: Indices


def split_by_episode(episodes: npt.NDArray[np.int64], seed: int) -> Split:
    """Return a split of whole episodes: three fifths for training, a fifth each for validation and test.

    Raises:
        DecoderError: There are fewer than `MIN_EPISODES`.
    """
    numbers = np.unique(episodes)
    if len(numbers) < MIN_EPISODES:
        raise DecoderError(f"{len(numbers)} episodes are too few to train and test a decoder: gather more pairs")
    shuffled = np.random.default_rng(seed).permutation(numbers)
    n = max(1, len(numbers) // 5)
    parts = [shuffled[2 * n :], shuffled[:n], shuffled[n : 2 * n]]
    return Split(*(np.flatnonzero(np.isin(episodes, part)) for part in parts))


def fit_decoder(
    game: GameSettings, pairs: Pairs, split: Split, *, epochs: int, seed: int, log: Callable[[str], object]
) -> Decoder:
    """Train a decoder.

    Args:
        game: Emulator settings of the pairs.
        pairs: The pairs.
        split: Its training and validation episodes are used.
        epochs: Passes of the network over the training episodes.
        seed: Seed of the training.
        log: Receives lines on the progress.
    """
    return _Fitting(game, pairs, split, epochs, seed, log).decoder()


@dataclass(frozen=True)
class _Candidate:
    """A way to decode a byte, and its probabilities in the validation episodes, float32 of shape (n, n_values)."""

    source: Source
    picture_weight: float | None
    probabilities: Floats
    accuracy: float


class _Fitting:
    def __init__(
        self, game: GameSettings, pairs: Pairs, split: Split, epochs: int, seed: int, log: Callable[[str], object]
    ) -> None:
        self._game, self._pairs, self._split, self._seed, self._log = game, pairs, split, seed, log
        self._epochs = epochs
        rams = pairs.rams[split.train]
        self._values = [np.unique(rams[:, byte]) for byte in range(RAM_SIZE)]
        self._varying = [byte for byte in range(RAM_SIZE) if len(self._values[byte]) > 1]
        self._colors, self._other_colors = choose_colors(pairs, split.train)
        self._columns, self._features = self._extract()
        self._extractor = FeatureExtractor(self._colors, pairs.size, self._columns)
        before = np.where(pairs.starts, np.arange(len(pairs)), np.arange(len(pairs)) - 1)
        self._previous = self._features[before]

    def decoder(self) -> Decoder:
        """Train all sources and return the decoder of the best ones."""
        network = self._fit_network()
        trees, leaves = self._fit_trees()
        hidden = network.hidden(self._features[self._split.validation], self._previous[self._split.validation])
        offsets = dict(zip(self._varying, np.cumsum([0, *self._sizes()])[:-1].tolist(), strict=True))
        decodings, models = list[ByteDecoding](), dict[int, ByteModel]()
        for byte in range(RAM_SIZE):
            values = tuple(self._values[byte].tolist())
            if len(values) == 1:
                decodings.append(ByteDecoding(byte=byte, values=values, source="constant"))
                continue
            begin = offsets[byte]
            evidence: dict[Source, Floats] = {
                "network": network.probabilities(hidden, begin, begin + len(values)),
                **_tree_evidence(trees, leaves, byte, self._values[byte]),
            }
            best, model = self._choose(byte, evidence)
            models[byte] = model
            decodings.append(
                ByteDecoding(byte=byte, values=values, source=best.source, picture_weight=best.picture_weight)
            )
        description = DecoderDescription(
            game=self._game,
            size=self._pairs.size,
            colors=self._colors,
            other_colors=self._other_colors,
            bytes=tuple(decodings),
            pairs=len(self._split.train),
        )
        return Decoder(
            description,
            self._columns,
            _own_heads(network, tuple(decodings), offsets),
            _own_trees(trees, decodings),
            models,
        )

    def _sizes(self) -> list[int]:
        return [len(self._values[byte]) for byte in self._varying]

    def _extract(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """Return the features that vary, each once, and those of all pairs, uint8 of shape (n, n_features)."""
        classes_of = _classes_by_index(self._pairs, self._colors)
        features = PictureFeatures(len(self._colors), self._pairs.size)

        def both(classes: Classes) -> FeatureVector:
            return np.concatenate([features.projections(classes), features.coordinates(classes)])

        train = self._split.train
        survey = np.stack([both(classes_of[self._pairs.picture(i)]) for i in train[:: max(1, len(train) // _SURVEY)]])
        changed = (survey != np.median(survey[:200], axis=0).astype(np.uint8)).sum(axis=0)
        varies = np.flatnonzero(np.minimum(changed, len(survey) - changed) >= 2)
        _, first = np.unique(survey[:, varies], axis=1, return_index=True)
        columns = np.sort(varies[first]).astype(np.int32)
        extract = FeatureExtractor(self._colors, self._pairs.size, columns)
        self._log(f"{len(columns):,} features of {len(self._colors)} colors")
        found = np.empty((len(self._pairs), len(columns)), np.uint8)
        for index in range(len(self._pairs)):
            found[index] = extract(classes_of[self._pairs.picture(index)])
        return columns, found

    def _targets(self, byte: int, rows: Indices) -> npt.NDArray[np.int64]:
        """Return the index of each value of a byte; -1 for values that the training episodes do not have."""
        table = np.full(256, -1)
        table[self._values[byte]] = np.arange(len(self._values[byte]))
        targets: npt.NDArray[np.int64] = table[self._pairs.rams[rows, byte]]
        return targets

    def _fit_network(self) -> Network:
        train = self._split.train
        targets = np.stack([self._targets(byte, train) for byte in self._varying], axis=1)

        def on_epoch(epoch: int, loss: float) -> None:
            self._log(f"network: epoch {epoch} of {self._epochs}, loss {loss:.4f}")

        return fit_network(
            self._features[train],
            self._previous[train],
            targets,
            self._sizes(),
            epochs=self._epochs,
            seed=self._seed,
            on_epoch=on_epoch,
        )

    def _fit_trees(self) -> tuple[Trees, npt.NDArray[np.int32]]:
        """Return trees of every byte, and their leaves in the validation episodes: int32 of shape (n, n_trees)."""
        train, validation = self._split.train, self._split.validation
        inputs = self._extractor.tree_inputs(self._features[train], self._previous[train])
        ranking = InputRanking(inputs, self._extractor.n_projections)
        builder = TreeBuilder()
        for number, byte in enumerate(self._varying, 1):
            fit_byte(builder, ranking, inputs, byte, self._targets(byte, train), self._seed)
            if len(self._values[byte]) > 2:
                fit_bits(builder, ranking, inputs, byte, self._pairs.rams[train, byte].astype(np.int64), self._seed)
            if number % 10 == 0 or number == len(self._varying):
                self._log(f"trees: {number} of {len(self._varying)} bytes")
        trees = builder.build()
        rows = self._extractor.tree_inputs(self._features[validation], self._previous[validation])
        return trees, np.stack([trees.leaves(row) for row in rows])

    def _choose(self, byte: int, evidence: dict[Source, Floats]) -> tuple[_Candidate, ByteModel]:
        """Return the most accurate candidate in the validation episodes, and its calibrated model."""
        train, validation = self._split.train, self._split.validation
        targets = self._targets(byte, validation)
        model = self._memory(byte, train)
        best = _candidate("majority", None, np.repeat(model.prior[None], len(validation), axis=0), targets)
        for source, probabilities in evidence.items():
            candidate = _candidate(source, None, probabilities, targets)
            if candidate.accuracy > best.accuracy + 1e-9:
                best = candidate
        memoryless = best
        for weight in _PICTURE_WEIGHTS if best.accuracy < 1 - _MEMORY_GAIN else ():
            probabilities = _filtered(model, memoryless.probabilities, self._pairs.starts[validation], weight)
            candidate = _candidate(memoryless.source, weight, probabilities, targets)
            if candidate.accuracy > max(best.accuracy, memoryless.accuracy + _MEMORY_GAIN):
                best = candidate
        if best.picture_weight == 0:
            best = _Candidate("majority", 0.0, best.probabilities, best.accuracy)
        transitions = None if best.picture_weight is None else model.transitions
        if best.source == "majority" and best.picture_weight is None:
            # Its frequency was not fitted to the training episodes: all of them count.
            everything = self._targets(byte, np.concatenate([train, validation]))
            calibration = _calibration(np.repeat(model.prior[None], len(everything), axis=0), everything)
        else:
            calibration = _calibration(best.probabilities, targets)
        return best, ByteModel(model.prior, model.start, transitions, calibration)

    def _memory(self, byte: int, rows: Indices) -> ByteModel:
        targets, n = self._targets(byte, rows), len(self._values[byte])
        starts = self._pairs.starts[rows]
        prior = np.bincount(targets, minlength=n) + 0.5
        prior /= prior.sum()
        start = np.bincount(targets[starts], minlength=n) + 1e-3 * prior
        transitions = _SMOOTHING * np.repeat(prior[None], n, axis=0)
        np.add.at(transitions, (targets[:-1][~starts[1:]], targets[1:][~starts[1:]]), 1)
        transitions /= transitions.sum(axis=1, keepdims=True)
        return ByteModel(
            prior.astype(np.float32),
            (start / start.sum()).astype(np.float32),
            transitions.astype(np.float32),
            np.zeros((2, 1), np.float32),
        )


def _classes_by_index(pairs: Pairs, colors: tuple[int, ...]) -> Classes:
    """Return the class of each palette index: uint8 of shape (256,)."""
    classes = {color: number for number, color in enumerate(colors)}
    return np.array([classes.get(int(color), len(colors)) for color in pairs.palette], np.uint8)


def _tree_evidence(
    trees: Trees, leaves: npt.NDArray[np.int32], byte: int, values: npt.NDArray[np.uint8]
) -> dict[Source, Floats]:
    whole, bits = trees.of(byte, by_bits=False), trees.of(byte, by_bits=True)
    found: dict[Source, Floats] = {}
    if len(whole):
        found["trees"] = trees.byte_probabilities(leaves[:, whole], len(values))
    if len(bits):
        found["bits"] = trees.bit_probabilities(leaves[:, bits], trees.bits[bits], values)
    return found


def _candidate(
    source: Source, weight: float | None, probabilities: Floats, targets: npt.NDArray[np.int64]
) -> _Candidate:
    return _Candidate(source, weight, probabilities, float((probabilities.argmax(axis=1) == targets).mean()))


def _filtered(model: ByteModel, evidence: Floats, starts: npt.NDArray[np.bool_], weight: float) -> Floats:
    """Return the beliefs of each step, float32 of shape (n, n_values): all episodes at the same time."""
    begins = np.flatnonzero(starts)
    lengths = np.diff(begins, append=len(starts))
    beliefs = np.empty_like(evidence)
    beliefs[begins] = model.start
    for step in range(1, int(lengths.max())):
        rows = begins[lengths > step] + step
        beliefs[rows] = model.remember(beliefs[rows - 1], evidence[rows], weight)
    return beliefs


def _calibration(probabilities: Floats, targets: npt.NDArray[np.int64]) -> Floats:
    """Return how often the likeliest value is right by its probability: float32 of shape (2, k)."""
    claimed, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    regression = IsotonicRegression(y_min=0.0, y_max=1 - 1 / (len(targets) + 2), out_of_bounds="clip")
    regression.fit(claimed, right.astype(np.float32))
    return np.array([regression.X_thresholds_, regression.y_thresholds_], np.float32)


def _own_heads(network: Network, decodings: tuple[ByteDecoding, ...], offsets: dict[int, int]) -> Network | None:
    """Return the network with the heads of the bytes that it decodes only; None if it decodes none."""
    own = network_offsets(decodings)
    if not own:
        return None
    rows = np.concatenate([np.arange(offsets[byte], offsets[byte] + end - begin) for byte, (begin, end) in own.items()])
    return replace(network, head=network.head[rows], head_bias=network.head_bias[rows])


def _own_trees(trees: Trees, decodings: list[ByteDecoding]) -> Trees:
    parts = [trees.of(one.byte, by_bits=one.source == "bits") for one in decodings if one.source in ("trees", "bits")]
    return select_trees(trees, np.concatenate(parts) if parts else np.zeros(0, np.intp))
