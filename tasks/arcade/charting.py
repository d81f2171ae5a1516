"""What was seen when bytes were changed becomes an atlas: kinds, things and where they are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from tasks.arcade.atlas import Atlas, Axis, Entry, Kind, Region, Thing
from tasks.arcade.game import RAM_SIZE, Ram, Screen, ale_version, rom_digest
from tasks.arcade.habits import Habits, habits
from tasks.arcade.poking import Evidence, Numbers, Study
from tasks.arcade.settings import GameSettings

_MOVES = 0.6
"""Share of the changed pixels that lie in lines where things only moved."""
_GROWS, _APPEARS = 0.7, 0.95
"""Share of a movement that a straight line explains: of things that are cut off, of things that were not there."""
_LEAST_SPAN = 4.0
"""Pixels: what a byte moves less is a wobble; what goes four times as far need not follow a line."""
_FILLED = 0.04
"""Share of a box's pixels that change: where fewer do, several things far apart moved at once."""
_NEAR = 4.0
"""Pixels by which a place may be missed."""
_HITS = 0.8
"""Share of the states in which a byte has to tell a thing's place."""
_FEW = 5
"""States: fewer say nothing."""


@dataclass(frozen=True)
class _Found:
    """All plays together: `Evidence`, the states' RAM, the heat."""

    evidence: Evidence
    rams: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32]
    size: tuple[int, int]


@dataclass(frozen=True)
class Chart:
    """An atlas, and what its picture is drawn from.

    Attributes:
        atlas: as it is kept.
        heat: of each byte, float32 of shape (128, height, width): how often a change of it changed a pixel.
        picture: RGB, a state in which many of the things are to be seen.
        ram: that state's, uint8 of shape (128,).
    """

    atlas: Atlas
    heat: npt.NDArray[np.float32]
    picture: Screen
    ram: Ram


def chart(studies: Sequence[Study], game: GameSettings, seed: int, player: str) -> Chart:
    """Judge what was found in plays of one game.

    Args:
        studies: one or more.
        game: what was played.
        seed: that the plays' seeds came from.
        player: who played.
    """
    found = _together(studies)
    votes = _votes(found.evidence)
    moving = _movers(votes)
    things = _things(found, votes, moving)
    telling = _followers(found, things, votes)
    habit = habits([one.played for one in studies])
    entries = _Judge(found, votes, moving, things, telling, habit).entries()
    atlas = Atlas(
        game=game.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0}),
        ale_py=ale_version(),
        rom_sha256=rom_digest(game.rom),
        seed=seed,
        player=player,
        steps=sum(len(one.played.rewards) for one in studies),
        states=len(found.rams),
        pokes=sum(one.pokes for one in studies),
        unsteady=sum(one.unsteady for one in studies),
        size=found.size,
        entries=entries,
        things=tuple(thing.value for thing in things if thing.told),
    )
    met = np.sum([~np.isnan(thing.boxes[:, 0]) for thing in things], axis=0) if things else np.zeros(len(found.rams))
    best = int(np.argmax(met))
    return Chart(atlas, found.heat, np.concatenate([one.pictures for one in studies])[best], found.rams[best])


def _together(studies: Sequence[Study]) -> _Found:
    parts = [one.evidence for one in studies]
    joined = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Evidence)}
    heat = np.sum([one.heat for one in studies], axis=0)
    return _Found(Evidence(**joined), np.concatenate([one.rams for one in studies]), heat, heat.shape[1:])


_UNSEEN, _X, _Y, _SCREEN, _LOOK = range(5)


def _votes(evidence: Evidence) -> npt.NDArray[np.int64]:
    """What each state says of each byte, of shape (states, 128)."""
    kept, fit, span = evidence.conserved, evidence.fit, evidence.span
    votes = np.where(evidence.visible, _LOOK, _UNSEEN)
    votes[evidence.visible & np.isnan(evidence.box[..., 0])] = _SCREEN
    for axis, vote in ((0, _X), (1, _Y)):
        other = 1 - axis
        far = span[..., axis] >= 4 * _LEAST_SPAN
        goes = far | (span[..., axis] >= _LEAST_SPAN) & (fit[..., axis] >= 0.5)
        moved = (kept[..., axis] >= _MOVES) & (kept[..., axis] > kept[..., other]) & goes
        still = (fit[..., other] < 0.5) | (span[..., other] < _LEAST_SPAN)
        alone = (kept.max(axis=2) < _MOVES) & (span[..., axis] >= 2 * _LEAST_SPAN) & still
        # At the edge of the screen a thing is cut off: it seems to grow.
        cut_off = alone & (fit[..., axis] >= _GROWS) & (moved.sum(axis=0) >= 0.25 * evidence.visible.sum(axis=0))
        appears = alone & (fit[..., axis] >= _APPEARS) & (evidence.steady >= _MOVES) & far
        votes[moved | cut_off | appears] = vote
    return votes


