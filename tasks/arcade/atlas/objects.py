"""Things on the screen: bytes that move what lies at the same place move the same thing; others tell where it is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from tasks.arcade.atlas.classify import AXES, FEW, MOVES, Found, Vote, Votes
from tasks.arcade.atlas.model import Axis, Region, Thing
from tasks.arcade.atlas.perturb import Numbers
from tasks.arcade.emulator.emulator import RAM_SIZE

_FILLED = 0.04
"""Share of a box's pixels that change: where fewer do, several things far apart moved at once."""
_MORE = 2.0
"""Times the area of a thing: a box that large holds something else as well."""
NEAR = 4.0
"""Pixels by which a place may be missed."""
HITS = 0.8
"""Share of the states in which a byte has to tell a thing's place."""
_UNNAMED = "A"


@dataclass(frozen=True)
class MetThing:
    """A thing with what is known of it in the states: `boxes`, nan where it was not met, of shape (states, 4)."""

    value: Thing
    boxes: Numbers
    members: tuple[int, ...]

    @property
    def told(self) -> bool:
        """Whether some byte tells where it is; else several may have been taken for one."""
        return self.value.x.byte is not None or self.value.y.byte is not None

    def named(self, name: str) -> MetThing:
        return replace(self, value=self.value.model_copy(update={"name": name}))

    def middles(self, axis: int) -> Numbers:
        return _middles(self.boxes)[:, axis]


def _middles(boxes: Numbers) -> Numbers:
    return np.stack([boxes[..., 0] + boxes[..., 2], boxes[..., 1] + boxes[..., 3]], axis=-1) / 2


def find_things(found: Found, votes: Votes, moving: dict[int, int]) -> list[MetThing]:
    """Bytes that move what lies at the same place move the same thing."""
    groups: list[dict[int, Numbers]] = []
    boxes = {byte: _boxes_of(found, votes, byte, axis) for byte, axis in moving.items()}
    for byte in sorted(moving, key=lambda byte: -_met(boxes[byte])):
        if _met(boxes[byte]) < FEW:
            continue
        known = (group for group in groups if _same(boxes[byte], next(iter(group.values())), moving[byte]))
        group = next(known, None)
        if group is None:
            groups.append(group := {})
        group[byte] = boxes[byte]
    things = sorted((_thing(found, group, moving) for group in groups), key=lambda thing: not thing.told)
    return [thing.named(_name(number)) for number, thing in enumerate(things)]


def _met(boxes: Numbers) -> int:
    """In how many states there is a box."""
    return int((~np.isnan(boxes[:, 0])).sum())


