"""Bytes of RAM are changed, one alone, in states of real play, and what is drawn next is compared with the twin.

The twin is the same state, gone back to and drawn with nothing changed. Only NumPy looks at the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator, Ram, Screen, Snapshot
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.episodes.playing import Player
from tasks.arcade.settings.game import GameSettings

NEAR = (1, 2, 4, 8, 16, 32)
"""Added to a byte and taken from it: what a thing's way across the screen is read from."""
_BITS = (64, 128)
"""Flipped beside, for bytes whose bits are pictures."""
FRAMES = 2
"""Drawn after a change: some games use a byte one frame later, some draw a thing on every second frame only."""
_NOTHING = 0
"""Action while the next frames are drawn."""
_WHOLE = 0.25
"""Share of the picture from which on a change is one of the whole screen."""

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PlaySettings:
    """One player's play, and how many states of it are looked into.

    Attributes:
        game: frame skip and actions are its own; sticky actions are left out, since a state would not hold them.
        seed: of the emulator, the actions and the choice of states.
        steps: played, over as many episodes as that takes.
        states: changed and drawn; fewer than `steps`.
    """

    game: GameSettings
    seed: int
    steps: int
    states: int


@dataclass(frozen=True)
class Played:
    """What happened in play, step by step: arrays of as many rows as there are steps.

    Attributes:
        rams: uint8 of shape (steps, 128), after each step.
        rewards: of each step.
        lives: after each step.
        begins: whether another episode began with the step.
    """

    rams: npt.NDArray[np.uint8]
    rewards: Numbers
    lives: npt.NDArray[np.int64]
    begins: Flags


@dataclass(frozen=True)
class Evidence:
    """What the changes of each byte did in each state: arrays of shape (states, 128, ...).

    The last axis of `conserved`, `slope`, `growth`, `fit` and `span` is 0 for x and 1 for y. What moves along x leaves
    in each row of the picture the colors that were there, elsewhere; what appears, or looks different, does not.

    Attributes:
        visible: whether any change was seen.
        area: pixels changed, the median over the changes that were seen.
        steady: how alike those numbers are: their lower quartile, as a share of the upper one.
        conserved: share of those pixels in rows (columns) that hold the same colors as before; the upper quartile.
        slope: pixels that the thing moves for one more in the byte; nan if it does not.
        growth: its slope in the last frame drawn, as a share of that in the first one; 1 for a place, 2 for a speed.
        fit: how much of its movement a straight line explains, r squared.
        span: pixels between its outermost places.
        box: left, top, right and lower end of the thing as it was before the change; nan if nothing moved.
        edge: pixels changed by the small change that the box was read from.
    """

    visible: Flags
    area: Numbers
    steady: Numbers
    conserved: Numbers
    slope: Numbers
    growth: Numbers
    fit: Numbers
    span: Numbers
    box: Numbers
    edge: Numbers


@dataclass(frozen=True)
class Study:
    """One play and what was found in it.

    Attributes:
        rams: of the states, uint8 of shape (states, 128).
        heat: float32 of shape (128, height, width): each change that was seen, spread over the pixels it changed.
        pokes: changes drawn.
        unsteady: states left out of everything but this count.
        pictures: the frame that follows each state, RGB, of shape (states, height, width, 3).
    """

    played: Played
    rams: npt.NDArray[np.uint8]
    evidence: Evidence
    heat: npt.NDArray[np.float32]
    pokes: int
    unsteady: int
    pictures: Screen


def study(settings: PlaySettings, player: Player | None = None) -> Study:
    """Play, and change every byte in some of the states.

    Args:
        settings: how much, from which seed.
        player: decides the actions; none: they are random.

    Raises:
        UnknownEnvironmentError: the game cannot be emulated.
    """
    game = settings.game.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0})
    emulator = Emulator(game, settings.seed)
    played, moments = _play(emulator, settings, player)
    laboratory = _Laboratory(emulator)
    findings = [found for moment in moments if (found := laboratory.look_into(moment)) is not None]
    return Study(
        played=played,
        rams=np.array([ram for ram, _, _ in findings], np.uint8).reshape(-1, RAM_SIZE),
        evidence=_gathered([evidence for _, evidence, _ in findings]),
        heat=laboratory.heat,
        pokes=laboratory.pokes,
        unsteady=len(moments) - len(findings),
        pictures=np.array([picture for _, _, picture in findings]).reshape(-1, *emulator.screen_size, 3),
    )