def _movers(votes: npt.NDArray[np.int64]) -> dict[int, int]:
    """Axis of each byte that moves something."""
    seen = np.maximum((votes != _UNSEEN).sum(axis=0), 1)
    shares = np.stack([(votes == vote).sum(axis=0) / seen for vote in (_X, _Y)])
    axes, best = shares.argmax(axis=0), shares.max(axis=0)
    enough = (votes != _UNSEEN).sum(axis=0) >= _FEW
    return {byte: int(axes[byte]) for byte in range(RAM_SIZE) if enough[byte] and best[byte] >= 0.5}


_UNNAMED = "A"


@dataclass(frozen=True)
class _Thing:
    """A thing with what is known of it in the states: `boxes`, nan where it was not met, of shape (states, 4)."""

    value: Thing
    boxes: Numbers
    members: tuple[int, ...]

    @property
    def told(self) -> bool:
        """Whether some byte tells where it is; else several may have been taken for one."""
        return self.value.x.byte is not None or self.value.y.byte is not None

    def named(self, name: str) -> _Thing:
        return replace(self, value=self.value.model_copy(update={"name": name}))

    def middles(self, axis: int) -> Numbers:
        return _middles(self.boxes)[:, axis]


def _middles(boxes: Numbers) -> Numbers:
    return np.stack([boxes[..., 0] + boxes[..., 2], boxes[..., 1] + boxes[..., 3]], axis=-1) / 2


def _things(found: _Found, votes: npt.NDArray[np.int64], moving: dict[int, int]) -> list[_Thing]:
    """Bytes that move what lies at the same place move the same thing."""
    groups: list[tuple[list[int], list[Numbers]]] = []
    boxes = {byte: _boxes_of(found, votes, byte, axis) for byte, axis in moving.items()}
    for byte in sorted(moving, key=lambda byte: -int((~np.isnan(boxes[byte][:, 0])).sum())):
        if (~np.isnan(boxes[byte][:, 0])).sum() < _FEW:
            continue
        members, seen = next((group for group in groups if _same(boxes[byte], group[1][0])), ([], []))
        if not members:
            groups.append((members, seen))
        members.append(byte)
        seen.append(boxes[byte])
    things = sorted((_thing(found, members, seen) for members, seen in groups), key=lambda thing: not thing.told)
    return [thing.named(_name(number)) for number, thing in enumerate(things)]


