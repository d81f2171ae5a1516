"""A decoder: the RAM of a game from its last two pictures and what is remembered, without ROM and actions.

    manifest.json          SHA-256 of each other file; its own SHA-256 is the decoder's digest
    decoder.json           game, colors, and how each byte is decoded
    decoder.safetensors    network, trees, transitions and calibration

Reading a decoder executes no code: JSON and safetensors hold only data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.arcade.checkpoints.verified_folder import Arrays, DamagedFolderError, pack, read_folder, unpack, write_folder
from tasks.arcade.decoding.follower import RamEstimate
from tasks.arcade.decoding.picture_features import Classes, FeatureVector, PictureFeatures, pack_colors
from tasks.arcade.decoding.sources import Floats, Inputs, Network, Trees, require_shape
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram, Screen
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import Settings, parse_json
from tasks.arcade.settings.game import GameSettings

_DESCRIPTION, _ARRAYS = "decoder.json", "decoder.safetensors"
_MAX_UNKNOWN = 0.02
"""Share of pixels in unknown colors from which on a picture is not one of the decoder's game and palette."""
_MIN_LOG_EVIDENCE = -12.0
"""Log likelihood ratio beyond which a picture does not speak against a remembered value."""

_Side = Annotated[int, Field(ge=1, le=255)]
_Color = Annotated[int, Field(ge=0, le=0xFFFFFF)]
Source = Literal["constant", "majority", "network", "trees", "bits"]
SOURCES: dict[Source, str] = {
    "constant": "never changed in the training episodes",
    "majority": "most frequent value: neither pictures nor memory tell more",
    "network": "network on both pictures",
    "trees": "decision trees on both pictures",
    "bits": "a decision tree per bit",
}
"""Where the probabilities of a byte come from."""


class DecoderError(RamreelError, ValueError):
    """A decoder cannot be used, or not for this environment."""


class ByteDecoding(Settings):
    """How one byte is decoded."""

    byte: int = Field(ge=0, lt=RAM_SIZE)
    values: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        min_length=1, max_length=256, description="Values in the training episodes"
    )
    source: Source
    picture_weight: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Weight of a picture against what is remembered by the byte's transitions (0: the byte is counted "
        "from the episode's start; null: nothing is remembered)",
    )

    @property
    def method(self) -> str:
        """Name of the method, e.g. `network, filtered`."""
        if self.picture_weight is None:
            return self.source
        return "counted" if self.picture_weight == 0 else f"{self.source}, filtered"


class DecoderDescription(Settings):
    """Contents of `decoder.json`."""

    game: GameSettings
    size: tuple[_Side, _Side] = Field(description="(height, width) of the pictures")
    colors: tuple[_Color, ...] = Field(min_length=1, max_length=255, description="Colors that are told apart, 0xRRGGBB")
    other_colors: tuple[_Color, ...] = Field(default=(), max_length=256, description="Further colors of the game")
    bytes: tuple[ByteDecoding, ...] = Field(min_length=RAM_SIZE, max_length=RAM_SIZE)
    pairs: int = Field(ge=1, description="Pairs of picture and RAM in the training episodes")


@dataclass(frozen=True)
class ByteModel:
    """Numbers by which one byte is decoded.

    Attributes:
        prior: Frequency of each value, float32 of shape (n,).
        start: Frequency of each value at the start of an episode, likewise.
        transitions: Probability of each value after each value, float32 of shape (n, n); None without memory.
        calibration: Probability of the likeliest value, and how often it is right: float32 of shape (2, k), ascending.
    """

    prior: Floats
    start: Floats
    transitions: Floats | None
    calibration: Floats

    def remember(self, belief: Floats, evidence: Floats, weight: float) -> Floats:
        """Return the distribution after one step: `belief` before it, `evidence` of its picture, both (..., n)."""
        assert self.transitions is not None
        moved = belief @ self.transitions
        if weight:
            ratio = weight * (np.log(evidence + 1e-9) - np.log(self.prior))
            ratio -= ratio.max(axis=-1, keepdims=True)
            moved = moved * np.exp(np.maximum(ratio, _MIN_LOG_EVIDENCE))
        normalized: Floats = moved / moved.sum(axis=-1, keepdims=True)
        return normalized

    def confidence(self, probability: float) -> float:
        """Return the calibrated accuracy of a value with this probability."""
        return float(np.interp(probability, self.calibration[0], self.calibration[1]))


