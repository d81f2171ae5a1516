"""Perturbation of RAM: the effect on the next frames of changing one byte in a state of play.

The frames are compared with unperturbed ones. These are drawn from the same restored snapshot; the
comparison is done in NumPy only.
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

_DELTAS = (1, 2, 4, 8, 16, 32)
"""Added to and subtracted from a byte: an object's movement is measured from these."""
_BITS = (64, 128)
"""Additional bits to flip, for bytes that hold bitmaps."""
_FRAMES = 2
"""Frames drawn after a perturbation: some games use a byte one frame later or draw an object on every second frame."""
_NOOP = 0
"""Action while the next frames are drawn."""
_SCREEN_SHARE = 0.25
"""Share of the screen from which on a change counts as one of the whole screen."""

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PerturbationSettings:
    """Length of a play, and in how many of its states bytes are perturbed.

    Attributes:
        game: Emulator settings; sticky actions are disabled, since a snapshot does not hold the last action.
        seed: Seed of the emulator, the actions and the choice of states.
        steps: Steps to play, over several episodes if needed.
        states: Number of states to perturb, less than `steps`.
    """

    game: GameSettings
    seed: int
    steps: int
    states: int


@dataclass(frozen=True)
class Trajectory:
    """Unperturbed play: arrays with one row per step.

    Attributes:
        rams: RAM after each step, uint8 of shape (steps, 128).
        rewards: Reward of each step.
        lives: Lives after each step.
        episode_starts: Whether a new episode started with the step.
    """

    rams: npt.NDArray[np.uint8]
    rewards: Float64Array
    lives: npt.NDArray[np.int64]
    episode_starts: BoolArray


@dataclass(frozen=True)
class Measurements:
    """Measured effect of perturbing each byte in each state: arrays of shape (states, 128, ...).

    The last axis of `conserved`, `slope`, `growth`, `fit` and `span` is 0 for x and 1 for y. A movement along x keeps
    the colors of each row of the screen and only permutes them; an object that appears or changes its looks does not.

    Attributes:
        visible: Whether any perturbation changed the screen.
        area: Median number of changed pixels over the visible perturbations.
        consistency: Lower quartile of these numbers as a share of the upper one.
        conserved: Share of the changed pixels in rows (columns) that keep their colors; upper quartile.
        slope: Pixels the object moves per unit of the byte; nan without movement.
        growth: Slope in the last frame as a share of the slope in the first; 1 for a position, 2 for a velocity.
        fit: r squared of the linear fit of the movement.
        span: Pixels between the object's outermost positions.
        box: Left, top, right and bottom of the object before the perturbation; nan without movement.
        box_area: Number of pixels changed by the small perturbation that the box was read from.
    """

    visible: BoolArray
    area: Float64Array
    consistency: Float64Array
    conserved: Float64Array
    slope: Float64Array
    growth: Float64Array
    fit: Float64Array
    span: Float64Array
    box: Float64Array
    box_area: Float64Array


@dataclass(frozen=True)
class PerturbationResult:
    """Result of perturbing states of one play.

    Attributes:
        trajectory: The unperturbed play.
        rams: RAM of the states, uint8 of shape (states, 128).
        measurements: Measured effects of the bytes in the states.
        heat: Heat maps, float32 of shape (128, height, width): the sum over visible perturbations of a weight of 1
            spread over the changed pixels.
        perturbations: Number of perturbations drawn.
        discarded_states: Number of states discarded because restoring them was not exact.
        frames: Frame after each state, RGB, of shape (states, height, width, 3).
    """

    trajectory: Trajectory
    rams: npt.NDArray[np.uint8]
    measurements: Measurements
    heat: npt.NDArray[np.float32]
    perturbations: int
    discarded_states: int
    frames: Screen