def _boxes_of(found: _Found, votes: npt.NDArray[np.int64], byte: int, axis: int) -> Numbers:
    """The thing's box in each state in which this byte moved it."""
    box = found.evidence.box[:, byte]
    with np.errstate(invalid="ignore"):
        filled = found.evidence.edge[:, byte] >= _FILLED * (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    met = (votes[:, byte] == (_X, _Y)[axis]) & (found.evidence.conserved[:, byte, axis] >= _MOVES) & filled
    return np.where(met[:, None], found.evidence.box[:, byte], np.nan)


def _same(one: Numbers, other: Numbers) -> bool:
    apart = np.abs(_middles(one) - _middles(other)).max(axis=1)
    apart = apart[~np.isnan(apart)]
    return len(apart) >= _FEW and float((apart <= _NEAR).mean()) >= 0.5


def _name(number: int) -> str:
    return (_name(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _thing(found: _Found, members: list[int], seen: list[Numbers]) -> _Thing:
    with warnings.catch_warnings():
        # States in which no member met the thing have no box.
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        boxes = np.nanmedian(seen, axis=0)
    met = boxes[~np.isnan(boxes[:, 0])]
    height, width = found.size
    low, high = np.quantile(met[:, :2], 0.02, axis=0), np.quantile(met[:, 2:], 0.98, axis=0)
    reach = _region(low[0], low[1], high[0], high[1], width, height)
    axes = [_axis(found, boxes, axis, members, reach) for axis in (0, 1)]
    return _Thing(Thing(name=_UNNAMED, x=axes[0], y=axes[1], reach=reach), boxes, tuple(members))


def _region(left: float, top: float, right: float, lower: float, width: int, height: int) -> Region:
    x, y = min(max(0, int(left)), width - 1), min(max(0, int(top)), height - 1)
    return Region(x=x, y=y, width=max(1, min(round(right), width) - x), height=max(1, min(round(lower), height) - y))


def _axis(found: _Found, boxes: Numbers, axis: int, members: list[int], reach: Region) -> Axis:
    """How to tell where the thing is on one axis."""
    places, sizes = _middles(boxes)[:, axis], boxes[:, axis + 2] - boxes[:, axis]
    met = ~np.isnan(places)
    size = max(1, round(float(np.median(sizes[met]))))
    if np.ptp(np.quantile(places[met], (0.05, 0.95))) <= _NEAR:
        return Axis(byte=None, scale=0, offset=float(np.median(places[met])), extent=size)
    lines = {byte: _fit(found.rams[:, byte], places) for byte in range(RAM_SIZE)}
    # Of two that tell it as well, the byte that moves it, and one that grows from left to right, from top to bottom.
    best = max(lines, key=lambda byte: lines[byte].hits + 0.02 * (byte in members) + 0.01 * (lines[byte].scale > 0))
    if lines[best].hits >= _HITS:
        return Axis(byte=best, scale=lines[best].scale, offset=lines[best].offset, extent=size)
    begin, extent = ((reach.x, reach.width), (reach.y, reach.height))[axis]
    return Axis(byte=None, scale=0, offset=begin + extent / 2, extent=extent)


@dataclass(frozen=True)
class _Fit:
    """A line from a byte to a place; `hits`: share of the states in which it is right."""

    scale: float
    offset: float
    hits: float


_NO_FIT = _Fit(0, 0, 0)


def _fit(values: npt.NDArray[np.uint8], places: Numbers) -> _Fit:
    """Theil and Sen's line (scipy) through the states in which the place is known."""
    met = ~np.isnan(places)
    x, y = values[met].astype(float), places[met]
    if len(y) < 2 * _FEW or len(np.unique(x)) < _FEW:
        return _NO_FIT
    scale, offset, *_ = stats.theilslopes(y, x)
    if not scale:
        return _NO_FIT
    return _Fit(float(scale), float(offset), float((np.abs(y - scale * x - offset) <= _NEAR).mean()))


def _followers(
    found: _Found, things: list[_Thing], votes: npt.NDArray[np.int64]
) -> dict[int, tuple[_Thing, int, float]]:
    """Bytes that are never seen when they are changed, but tell where a thing is: (thing, axis, share of states)."""
    silent = np.flatnonzero((votes != _UNSEEN).mean(axis=0) < 0.05)
    telling: dict[int, tuple[_Thing, int, float]] = {}
    for thing in things:
        for axis in (0, 1):
            places = thing.middles(axis)
            if len(np.unique(places[~np.isnan(places)])) <= _FEW or np.nanstd(places) < _NEAR:
                continue
            for byte in silent:
                hits = _fit(found.rams[:, byte], places).hits
                if hits >= _HITS and hits > telling.get(int(byte), (thing, axis, 0.0))[2]:
                    telling[int(byte)] = (thing, axis, hits)
    return telling


class _Judge:
    """One entry for each byte."""

    def __init__(
        self,
        found: _Found,
        votes: npt.NDArray[np.int64],
        moving: dict[int, int],
        things: list[_Thing],
        telling: dict[int, tuple[_Thing, int, float]],
        habit: Habits,
    ) -> None:
        self._found, self._votes, self._moving = found, votes, moving
        self._things, self._telling, self._habit = things, telling, habit
        self._visible = (votes != _UNSEEN).mean(axis=0)

    def entries(self) -> tuple[Entry, ...]:
        entries = [self._entry(byte) for byte in range(RAM_SIZE)]
        displays = [entry for entry in entries if entry.kind in ("score", "lives", "timer") and self._is_small(entry)]
        return tuple(self._beside(entry, displays) for entry in entries)

    def _entry(self, byte: int) -> Entry:
        visible = float(self._visible[byte])
        if byte in self._moving:
            return self._mover(byte, visible)
        if byte in self._telling:
            thing, axis, hits = self._telling[byte]
            kind: Kind = ("x", "y")[axis]
            reach = thing.value.reach
            return Entry(
                byte=byte, kind=kind, how="follows", sure=hits, visible=visible, region=reach, thing=thing.value.name
            )
        kind, sure = self._habitual(byte)
        how = "shows" if visible else "follows"
        region = _warm_region(self._found.heat[byte])
        if kind == "none" and visible:
            seen = self._votes[:, byte][self._votes[:, byte] != _UNSEEN]
            kind = "screen" if (seen == _SCREEN).mean() > 0.5 else "look"
            sure = float((seen == (_SCREEN if kind == "screen" else _LOOK)).mean())
        elif kind == "none":
            how, sure = "nothing", max(0.0, 1 - 3 / len(self._votes))
        return Entry(byte=byte, kind=kind, how=how, sure=sure, visible=visible, region=region)

    def _is_small(self, entry: Entry) -> bool:
        height, width = self._found.size
        region = entry.region
        small = region is not None and region.width * region.height < _DISPLAY * width * height
        return small and entry.visible >= _HITS

    def _mover(self, byte: int, visible: float) -> Entry:
        axis = self._moving[byte]
        seen = self._votes[:, byte][self._votes[:, byte] != _UNSEEN]
        thing = next((thing for thing in self._things if byte in thing.members), None)
        places_it = thing is None or self._places(byte, axis, thing)
        kinds: tuple[Kind, Kind] = ("x", "y") if places_it else ("x drive", "y drive")
        return Entry(
            byte=byte,
            kind=kinds[axis],
            how="moves",
            sure=float((seen == (_X, _Y)[axis]).mean()),
            visible=visible,
            region=_warm_region(self._found.heat[byte]),
            thing=thing.value.name if thing and thing.told else None,
        )

    def _places(self, byte: int, axis: int, thing: _Thing) -> bool:
        """Whether a byte that moves a thing also tells where it is, as far as that can be seen."""
        places = thing.middles(axis)
        met = ~np.isnan(places)
        values = self._found.rams[met, byte]
        if not thing.told:
            return False
        if np.ptp(places[met]) <= 2 * _NEAR or len(np.unique(values)) == 1:
            return True
        return _fit(self._found.rams[:, byte], places).hits >= 0.5

    def _habitual(self, byte: int) -> tuple[Kind, float]:
        habit = self._habit
        shares: dict[Kind, float] = {
            "lives": float(habit.lives[byte]),
            "score": float(habit.score[byte]),
            "timer": float(habit.timer[byte]),
        }
        kind = max(shares, key=lambda kind: shares[kind])
        return (kind, shares[kind]) if shares[kind] >= _HABIT else ("none", 0.0)

    def _beside(self, entry: Entry, displays: list[Entry]) -> Entry:
        """What hardly ever changed in play, but shows where a display is, or in a row with the score's digits."""
        rewarded = float(self._habit.rewarded[entry.byte])
        unknown = self._habit.lively[entry.byte] == 0
        if entry.kind != "look" or not (unknown or rewarded >= _HITS):
            return entry
        kinds = [display.kind for display in displays if _overlap(entry.region, display.region) > 0.5]
        if not kinds and any(
            _in_a_row(entry.region, display.region) for display in displays if display.kind == "score"
        ):
            kinds = ["score"]
        return entry.model_copy(update={"kind": kinds[0], "sure": 0.5 if unknown else rewarded}) if kinds else entry


_DISPLAY = 0.1
"""Share of the picture that no display takes up."""
_HABIT = 0.75
"""Share of changes in play that have to fit."""


def _overlap(one: Region | None, other: Region | None) -> float:
    """What two regions share, as a share of both together."""
    if one is None or other is None:
        return 0.0
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, across) * max(0, down)
    return shared / (one.width * one.height + other.width * other.height - shared)


def _in_a_row(one: Region | None, other: Region | None) -> bool:
    """Whether two regions lie on the same lines, side by side."""
    if one is None or other is None:
        return False
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    gap = max(one.x, other.x) - min(one.x + one.width, other.x + other.width)
    return down >= 0.7 * max(one.height, other.height) and gap <= max(one.width, other.width)


def _warm_region(heat: npt.NDArray[np.float32]) -> Region | None:
    """The rectangle around the warmest pixels, which hold nine tenths of the heat together."""
    if not heat.any():
        return None
    ranked = np.sort(heat, axis=None)[::-1]
    least = ranked[np.searchsorted(np.cumsum(ranked, dtype=float), 0.9 * float(ranked.sum(dtype=float)))]
    warm = heat >= least
    rows, columns = np.flatnonzero(warm.any(axis=1)), np.flatnonzero(warm.any(axis=0))
    height, width = heat.shape
    return _region(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, width, height)