class FeatureExtractor:
    """Features of a decoder's pictures.

    Args:
        colors: Colors that are told apart, 0xRRGGBB.
        size: (height, width) of the pictures.
        columns: Features in use, indices into projections followed by coordinates, ascending: int32 of shape (n,).
    """

    def __init__(self, colors: tuple[int, ...], size: tuple[int, int], columns: npt.NDArray[np.int32]) -> None:
        self._features = PictureFeatures(len(colors), size)
        self._columns = columns
        self.n_projections = int(np.searchsorted(columns, self._features.n_projections))
        self._projections = columns[: self.n_projections]
        self._coordinates = columns[self.n_projections :] - self._features.n_projections

    def __call__(self, classes: Classes) -> FeatureVector:
        """Return the features of a picture's color classes: uint8 of shape (n,)."""
        projections = self._features.projections(classes)[self._projections]
        return np.concatenate([projections, self._features.coordinates(classes)[self._coordinates]])

    def tree_inputs(self, features: FeatureVector, previous: FeatureVector) -> Inputs:
        """Return the inputs of the trees, along the last axis: features, previous coordinates, and differences."""
        now, before = features[..., self.n_projections :].astype(np.int16), previous[..., self.n_projections :]
        return np.concatenate([features.astype(np.int16), before, now - before], axis=-1)


@dataclass(frozen=True)
class Decoder:
    """A trained decoder: plain data.

    Attributes:
        description: Game, colors, and how each byte is decoded.
        columns: Features in use, int32 of shape (n_features,).
        network: Network of the bytes whose source it is, in order; None if it is none's.
        trees: Trees of the bytes whose source they are.
        models: Numbers of each byte with more than one value, by byte.
    """

    description: DecoderDescription
    columns: npt.NDArray[np.int32]
    network: Network | None
    trees: Trees
    models: dict[int, ByteModel]

    @property
    def methods(self) -> tuple[str, ...]:
        """Name of the method of each byte."""
        return tuple(one.method for one in self.description.bytes)