def perturb_play(settings: PerturbationSettings, player: Player | None = None) -> PerturbationResult:
    """Play, and perturb every byte in some of the states.

    Args:
        settings: Length of the play, number of states, seed.
        player: The player (default: random actions).

    Raises:
        UnknownEnvironmentError: The game cannot be emulated.
    """
    game = settings.game.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0})
    emulator = Emulator(game, settings.seed)
    trajectory, snapshots = _play(emulator, settings, player)
    perturber = _Perturber(emulator)
    results = [result for snapshot in snapshots if (result := perturber.perturb_state(snapshot)) is not None]
    return PerturbationResult(
        trajectory=trajectory,
        rams=np.array([ram for ram, _, _ in results], np.uint8).reshape(-1, RAM_SIZE),
        measurements=_stack([measurements for _, measurements, _ in results]),
        heat=perturber.heat,
        perturbations=perturber.perturbations,
        discarded_states=len(snapshots) - len(results),
        frames=np.array([frame for _, _, frame in results]).reshape(-1, *emulator.screen_size, 3),
    )


def _play(
    emulator: Emulator, settings: PerturbationSettings, player: Player | None
) -> tuple[Trajectory, list[Snapshot]]:
    rng = np.random.default_rng(settings.seed)
    # Stratified sample: one random step from each of equally long stretches of play.
    edges = np.linspace(0, settings.steps, settings.states + 1).astype(int)
    snapshot_steps = {int(rng.integers(low, max(low + 1, high))) for low, high in pairwise(edges)}
    rams = np.empty((settings.steps, RAM_SIZE), np.uint8)
    rewards, lives = np.zeros(settings.steps), np.zeros(settings.steps, np.int64)
    episode_starts, snapshots = np.zeros(settings.steps, np.bool_), list[Snapshot]()
    observe, decide = ObservationBuilder(player, emulator), player.start_episode() if player else None
    ram, starts = emulator.reset(settings.seed).copy(), True
    for step in range(settings.steps):
        uniform = float(rng.random())
        observations = observe(ram, episode_start=starts)
        action = decide(*observations, uniform) if decide else int(uniform * emulator.n_actions)
        ended = False
        for _ in range(_frames(settings.game.frame_skip, rng)):
            reward, terminated, truncated = emulator.step(action)
            rewards[step] += reward
            ended = ended or terminated or truncated
        if ended:
            emulator.reset()
            decide = player.start_episode() if player else None
        ram, starts = emulator.ram.copy(), ended
        rams[step], lives[step], episode_starts[step] = ram, emulator.lives, ended
        if step in snapshot_steps:
            snapshots.append(emulator.snapshot())
    return Trajectory(rams, rewards, lives, episode_starts), snapshots


def _frames(frame_skip: int | tuple[int, int], rng: np.random.Generator) -> int:
    return frame_skip if isinstance(frame_skip, int) else int(rng.integers(*frame_skip))