def _play(emulator: Emulator, settings: PlaySettings, player: Player | None) -> tuple[Played, list[Snapshot]]:
    rng = np.random.default_rng(settings.seed)
    # One in each of equally long stretches of play, somewhere in it.
    edges = np.linspace(0, settings.steps, settings.states + 1).astype(int)
    wanted = {int(rng.integers(low, max(low + 1, high))) for low, high in pairwise(edges)}
    rams = np.empty((settings.steps, RAM_SIZE), np.uint8)
    rewards, lives = np.zeros(settings.steps), np.zeros(settings.steps, np.int64)
    begins, moments = np.zeros(settings.steps, np.bool_), list[Snapshot]()
    senses, decide = ObservationBuilder(player, emulator), player.start_episode() if player else None
    ram, starts = emulator.reset(settings.seed).copy(), True
    for step in range(settings.steps):
        uniform = float(rng.random())
        shown = senses(ram, episode_start=starts)
        action = decide(*shown, uniform) if decide else int(uniform * emulator.n_actions)
        ended = False
        for _ in range(_frames(settings.game.frame_skip, rng)):
            reward, terminated, truncated = emulator.step(action)
            rewards[step] += reward
            ended = ended or terminated or truncated
        if ended:
            emulator.reset()
            decide = player.start_episode() if player else None
        ram, starts = emulator.ram.copy(), ended
        rams[step], lives[step], begins[step] = ram, emulator.lives, ended
        if step in wanted:
            moments.append(emulator.moment())
    return Played(rams, rewards, lives, begins), moments


def _frames(frame_skip: int | tuple[int, int], rng: np.random.Generator) -> int:
    return frame_skip if isinstance(frame_skip, int) else int(rng.integers(*frame_skip))


