"""Compute the network's input from observations, with the same code in rollouts, evaluation, replay and videos.

`OBSERVATION_KINDS` specifies every `FeatureSettings.kind`; a new kind is one entry there, and its name in
`FeatureSettings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import STACK_SHAPE, Observation
from tasks.arcade.policies.feature_statistics import Rams, Statistics
from tasks.arcade.settings.features import FeatureSettings, ObservationKindName

FeatureArray = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
"""Batches of network input: float32, or uint8 for pixels, which saves three quarters of the memory."""
Extractor = Callable[[Observation, Observation], FeatureArray]
"""Computes a batch of features from the current and the previous observations."""

_LARGEST_GAP = 255
_BYTES = np.arange(RAM_SIZE)
_SELECTED: Mapping[str, str] = {
    "moving_bytes": "moving_bytes",
    "controlled_bytes": "controlled_bytes",
    "position_bytes": "position_bytes",
    "values": "value_indices",
}
"""What statistics select, with the name of the setting of how many at most."""


@dataclass(frozen=True)
class ObservationKind:
    """Specification of an observation kind.

    Attributes:
        shape: shape of one network input, by the settings.
        dtype: of the network input; uint8 inputs are pixels, which convolutions scale to [0, 1].
        extractor: builds the feature extractor from settings and statistics.
        observation_shape: shape of one emulator observation, uint8: RAM, or the stacked frames.
    """

    shape: Callable[[FeatureSettings], tuple[int, ...]]
    dtype: type[np.float32] | type[np.uint8]
    extractor: Callable[[FeatureSettings, Statistics], Extractor]
    observation_shape: tuple[int, ...] = (RAM_SIZE,)


class Features:
    """Feature extractor of a checkpoint: a pure function of the current and the previous observation.

    Attributes:
        size: number of features.
        uses_pixels: whether observations are frames instead of RAM.

    Raises:
        ValueError: If statistics and settings are of different runs.
    """

    def __init__(self, settings: FeatureSettings, statistics: Statistics) -> None:
        for name, setting in _SELECTED.items():
            selected, most = len(getattr(statistics, name)), getattr(settings, setting)
            if selected > most:
                raise ValueError(f"the statistics have {selected} {name.replace('_', ' ')}, the settings {most}")
        self.uses_pixels, self.size = settings.uses_pixels, feature_size(settings)
        self._extract = OBSERVATION_KINDS[settings.kind].extractor(settings, statistics)

    def __call__(self, observations: Observation, previous: Observation) -> FeatureArray:
        """Return the features of n observations.

        Args:
            observations: RAM, uint8 of shape (n, 128), or stacked frames, uint8 of shape (n, 4, 84, 84).
            previous: the observations one step before, same shape; at an episode's start the same observations.
                Ignored for pixels, whose stack contains the previous frames.

        Returns:
            float32 of shape (n, size); uint8 for pixels.
        """
        return self._extract(observations, previous)


def _scaled(rams: Rams, _previous: Rams) -> FeatureArray:
    return rams.astype(np.float32) * np.float32(1 / 255)


def _bits(rams: Rams, previous: Rams) -> FeatureArray:
    return np.unpackbits(np.concatenate([rams, previous], axis=1), axis=1).astype(np.float32)


def _pixels(stacks: Observation, _previous: Observation) -> FeatureArray:
    return stacks.reshape(len(stacks), -1)


class _Standardized:
    """Standardized bytes, their differences to the previous step, the gaps between bytes, and indices of values.

    The indices, of the table of the network's value embeddings, are the last 128 features; 0 for a value without one.
    """

    def __init__(self, settings: FeatureSettings, statistics: Statistics) -> None:
        self._settings, self._size = settings, feature_size(settings)
        self._mean = statistics.mean.astype(np.float32)
        self._inverse = (1.0 / statistics.deviation).astype(np.float32)
        moving_bytes = np.array(statistics.moving_bytes, np.int64)
        self._left, self._right = statistics.gap_pairs
        gain = np.ones(RAM_SIZE, np.float32)
        if len(moving_bytes):
            gain[:] = settings.static_byte_gain
            gain[moving_bytes] = 1
        self._gain = np.concatenate([gain, gain])
        self._gap_table = _gap_table(settings)
        self._value_table = statistics.value_table if settings.value_indices else None

    def __call__(self, rams: Rams, previous: Rams) -> FeatureArray:
        out = np.zeros((len(rams), self._size), np.float32)
        bytes_, moves = out[:, :RAM_SIZE], out[:, RAM_SIZE : 2 * RAM_SIZE]
        np.subtract(rams, self._mean, out=bytes_)
        bytes_ *= self._inverse
        # Counters wrap around at 256: from 255 to 0 is a difference of 1, not of -255.
        moves[:] = (rams - previous).view(np.int8)
        moves *= np.float32(1 / self._settings.difference_scale)
        own, clip = out[:, : 2 * RAM_SIZE], np.float32(self._settings.clip)
        np.clip(own, -clip, clip, out=own)
        own *= self._gain
        gaps = rams[:, self._left].astype(np.intp) - rams[:, self._right]
        gap_features = self._gap_table[gaps + _LARGEST_GAP].transpose(0, 2, 1).reshape(len(rams), -1)
        out[:, 2 * RAM_SIZE : 2 * RAM_SIZE + gap_features.shape[1]] = gap_features
        if self._value_table is not None:
            out[:, -RAM_SIZE:] = self._value_table[_BYTES, rams]
        return out


def _gap_table(settings: FeatureSettings) -> npt.NDArray[np.float32]:
    """Features of every gap from -255 to 255: float32 of shape (511, n).

    Networks are slow to learn functions that change within a few pixels, such as where on the paddle a ball is hit;
    sines and cosines help (Tancik et al. 2020, "Fourier features").
    """
    gaps, clip = np.arange(-_LARGEST_GAP, _LARGEST_GAP + 1, dtype=np.float32), np.float32(settings.clip)
    columns = [np.clip(gaps * np.float32(1 / scale), -clip, clip) for scale in settings.gap_scales]
    for period in settings.gap_periods:
        angles = gaps.astype(np.float64) * (2 * np.pi / period)
        columns += [np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(gaps), 0), np.float32)


def _standardized_size(settings: FeatureSettings) -> int:
    pairs = settings.moving_bytes * (settings.moving_bytes - 1) // 2
    pairs += settings.controlled_bytes * settings.position_bytes
    indices = RAM_SIZE if settings.value_indices else 0
    return 2 * RAM_SIZE + (len(settings.gap_scales) + 2 * len(settings.gap_periods)) * pairs + indices


OBSERVATION_KINDS: Mapping[ObservationKindName, ObservationKind] = {
    "scaled": ObservationKind(lambda _: (RAM_SIZE,), np.float32, lambda *_: _scaled),
    "standardized": ObservationKind(lambda settings: (_standardized_size(settings),), np.float32, _Standardized),
    "bits": ObservationKind(lambda _: (16 * RAM_SIZE,), np.float32, lambda *_: _bits),
    "pixels": ObservationKind(lambda _: STACK_SHAPE, np.uint8, lambda *_: _pixels, observation_shape=STACK_SHAPE),
}


def observation_kind(settings: FeatureSettings) -> ObservationKind:
    """Return the specification of the settings' observation kind."""
    return OBSERVATION_KINDS[settings.kind]


def feature_size(settings: FeatureSettings) -> int:
    """Return the number of network inputs."""
    return prod(observation_kind(settings).shape(settings))