class _Perturber:
    """Perturbs bytes and measures the effect on the next frames."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        height, width = emulator.screen_size
        self._unperturbed = np.empty((_FRAMES, height, width), np.uint8)
        self._again = np.empty_like(self._unperturbed)
        self._perturbed = np.empty((2 * len(_DELTAS) + len(_BITS), _FRAMES, height, width), np.uint8)
        self.heat = np.zeros((RAM_SIZE, height, width), np.float32)
        self.perturbations = 0

    def perturb_state(self, snapshot: Snapshot) -> tuple[Ram, Measurements, Screen] | None:
        """Return the RAM, the effect of each byte and the next frame; None if restoring the snapshot is not exact."""
        ram = self._emulator.restore_snapshot(snapshot).copy()
        self._emulator.step(_NOOP)
        frame = self._emulator.screen()
        self._draw(snapshot, self._unperturbed)
        heat, perturbations = self.heat.copy(), self.perturbations
        measurements = _stack([self._perturb_byte(snapshot, byte, int(ram[byte])) for byte in range(RAM_SIZE)])
        self._draw(snapshot, self._again)
        if not np.array_equal(self._unperturbed, self._again):
            self.heat, self.perturbations = heat, perturbations
            return None
        return ram, measurements, frame

    def _draw(self, snapshot: Snapshot, into: Screen, byte: int | None = None, value: int = 0) -> None:
        self._emulator.restore_snapshot(snapshot)
        if byte is not None:
            self._emulator.write_ram_byte(byte, value)
        for frame in into:
            self._emulator.step(_NOOP)
            self._emulator.screen_indices(frame)

    def _perturb_byte(self, snapshot: Snapshot, byte: int, current: int) -> Measurements:
        values = _perturbed_values(current)
        for value, frames in zip(values, self._perturbed, strict=False):
            self._draw(snapshot, frames, byte, value)
        self.perturbations += len(values)
        perturbed = self._perturbed[: len(values)]
        changed = perturbed != self._unperturbed
        areas = np.array([[np.count_nonzero(frame) for frame in frames] for frames in changed])
        if not areas.any():
            return _NO_EFFECT
        deltas = np.array(values) - current
        by_frame: list[Measurements] = []
        for number in range(_FRAMES):
            visible = areas[:, number] > 0
            frames, masks = perturbed[visible, number], changed[visible, number]
            by_frame.append(
                _measure(self._unperturbed[number], frames, masks, deltas[visible]) if visible.any() else _NO_EFFECT
            )
        best = int((areas > 0).sum(axis=0).argmax())
        visible = areas[:, best] > 0
        self._add_heat(byte, changed[visible, best], areas[visible, best])
        return replace(by_frame[best], growth=by_frame[-1].slope / by_frame[0].slope)

    def _add_heat(self, byte: int, changed: BoolArray, areas: npt.NDArray[np.int64]) -> None:
        for mask, area in zip(changed, areas, strict=True):
            self.heat[byte][mask] += 1 / area


def _perturbed_values(current: int) -> list[int]:
    near = [current + sign * delta for delta in _DELTAS for sign in (-1, 1) if 0 <= current + sign * delta < 256]
    return [*near, *(current ^ bit for bit in _BITS if current ^ bit not in near)]


_NAN_PER_AXIS = np.full(2, np.nan)
_NO_EFFECT = Measurements(
    visible=np.array(False),
    area=np.array(0.0),
    consistency=np.array(0.0),
    conserved=np.zeros(2),
    slope=_NAN_PER_AXIS,
    growth=_NAN_PER_AXIS,
    fit=np.zeros(2),
    span=np.zeros(2),
    box=np.full(4, np.nan),
    box_area=np.array(0.0),
)


def _stack(parts: list[Measurements]) -> Measurements:
    """Stack measurements along a new first axis."""
    fields = Measurements.__dataclass_fields__
    return Measurements(**{name: np.array([getattr(part, name) for part in parts]) for name in fields})


def _measure(unperturbed: Screen, perturbed: Screen, changed: BoolArray, deltas: npt.NDArray[np.int64]) -> Measurements:
    """Measure the effect of perturbing one byte in one state.

    Args:
        unperturbed: Frame of shape (height, width).
        perturbed: Frames of shape (perturbations, height, width).
        changed: Mask of the pixels that differ.
        deltas: Change of the byte's value in each perturbation.
    """
    low, area, high = np.quantile(changed.sum(axis=(1, 2)), (0.25, 0.5, 0.75))
    if area > _SCREEN_SHARE * unperturbed.size:
        return replace(_NO_EFFECT, visible=np.array(True), area=area)
    movements = (
        _measure_movement(unperturbed, perturbed, changed, deltas),
        _measure_movement(unperturbed.T, perturbed.transpose(0, 2, 1), changed.transpose(0, 2, 1), deltas),
    )
    conserved, slope, fit, span = (np.array([getattr(one, name) for one in movements]) for name in _Movement.PER_AXIS)
    axis = int(conserved.argmax())
    moved = movements[axis].moved if axis == 0 else movements[axis].moved.transpose(0, 2, 1)
    axis_slope = np.where(np.arange(2) == axis, np.nan_to_num(slope), 0.0)
    box, box_area = _box(moved if moved.any() else changed, deltas, axis_slope)
    return Measurements(np.array(True), area, low / high, conserved, slope, _NAN_PER_AXIS, fit, span, box, box_area)


@dataclass(frozen=True)
class _Movement:
    """Movement along one axis: see `Measurements`; `moved` masks the changed pixels in lines that keep their colors."""

    conserved: float
    slope: float
    fit: float
    span: float
    moved: BoolArray

    PER_AXIS: ClassVar = ("conserved", "slope", "fit", "span")


def _measure_movement(
    unperturbed: Screen, perturbed: Screen, changed: BoolArray, deltas: npt.NDArray[np.int64]
) -> _Movement:
    """Measure the movement along the last axis."""
    lines = changed.any(axis=(0, 2))
    within = changed[:, lines]
    counts = within.sum(axis=2)
    sorted_lines = np.sort(perturbed[:, lines], axis=2) == np.sort(unperturbed[lines], axis=1)
    same = sorted_lines.all(axis=2) & (counts > 0)
    # Objects are clipped at the screen's edges: the better half of the perturbations decides.
    conserved = float(np.quantile((counts * same).sum(axis=1) / counts.sum(axis=1), 0.75))
    with np.errstate(invalid="ignore"):
        centers = (within @ np.arange(within.shape[2])) / counts
    # Half of the changed pixels are at the object's former position and half at the new one; all are at the new one
    # for an object that only appears.
    usable, factor = (same, 2.0) if conserved >= 0.5 else (counts > 0, 1.0)
    slope, fit, span = _fit_movement(np.where(usable, centers, np.nan), deltas, factor)
    moved = np.zeros_like(changed)
    moved[:, lines] = within & same[..., None]
    return _Movement(conserved, slope, fit, span, moved)


def _fit_movement(centers: Float64Array, deltas: npt.NDArray[np.int64], factor: float) -> tuple[float, float, float]:
    """Return (slope, fit, span) of a linear fit through the centers of the changed pixels, line by line.

    The slope is the median over the lines, weighted by the variance that the byte explains, which leaves out
    unrelated changes of the screen.
    """
    near = np.abs(deltas) <= _DELTAS[-1]
    centers, steps = centers[near], deltas[near].astype(float)[:, None]
    known = ~np.isnan(centers)
    useful = known.sum(axis=0) >= 3
    if not useful.any():
        return np.nan, 0.0, 0.0
    centers, known = centers[:, useful], known[:, useful]
    mean = np.where(known, centers, 0).sum(axis=0) / known.sum(axis=0)
    y = np.where(known, centers - mean, 0)
    x = np.where(known, steps - np.where(known, steps, 0).sum(axis=0) / known.sum(axis=0), 0)
    sxx, sxy, syy = (x * x).sum(axis=0), (x * y).sum(axis=0), (y * y).sum(axis=0)
    slopes, explained = sxy / sxx, sxy * sxy / sxx
    if explained.sum() == 0:
        return np.nan, 0.0, 0.0
    order = np.argsort(slopes)
    share = np.cumsum(explained[order]) / explained.sum()
    slope = slopes[order][np.searchsorted(share, 0.5)]
    spans = np.where(known, centers, -np.inf).max(axis=0) - np.where(known, centers, np.inf).min(axis=0)
    return factor * float(slope), float(explained.sum() / syy.sum()), factor * float(spans.max())


def _box(moved: BoolArray, deltas: npt.NDArray[np.int64], slope: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the object's box before a small perturbation, which only shifts its edges, and the changed pixels."""
    boxes = []
    nearest = np.argsort(np.abs(deltas), kind="stable")
    for at in nearest[moved[nearest].any(axis=(1, 2))][:4]:
        rows, columns = np.flatnonzero(moved[at].any(axis=1)), np.flatnonzero(moved[at].any(axis=0))
        shift = slope * deltas[at]
        low, high = np.minimum(shift, 0), np.maximum(shift, 0)
        left, top = columns[0] - low[0], rows[0] - low[1]
        right, bottom = columns[-1] + 1 - high[0], rows[-1] + 1 - high[1]
        box = np.array([left, top, max(right, left + 1), max(bottom, top + 1)])
        boxes.append((box, np.array(float(moved[at].sum()))))
    return min(boxes, key=lambda found: np.prod(found[0][2:] - found[0][:2]))