class DecodedEpisode:
    """Decodes the pictures of an episode, one per step.

    Args:
        decoder: The decoder.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        described = decoder.description
        self._extract = FeatureExtractor(described.colors, described.size, decoder.columns)
        order = np.argsort(described.colors)
        self._sorted_colors = np.array(described.colors, np.int32)[order]
        self._classes_of = np.append(order, len(described.colors)).astype(np.uint8)
        self._other = np.array(described.other_colors, np.int32)
        self._varying = [one for one in described.bytes if one.source != "constant"]
        self._offsets = network_offsets(described.bytes)
        self._trees_of = {
            one.byte: decoder.trees.of(one.byte, by_bits=one.source == "bits")
            for one in self._varying
            if one.source in ("trees", "bits")
        }
        self._constant = np.array([one.values[0] for one in described.bytes], np.uint8)
        self._values = {one.byte: np.array(one.values, np.uint8) for one in self._varying}
        self._beliefs: dict[int, Floats] = {}
        self._previous: FeatureVector | None = None

    def reset(self, screen: Screen) -> RamEstimate:
        """Start an episode with its first screen: uint8 of shape (height, width, 3), RGB.

        Raises:
            DecoderError: The screen has another size or other colors than those of the decoder's game.
        """
        classes = self._classify(screen, check=True)
        self._beliefs = {
            one.byte: self._decoder.models[one.byte].start for one in self._varying if one.picture_weight is not None
        }
        self._previous = self._extract(classes)
        return self._estimate(self._previous, advance=False)

    def resume(self, ram: Ram, screen: Screen) -> None:
        """Continue from a step whose RAM and screen are known; the next call is `step`."""
        self._beliefs = {}
        for one in self._varying:
            if one.picture_weight is not None:
                known = self._values[one.byte] == ram[one.byte]
                model = self._decoder.models[one.byte]
                self._beliefs[one.byte] = known.astype(np.float32) if known.any() else model.prior
        self._previous = self._extract(self._classify(screen))

    def step(self, screen: Screen) -> RamEstimate:
        """Return the RAM after a step, given its screen."""
        features = self._extract(self._classify(screen))
        estimate = self._estimate(features, advance=True)
        self._previous = features
        return estimate

    def _classify(self, screen: Screen, *, check: bool = False) -> Classes:
        described = self._decoder.description
        if screen.shape != (*described.size, 3):
            raise DecoderError(
                f"the picture has shape {screen.shape}, but the decoder of {described.game.env_id} was trained on "
                f"{(*described.size, 3)}"
            )
        packed = pack_colors(screen)
        positions = np.searchsorted(self._sorted_colors, packed)
        np.minimum(positions, len(self._sorted_colors) - 1, out=positions)
        known = self._sorted_colors[positions] == packed
        if check and (~known & ~np.isin(packed, self._other)).mean() > _MAX_UNKNOWN:
            raise DecoderError(
                f"the picture has other colors than those of {described.game.env_id}: choose a decoder of this game "
                "and of its palette"
            )
        classes: Classes = self._classes_of[np.where(known, positions, len(self._sorted_colors))]
        return classes

    def _estimate(self, features: FeatureVector, *, advance: bool) -> RamEstimate:
        assert self._previous is not None
        decoder = self._decoder
        hidden = decoder.network.hidden(features[None], self._previous[None]) if decoder.network else None
        leaves = decoder.trees.leaves(self._extract.tree_inputs(features, self._previous))
        ram, confidence = self._constant.copy(), np.ones(RAM_SIZE, np.float32)
        for one in self._varying:
            model = decoder.models[one.byte]
            probabilities = self._evidence(one, model, hidden, leaves)
            if one.picture_weight is not None:
                belief = self._beliefs[one.byte]
                if advance:
                    belief = model.remember(belief, probabilities, one.picture_weight)
                self._beliefs[one.byte] = probabilities = belief
            best = int(probabilities.argmax())
            ram[one.byte] = self._values[one.byte][best]
            confidence[one.byte] = model.confidence(float(probabilities[best]))
        return RamEstimate(ram, confidence, lost=False, n_hypotheses=0)

    def _evidence(
        self, one: ByteDecoding, model: ByteModel, hidden: Floats | None, leaves: npt.NDArray[np.int32]
    ) -> Floats:
        """Return the probability of each value by the pictures alone: float32 of shape (n,)."""
        trees, found = self._decoder.trees, model.prior[None]
        if one.source == "network" and hidden is not None and self._decoder.network:
            found = self._decoder.network.probabilities(hidden, *self._offsets[one.byte])
        elif one.source == "trees":
            found = trees.byte_probabilities(leaves[self._trees_of[one.byte]][None], len(one.values))
        elif one.source == "bits":
            own = self._trees_of[one.byte]
            found = trees.bit_probabilities(leaves[own][None], trees.bits[own], self._values[one.byte])
        evidence: Floats = found[0]
        return evidence


def network_offsets(decodings: tuple[ByteDecoding, ...]) -> dict[int, tuple[int, int]]:
    """Return the outputs of the network (begin, end) of each byte that it decodes."""
    own = [one for one in decodings if one.source == "network"]
    ends = np.cumsum([len(one.values) for one in own]).tolist()
    return {one.byte: (end - len(one.values), end) for one, end in zip(own, ends, strict=True)}


def write_decoder(decoder: Decoder, directory: Path) -> str:
    """Write a decoder's files atomically.

    Returns:
        The decoder's digest, 64 hex digits.

    Raises:
        OSError: The decoder cannot be written; no partial folder remains.
    """
    arrays: dict[str, npt.NDArray[Any]] = {"columns": decoder.columns, **decoder.trees.arrays("trees")}
    if decoder.network:
        arrays |= decoder.network.arrays("network")
    for byte, model in decoder.models.items():
        arrays |= {f"{byte}.prior": model.prior, f"{byte}.start": model.start, f"{byte}.calibration": model.calibration}
        if model.transitions is not None:
            arrays[f"{byte}.transitions"] = model.transitions
    return write_folder(
        {_DESCRIPTION: decoder.description.model_dump_json(indent=2).encode(), _ARRAYS: pack(arrays)}, directory
    )


def read_decoder(directory: Path, digest: str | None = None) -> Decoder:
    """Read a decoder and verify every byte of it against its manifest.

    Args:
        directory: Folder of the decoder.
        digest: Expected digest, if known.

    Raises:
        DecoderError: The decoder is incomplete, damaged, or of a newer schema.
    """
    try:
        contents = read_folder(directory, (_DESCRIPTION, _ARRAYS), digest)
        description = parse_json(DecoderDescription, contents[_DESCRIPTION])
        return _decoder(description, unpack(contents, _ARRAYS))
    except DamagedFolderError as error:
        raise DecoderError(f"decoder {directory.name}: {error}") from None
    except (KeyError, ValueError, IndexError) as error:
        raise DecoderError(f"decoder {directory.name}: its contents are invalid: {error}") from None


def _decoder(description: DecoderDescription, arrays: Arrays) -> Decoder:
    models = {
        one.byte: ByteModel(
            arrays[f"{one.byte}.prior"],
            arrays[f"{one.byte}.start"],
            None if one.picture_weight is None else arrays[f"{one.byte}.transitions"],
            arrays[f"{one.byte}.calibration"],
        )
        for one in description.bytes
        if one.source != "constant"
    }
    network = Network.from_arrays(arrays, "network") if network_offsets(description.bytes) else None
    decoder = Decoder(description, arrays["columns"], network, Trees.from_arrays(arrays, "trees"), models)
    _check(decoder)
    return decoder


def _check(decoder: Decoder) -> None:
    """Raise ValueError unless everything fits together, so that decoding needs no further checks."""
    described, columns = decoder.description, decoder.columns
    if [one.byte for one in described.bytes] != list(range(RAM_SIZE)):
        raise ValueError("its bytes are not in order")
    pictures = PictureFeatures(len(described.colors), described.size)
    require_shape("columns", columns, (columns.size,), np.int32)
    steps = np.diff(columns, prepend=-1, append=pictures.n_projections + pictures.n_coordinates)
    if (steps < 1).any():
        raise ValueError("columns are not ascending indices of features")
    n_coordinates = int(np.count_nonzero(columns >= pictures.n_projections))
    decoder.trees.check(len(columns) + 2 * n_coordinates, np.array([len(one.values) for one in described.bytes]))
    if decoder.network:
        ends = [end for _, end in network_offsets(described.bytes).values()]
        decoder.network.check(len(columns), max(ends))
    for one in described.bytes:
        if one.source == "constant":
            continue
        model, n = decoder.models[one.byte], len(one.values)
        for name, array in (("prior", model.prior), ("start", model.start)):
            require_shape(f"{one.byte}.{name}", array, (n,))
        require_shape(f"{one.byte}.calibration", model.calibration, (2, max(1, model.calibration.size // 2)))
        if model.transitions is not None:
            require_shape(f"{one.byte}.transitions", model.transitions, (n, n))
        by_bits = one.source == "bits"
        if one.source in ("trees", "bits") and not len(decoder.trees.of(one.byte, by_bits=by_bits)):
            raise ValueError(f"byte {one.byte} has no trees")
