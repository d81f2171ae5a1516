"""Detection of objects on the screen, and of the bytes that move them or correlate with their position."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from tasks.arcade.atlas.atlas import Axis, Region, ScreenObject
from tasks.arcade.atlas.classify import MIN_CONSERVED, MIN_STATES, MOVEMENTS, Effect, Effects, PooledResults
from tasks.arcade.atlas.perturb import Float64Array
from tasks.arcade.emulator.emulator import RAM_SIZE

_MIN_FILLED = 0.04
"""Minimum share of a box's pixels that change: below it, several distant objects moved together."""
_MAX_AREA_RATIO = 2.0
"""Maximum ratio of a box's area to the object's: a larger box contains something else as well."""
TOLERANCE = 4.0
"""Tolerance of a position in pixels."""
MIN_HITS = 0.8
"""Minimum share of the states in which a byte must give an object's position."""
_UNNAMED = "A"


@dataclass(frozen=True)
class DetectedObject:
    """An object with its detections: `boxes` of shape (states, 4), nan where it was not detected."""

    value: ScreenObject
    boxes: Float64Array
    members: tuple[int, ...]

    @property
    def is_located(self) -> bool:
        """Whether a byte encodes its position; otherwise it may be several objects taken for one."""
        return self.value.x.byte is not None or self.value.y.byte is not None

    def named(self, name: str) -> DetectedObject:
        return replace(self, value=self.value.model_copy(update={"name": name}))

    def centers(self, axis: int) -> Float64Array:
        return _centers(self.boxes)[:, axis]


def _centers(boxes: Float64Array) -> Float64Array:
    return np.stack([boxes[..., 0] + boxes[..., 2], boxes[..., 1] + boxes[..., 3]], axis=-1) / 2


def find_objects(pooled: PooledResults, effects: Effects, axes: dict[int, int]) -> list[DetectedObject]:
    """Group the bytes that move something at the same position into objects.

    Args:
        pooled: Results of all plays.
        effects: Effect of each byte in each state.
        axes: Axis of each byte that moves something.
    """
    groups: list[dict[int, Float64Array]] = []
    boxes = {byte: _byte_boxes(pooled, effects, byte, axis) for byte, axis in axes.items()}
    for byte in sorted(axes, key=lambda byte: -_n_detections(boxes[byte])):
        if _n_detections(boxes[byte]) < MIN_STATES:
            continue
        matches = (group for group in groups if _is_same_object(boxes[byte], next(iter(group.values())), axes[byte]))
        group = next(matches, None)
        if group is None:
            groups.append(group := {})
        group[byte] = boxes[byte]
    objects = sorted((_make_object(pooled, group, axes) for group in groups), key=lambda one: not one.is_located)
    return [one.named(_name(number)) for number, one in enumerate(objects)]


def _n_detections(boxes: Float64Array) -> int:
    """Return the number of states with a box."""
    return int((~np.isnan(boxes[:, 0])).sum())