class _Laboratory:
    """Changes bytes and looks at what is drawn next."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        height, width = emulator.screen_size
        self._twin = np.empty((FRAMES, height, width), np.uint8)
        self._again = np.empty_like(self._twin)
        self._drawn = np.empty((2 * len(NEAR) + len(_BITS), FRAMES, height, width), np.uint8)
        self.heat = np.zeros((RAM_SIZE, height, width), np.float32)
        self.pokes = 0

    def look_into(self, moment: Snapshot) -> tuple[Ram, Evidence, Screen] | None:
        """The RAM at a moment, what each byte does there, the next picture; none if going back there is not exact."""
        ram = self._emulator.restore_snapshot(moment).copy()
        self._emulator.step(_NOTHING)
        picture = self._emulator.screen()
        self._draw(moment, self._twin)
        before, seen = self.heat.copy(), self.pokes
        evidence = _gathered([self._change(moment, byte, int(ram[byte])) for byte in range(RAM_SIZE)])
        self._draw(moment, self._again)
        if not np.array_equal(self._twin, self._again):
            self.heat, self.pokes = before, seen
            return None
        return ram, evidence, picture

    def _draw(self, moment: Snapshot, into: Screen, byte: int | None = None, value: int = 0) -> None:
        self._emulator.restore_snapshot(moment)
        if byte is not None:
            self._emulator.write_ram_byte(byte, value)
        for picture in into:
            self._emulator.step(_NOTHING)
            self._emulator.screen_indices(picture)

    def _change(self, moment: Snapshot, byte: int, now: int) -> Evidence:
        values = _values(now)
        for value, pictures in zip(values, self._drawn, strict=False):
            self._draw(moment, pictures, byte, value)
        self.pokes += len(values)
        drawn = self._drawn[: len(values)]
        changed = drawn != self._twin
        areas = np.array([[np.count_nonzero(frame) for frame in frames] for frames in changed])
        if not areas.any():
            return _UNSEEN
        deltas = np.array(values) - now
        found: list[Evidence] = []
        for frame in range(FRAMES):
            seen = areas[:, frame] > 0
            pictures, masks = drawn[seen, frame], changed[seen, frame]
            found.append(_evidence(self._twin[frame], pictures, masks, deltas[seen]) if seen.any() else _UNSEEN)
        best = int((areas > 0).sum(axis=0).argmax())
        seen = areas[:, best] > 0
        self._warm(byte, changed[seen, best], areas[seen, best])
        return replace(found[best], growth=found[-1].slope / found[0].slope)

    def _warm(self, byte: int, changed: Flags, areas: npt.NDArray[np.int64]) -> None:
        for mask, area in zip(changed, areas, strict=True):
            self.heat[byte][mask] += 1 / area


def _values(now: int) -> list[int]:
    near = [now + sign * step for step in NEAR for sign in (-1, 1) if 0 <= now + sign * step < 256]
    return [*near, *(now ^ bit for bit in _BITS if now ^ bit not in near)]


_NEVER = np.full(2, np.nan)
_UNSEEN = Evidence(
    visible=np.array(False),
    area=np.array(0.0),
    steady=np.array(0.0),
    conserved=np.zeros(2),
    slope=_NEVER,
    growth=_NEVER,
    fit=np.zeros(2),
    span=np.zeros(2),
    box=np.full(4, np.nan),
    edge=np.array(0.0),
)


def _gathered(parts: list[Evidence]) -> Evidence:
    """Evidence side by side along a new first axis."""
    fields = Evidence.__dataclass_fields__
    return Evidence(**{name: np.array([getattr(part, name) for part in parts]) for name in fields})


def _evidence(twin: Screen, drawn: Screen, changed: Flags, deltas: npt.NDArray[np.int64]) -> Evidence:
    """What the changes of one byte in one state did.

    Args:
        twin: (height, width).
        drawn: (changes, height, width).
        changed: where they differ.
        deltas: what was added to the byte.
    """
    low, area, high = np.quantile(changed.sum(axis=(1, 2)), (0.25, 0.5, 0.75))
    if area > _WHOLE * twin.size:
        return replace(_UNSEEN, visible=np.array(True), area=area)
    ways = (
        _along(twin, drawn, changed, deltas),
        _along(twin.T, drawn.transpose(0, 2, 1), changed.transpose(0, 2, 1), deltas),
    )
    conserved, slope, fit, span = (np.array([getattr(way, name) for way in ways]) for name in _Way.NUMBERS)
    axis = int(conserved.argmax())
    moved = ways[axis].moved if axis == 0 else ways[axis].moved.transpose(0, 2, 1)
    only_there = np.where(np.arange(2) == axis, np.nan_to_num(slope), 0.0)
    box, edge = _box(moved if moved.any() else changed, deltas, only_there)
    return Evidence(np.array(True), area, low / high, conserved, slope, _NEVER, fit, span, box, edge)


@dataclass(frozen=True)
class _Way:
    """What moved along one axis: `Evidence` of it, and the pixels in the lines that hold the same colors as before."""

    conserved: float
    slope: float
    fit: float
    span: float
    moved: Flags

    NUMBERS: ClassVar = ("conserved", "slope", "fit", "span")


def _along(twin: Screen, drawn: Screen, changed: Flags, deltas: npt.NDArray[np.int64]) -> _Way:
    """What moved along the last axis."""
    lines = changed.any(axis=(0, 2))
    within = changed[:, lines]
    counts = within.sum(axis=2)
    same = (np.sort(drawn[:, lines], axis=2) == np.sort(twin[lines], axis=1)).all(axis=2) & (counts > 0)
    # At the picture's edges things are cut off: the better half of the changes decides.
    conserved = float(np.quantile((counts * same).sum(axis=1) / counts.sum(axis=1), 0.75))
    with np.errstate(invalid="ignore"):
        middles = (within @ np.arange(within.shape[2])) / counts
    # Half of the changed pixels are where the thing was and half where it is; of a thing that only appears, all are.
    told, factor = (same, 2.0) if conserved >= 0.5 else (counts > 0, 1.0)
    slope, fit, span = _line(np.where(told, middles, np.nan), deltas, factor)
    moved = np.zeros_like(changed)
    moved[:, lines] = within & same[..., None]
    return _Way(conserved, slope, fit, span, moved)


def _line(middles: Numbers, deltas: npt.NDArray[np.int64], factor: float) -> tuple[float, float, float]:
    """(slope, fit, span) of a straight way through the middles of what changed, line by line of the picture.

    Lines whose movement the byte explains most count most: what else happens on the screen does not.
    """
    near = np.abs(deltas) <= NEAR[-1]
    middles, steps = middles[near], deltas[near].astype(float)[:, None]
    there = ~np.isnan(middles)
    useful = there.sum(axis=0) >= 3
    if not useful.any():
        return np.nan, 0.0, 0.0
    middles, there = middles[:, useful], there[:, useful]
    mean = np.where(there, middles, 0).sum(axis=0) / there.sum(axis=0)
    y = np.where(there, middles - mean, 0)
    x = np.where(there, steps - np.where(there, steps, 0).sum(axis=0) / there.sum(axis=0), 0)
    sxx, sxy, syy = (x * x).sum(axis=0), (x * y).sum(axis=0), (y * y).sum(axis=0)
    slopes, explained = sxy / sxx, sxy * sxy / sxx
    if explained.sum() == 0:
        return np.nan, 0.0, 0.0
    order = np.argsort(slopes)
    share = np.cumsum(explained[order]) / explained.sum()
    slope = slopes[order][np.searchsorted(share, 0.5)]
    spans = np.where(there, middles, -np.inf).max(axis=0) - np.where(there, middles, np.inf).min(axis=0)
    return factor * float(slope), float(explained.sum() / syy.sum()), factor * float(spans.max())


def _box(moved: Flags, deltas: npt.NDArray[np.int64], slope: Numbers) -> tuple[Numbers, Numbers]:
    """The thing's box before it moved, from a small change, which only frays its edges; and how many pixels changed."""
    boxes = []
    nearest = np.argsort(np.abs(deltas), kind="stable")
    for at in nearest[moved[nearest].any(axis=(1, 2))][:4]:
        rows, columns = np.flatnonzero(moved[at].any(axis=1)), np.flatnonzero(moved[at].any(axis=0))
        way = slope * deltas[at]
        low, high = np.minimum(way, 0), np.maximum(way, 0)
        left, top = columns[0] - low[0], rows[0] - low[1]
        right, lower = columns[-1] + 1 - high[0], rows[-1] + 1 - high[1]
        box = np.array([left, top, max(right, left + 1), max(lower, top + 1)])
        boxes.append((box, np.array(float(moved[at].sum()))))
    return min(boxes, key=lambda found: np.prod(found[0][2:] - found[0][:2]))