def _boxes_of(found: Found, votes: Votes, byte: int, axis: int) -> Numbers:
    """The thing's box in each state in which this byte moved it."""
    box = found.evidence.box[:, byte]
    with np.errstate(invalid="ignore"):
        filled = found.evidence.edge[:, byte] >= _FILLED * (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    met = (votes[:, byte] == AXES[axis]) & (found.evidence.conserved[:, byte, axis] >= MOVES) & filled
    return np.where(met[:, None], found.evidence.box[:, byte], np.nan)


def _same(one: Numbers, other: Numbers, axis: int) -> bool:
    """Whether two bytes move the same thing: one moves it along `axis`, and may move more beside it."""
    apart = np.abs(_middles(one) - _middles(other))[:, axis]
    across = 1 - axis
    begin, end = np.maximum(one[:, across], other[:, across]), np.minimum(one[:, across + 2], other[:, across + 2])
    both = ~np.isnan(apart)
    return both.sum() >= FEW and float(((apart <= NEAR) & (end > begin))[both].mean()) >= 0.5


def _name(number: int) -> str:
    return (_name(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _thing(found: Found, group: dict[int, Numbers], moving: dict[int, int]) -> MetThing:
    boxes = _agreed(np.array(list(group.values())))
    met = boxes[~np.isnan(boxes[:, 0])]
    height, width = found.size
    low, high = np.quantile(met[:, :2], 0.02, axis=0), np.quantile(met[:, 2:], 0.98, axis=0)
    reach = within(low[0], low[1], high[0], high[1], width, height)
    axes: list[Axis] = []
    for axis in (0, 1):
        # What moves along this axis shows best where the thing is on it.
        along = [seen for byte, seen in group.items() if moving[byte] == axis]
        best = _agreed(np.array(along)) if along else boxes
        axes.append(_axis(found, best if _met(best) >= 2 * FEW else boxes, axis, list(group), reach))
    return MetThing(Thing(name=_UNNAMED, x=axes[0], y=axes[1], reach=reach), boxes, tuple(group))


def _agreed(seen: Numbers) -> Numbers:
    """Of the boxes in each state the middle one; those that hold more than the thing are left out."""
    with warnings.catch_warnings():
        # States in which no byte met the thing have no box.
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        alone = np.where((_areas(seen) <= _MORE * np.nanmin(_areas(seen), axis=0))[..., None], seen, np.nan)
        agreed: Numbers = np.nanmedian(alone, axis=0)
        usual = np.nanmedian(_areas(agreed))
    return np.where((_areas(agreed) <= _MORE * usual)[:, None], agreed, np.nan)


def _areas(boxes: Numbers) -> Numbers:
    areas: Numbers = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return areas


def _axis(found: Found, boxes: Numbers, axis: int, members: list[int], reach: Region) -> Axis:
    """How to tell where the thing is on one axis."""
    places, sizes = _middles(boxes)[:, axis], boxes[:, axis + 2] - boxes[:, axis]
    met = ~np.isnan(places)
    size = max(1, round(float(np.median(sizes[met]))))
    if np.ptp(np.quantile(places[met], (0.05, 0.95))) <= NEAR:
        return Axis(byte=None, scale=0, offset=float(np.median(places[met])), extent=size)
    lines = {byte: fit(found.rams[:, byte], places) for byte in range(RAM_SIZE)}
    # Of two that tell it as well, the byte that moves it, and one that grows from left to right, from top to bottom.
    best = max(lines, key=lambda byte: lines[byte].hits + 0.02 * (byte in members) + 0.01 * (lines[byte].scale > 0))
    if lines[best].hits >= HITS:
        scale = _exact(found, best, axis, lines[best].scale)
        offset = float(np.median(places[met] - scale * found.rams[met, best]))
        return Axis(byte=best, scale=scale, offset=offset, extent=size)
    begin, extent = ((reach.x, reach.width), (reach.y, reach.height))[axis]
    return Axis(byte=None, scale=0, offset=begin + extent / 2, extent=extent)


def _exact(found: Found, byte: int, axis: int, scale: float) -> float:
    """The scale as it was seen when the byte alone was changed, where that is nearly the same."""
    slopes = found.evidence.slope[:, byte, axis]
    if np.isnan(slopes).all():
        return scale
    seen = float(np.nanmedian(slopes))
    return seen if abs(seen - scale) <= 0.15 * abs(scale) else scale


@dataclass(frozen=True)
class Fit:
    """A line from a byte to a place; `hits`: share of the states in which it is right."""

    scale: float
    offset: float
    hits: float


_NO_FIT = Fit(0, 0, 0)


def fit(values: npt.NDArray[np.uint8], places: Numbers) -> Fit:
    """Theil and Sen's line (scipy) through the states in which the place is known."""
    met = ~np.isnan(places)
    x, y = values[met].astype(float), places[met]
    if len(y) < 2 * FEW or len(np.unique(x)) < FEW:
        return _NO_FIT
    scale, offset, *_ = stats.theilslopes(y, x)
    if not scale:
        return _NO_FIT
    return Fit(float(scale), float(offset), float((np.abs(y - scale * x - offset) <= NEAR).mean()))


def followers(found: Found, things: list[MetThing], votes: Votes) -> dict[int, tuple[MetThing, int, float]]:
    """Bytes that are never seen when they are changed, but tell where a thing is: (thing, axis, share of states)."""
    silent = np.flatnonzero((votes != Vote.UNSEEN).mean(axis=0) < 0.05)
    telling: dict[int, tuple[MetThing, int, float]] = {}
    for thing in things:
        for axis in (0, 1):
            places = thing.middles(axis)
            if len(np.unique(places[~np.isnan(places)])) <= FEW or np.nanstd(places) < NEAR:
                continue
            for byte in silent:
                hits = fit(found.rams[:, byte], places).hits
                if hits >= HITS and hits > telling.get(int(byte), (thing, axis, 0.0))[2]:
                    telling[int(byte)] = (thing, axis, hits)
    return telling


def within(left: float, top: float, right: float, lower: float, width: int, height: int) -> Region:
    """A region of whole pixels in a picture of this size."""
    x, y = min(max(0, int(left)), width - 1), min(max(0, int(top)), height - 1)
    return Region(x=x, y=y, width=max(1, min(round(right), width) - x), height=max(1, min(round(lower), height) - y))