def _byte_boxes(pooled: PooledResults, effects: Effects, byte: int, axis: int) -> Float64Array:
    """Return the object's box in each state in which the byte moved it; nan elsewhere."""
    measured = pooled.measurements
    box = measured.box[:, byte]
    with np.errstate(invalid="ignore"):
        filled = measured.box_area[:, byte] >= _MIN_FILLED * (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    detected = (effects[:, byte] == MOVEMENTS[axis]) & (measured.conserved[:, byte, axis] >= MIN_CONSERVED) & filled
    return np.where(detected[:, None], measured.box[:, byte], np.nan)


def _is_same_object(one: Float64Array, other: Float64Array, axis: int) -> bool:
    """Return whether two bytes move the same object: close along `axis` and overlapping across it."""
    distance = np.abs(_centers(one) - _centers(other))[:, axis]
    across = 1 - axis
    begin, end = np.maximum(one[:, across], other[:, across]), np.minimum(one[:, across + 2], other[:, across + 2])
    both = ~np.isnan(distance)
    return both.sum() >= MIN_STATES and float(((distance <= TOLERANCE) & (end > begin))[both].mean()) >= 0.5


def _name(number: int) -> str:
    return (_name(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _make_object(pooled: PooledResults, group: dict[int, Float64Array], axes: dict[int, int]) -> DetectedObject:
    boxes = _consensus(np.array(list(group.values())))
    detected = boxes[~np.isnan(boxes[:, 0])]
    height, width = pooled.size
    low, high = np.quantile(detected[:, :2], 0.02, axis=0), np.quantile(detected[:, 2:], 0.98, axis=0)
    bounds = clipped_region(low[0], low[1], high[0], high[1], width, height)
    positions: list[Axis] = []
    for axis in (0, 1):
        # Bytes that move the object along this axis locate it best on this axis.
        along = [boxes_of_byte for byte, boxes_of_byte in group.items() if axes[byte] == axis]
        best = _consensus(np.array(along)) if along else boxes
        enough = best if _n_detections(best) >= 2 * MIN_STATES else boxes
        positions.append(_fit_axis(pooled, enough, axis, list(group), bounds))
    value = ScreenObject(name=_UNNAMED, x=positions[0], y=positions[1], bounds=bounds)
    return DetectedObject(value, boxes, tuple(group))


def _consensus(boxes: Float64Array) -> Float64Array:
    """Return the median box of each state, without boxes that contain more than the object."""
    with warnings.catch_warnings():
        # States without any detection have no box.
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        alone = np.where(
            (_areas(boxes) <= _MAX_AREA_RATIO * np.nanmin(_areas(boxes), axis=0))[..., None], boxes, np.nan
        )
        median: Float64Array = np.nanmedian(alone, axis=0)
        usual_area = np.nanmedian(_areas(median))
    return np.where((_areas(median) <= _MAX_AREA_RATIO * usual_area)[:, None], median, np.nan)


def _areas(boxes: Float64Array) -> Float64Array:
    areas: Float64Array = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return areas


def _fit_axis(pooled: PooledResults, boxes: Float64Array, axis: int, members: list[int], bounds: Region) -> Axis:
    """Return the object's position along one axis as a function of the RAM."""
    positions, sizes = _centers(boxes)[:, axis], boxes[:, axis + 2] - boxes[:, axis]
    detected = ~np.isnan(positions)
    size = max(1, round(float(np.median(sizes[detected]))))
    if np.ptp(np.quantile(positions[detected], (0.05, 0.95))) <= TOLERANCE:
        return Axis(byte=None, scale=0, offset=float(np.median(positions[detected])), extent=size)
    fits = {byte: fit_line(pooled.rams[:, byte], positions) for byte in range(RAM_SIZE)}
    # Ties: prefer a byte that moves the object, then one that increases from left to right or top to bottom.
    best = max(fits, key=lambda byte: fits[byte].hits + 0.02 * (byte in members) + 0.01 * (fits[byte].scale > 0))
    if fits[best].hits >= MIN_HITS:
        scale = _refined_scale(pooled, best, axis, fits[best].scale)
        offset = float(np.median(positions[detected] - scale * pooled.rams[detected, best]))
        return Axis(byte=best, scale=scale, offset=offset, extent=size)
    begin, extent = ((bounds.x, bounds.width), (bounds.y, bounds.height))[axis]
    return Axis(byte=None, scale=0, offset=begin + extent / 2, extent=extent)


def _refined_scale(pooled: PooledResults, byte: int, axis: int, scale: float) -> float:
    """Return the scale measured by perturbing the byte alone, if it is close to the fitted one."""
    slopes = pooled.measurements.slope[:, byte, axis]
    if np.isnan(slopes).all():
        return scale
    measured = float(np.nanmedian(slopes))
    return measured if abs(measured - scale) <= 0.15 * abs(scale) else scale


@dataclass(frozen=True)
class LineFit:
    """A line from a byte to a position; `hits` is the share of the states in which it is within the tolerance."""

    scale: float
    offset: float
    hits: float


_NO_FIT = LineFit(0, 0, 0)


def fit_line(values: npt.NDArray[np.uint8], positions: Float64Array) -> LineFit:
    """Fit a Theil-Sen line (SciPy) through the states in which the position is known."""
    detected = ~np.isnan(positions)
    x, y = values[detected].astype(float), positions[detected]
    if len(y) < 2 * MIN_STATES or len(np.unique(x)) < MIN_STATES:
        return _NO_FIT
    scale, offset, *_ = stats.theilslopes(y, x)
    if not scale:
        return _NO_FIT
    return LineFit(float(scale), float(offset), float((np.abs(y - scale * x - offset) <= TOLERANCE).mean()))


def correlated_bytes(
    pooled: PooledResults, objects: list[DetectedObject], effects: Effects
) -> dict[int, tuple[DetectedObject, int, float]]:
    """Return the bytes without visible effect that encode an object's position: (object, axis, share of states)."""
    invisible = np.flatnonzero((effects != Effect.NONE).mean(axis=0) < 0.05)
    correlated: dict[int, tuple[DetectedObject, int, float]] = {}
    for one in objects:
        for axis in (0, 1):
            positions = one.centers(axis)
            if len(np.unique(positions[~np.isnan(positions)])) <= MIN_STATES or np.nanstd(positions) < TOLERANCE:
                continue
            for byte in invisible:
                hits = fit_line(pooled.rams[:, byte], positions).hits
                if hits >= MIN_HITS and hits > correlated.get(int(byte), (one, axis, 0.0))[2]:
                    correlated[int(byte)] = (one, axis, hits)
    return correlated


def clipped_region(left: float, top: float, right: float, bottom: float, width: int, height: int) -> Region:
    """Return the region in whole pixels, clipped to a screen of this size."""
    x, y = min(max(0, int(left)), width - 1), min(max(0, int(top)), height - 1)
    return Region(x=x, y=y, width=max(1, min(round(right), width) - x), height=max(1, min(round(bottom), height) - y))
