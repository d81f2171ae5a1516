"""Assembly of an atlas from the results of perturbation: the kind of each byte, the objects, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.atlas import Atlas, Entry, Kind, Region
from tasks.arcade.atlas.classify import (
    MIN_STATES,
    MOVEMENTS,
    Effect,
    Effects,
    PooledResults,
    classify_effects,
    movement_axes,
    pool_results,
)
from tasks.arcade.atlas.dynamics import ByteDynamics, byte_dynamics
from tasks.arcade.atlas.encoding import byte_encodings
from tasks.arcade.atlas.objects import (
    MIN_HITS,
    TOLERANCE,
    DetectedObject,
    clipped_region,
    correlated_bytes,
    find_objects,
    fit_line,
)
from tasks.arcade.atlas.perturb import PerturbationResult
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram, Screen
from tasks.arcade.emulator.environment_ids import ale_version, rom_digest
from tasks.arcade.settings.game import GameSettings


@dataclass(frozen=True)
class AtlasData:
    """An atlas with the data its poster is drawn from.

    Attributes:
        atlas: The atlas.
        heat: Heat map of each byte, float32 of shape (128, height, width): how often perturbing it changed a pixel.
        frame: Frame of the state with the most objects, RGB.
        ram: RAM of that state, uint8 of shape (128,).
    """

    atlas: Atlas
    heat: npt.NDArray[np.float32]
    frame: Screen
    ram: Ram


def assemble_atlas(results: Sequence[PerturbationResult], game: GameSettings, seed: int, player: str) -> AtlasData:
    """Assemble the atlas of a game from the results of one or more plays.

    Args:
        results: Results of perturbation.
        game: Emulator settings of the plays.
        seed: Seed that the seeds of the plays are derived from.
        player: The player: `random`, or the digest of a checkpoint.
    """
    pooled = pool_results(results)
    effects = classify_effects(pooled.measurements)
    axes = movement_axes(effects)
    objects = find_objects(pooled, effects, axes)
    correlated = correlated_bytes(pooled, objects, effects)
    trajectories = [one.trajectory for one in results]
    entries = _EntryBuilder(pooled, effects, axes, objects, correlated, byte_dynamics(trajectories)).entries()
    encodings = byte_encodings(trajectories)
    atlas = Atlas(
        game=game.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0}),
        ale_py=ale_version(),
        rom_sha256=rom_digest(game.rom),
        seed=seed,
        player=player,
        steps=sum(len(one.trajectory.rewards) for one in results),
        states=len(pooled.rams),
        perturbations=sum(one.perturbations for one in results),
        discarded_states=sum(one.discarded_states for one in results),
        size=pooled.size,
        entries=tuple(
            entry.model_copy(update={"encoding": encoding}) for entry, encoding in zip(entries, encodings, strict=True)
        ),
        objects=tuple(one.value for one in objects if one.is_located),
    )
    detections = [~np.isnan(one.boxes[:, 0]) for one in objects]
    n_detected = np.sum(detections, axis=0) if objects else np.zeros(len(pooled.rams))
    best = int(np.argmax(n_detected))
    return AtlasData(atlas, pooled.heat, np.concatenate([one.frames for one in results])[best], pooled.rams[best])


class _EntryBuilder:
    """Builds the entry of each byte."""

    def __init__(
        self,
        pooled: PooledResults,
        effects: Effects,
        axes: dict[int, int],
        objects: list[DetectedObject],
        correlated: dict[int, tuple[DetectedObject, int, float]],
        dynamics: ByteDynamics,
    ) -> None:
        self._pooled, self._effects, self._axes = pooled, effects, axes
        self._objects, self._correlated, self._dynamics = objects, correlated, dynamics
        self._visible = (effects != Effect.NONE).mean(axis=0)

    def entries(self) -> tuple[Entry, ...]:
        entries = [self._entry(byte) for byte in range(RAM_SIZE)]
        displays = [entry for entry in entries if entry.kind in ("score", "lives", "timer") and self._is_display(entry)]
        return tuple(self._match_display(entry, displays) for entry in entries)

    def _entry(self, byte: int) -> Entry:
        visible = float(self._visible[byte])
        if byte in self._axes:
            return self._movement_entry(byte, visible)
        if byte in self._correlated:
            correlate, axis, hits = self._correlated[byte]
            return Entry(
                byte=byte,
                kind=("x", "y")[axis],
                relation="follows",
                confidence=hits,
                visible=visible,
                region=correlate.value.bounds,
                object=correlate.value.name,
            )
        kind, confidence = self._event_kind(byte)
        relation = "shows" if visible else "follows"
        region = _hot_region(self._pooled.heat[byte])
        if kind == "none" and visible:
            effects = self._visible_effects(byte)
            kind = "screen" if (effects == Effect.SCREEN).mean() > 0.5 else "appearance"
            confidence = float((effects == (Effect.SCREEN if kind == "screen" else Effect.APPEARANCE)).mean())
        elif kind == "none":
            # Rule of three: without an effect in n states, at most 3/n of all states have one (95% confidence).
            relation, confidence = "nothing", max(0.0, 1 - 3 / len(self._effects))
        return Entry(byte=byte, kind=kind, relation=relation, confidence=confidence, visible=visible, region=region)

    def _visible_effects(self, byte: int) -> Effects:
        effects: Effects = self._effects[:, byte]
        visible: Effects = effects[effects != Effect.NONE]
        return visible

    def _is_display(self, entry: Entry) -> bool:
        height, width = self._pooled.size
        region = entry.region
        small = region is not None and region.width * region.height < _MAX_DISPLAY_SHARE * width * height
        return small and entry.visible >= MIN_HITS

    def _movement_entry(self, byte: int, visible: float) -> Entry:
        axis = self._axes[byte]
        moved = next((one for one in self._objects if byte in one.members), None)
        kinds: tuple[Kind, Kind] = ("x", "y") if self._encodes_position(byte, axis, moved) else ("x motion", "y motion")
        return Entry(
            byte=byte,
            kind=kinds[axis],
            relation="moves",
            confidence=float((self._visible_effects(byte) == MOVEMENTS[axis]).mean()),
            visible=visible,
            region=_hot_region(self._pooled.heat[byte]),
            object=moved.value.name if moved and moved.is_located else None,
        )

    def _encodes_position(self, byte: int, axis: int, moved: DetectedObject | None) -> bool:
        """Return whether a byte encodes a position: a perturbed position persists, a perturbed velocity adds up."""
        growth = self._pooled.measurements.growth[self._effects[:, byte] == MOVEMENTS[axis], byte, axis]
        growth = growth[~np.isnan(growth)]
        persistent = (growth > _POSITION_GROWTH[0]) & (growth < _POSITION_GROWTH[1])
        if len(growth) >= MIN_STATES and persistent.mean() >= 0.5:
            return True
        if moved is None or not moved.is_located:
            return False
        positions = moved.centers(axis)
        detected = ~np.isnan(positions)
        if np.ptp(positions[detected]) <= 2 * TOLERANCE or len(np.unique(self._pooled.rams[detected, byte])) == 1:
            return True
        return fit_line(self._pooled.rams[:, byte], positions).hits >= 0.5

    def _event_kind(self, byte: int) -> tuple[Kind, float]:
        dynamics = self._dynamics
        shares: dict[Kind, float] = {
            "lives": float(dynamics.lives[byte]),
            "score": float(dynamics.score[byte]),
            "timer": float(dynamics.timer[byte]),
        }
        kind = max(shares, key=lambda kind: shares[kind])
        return (kind, shares[kind]) if shares[kind] >= _MIN_EVENT_SHARE else ("none", 0.0)

    def _match_display(self, entry: Entry, displays: list[Entry]) -> Entry:
        """Return the entry with a display's kind if its byte hardly changed during play but is drawn in the display."""
        rewarded = float(self._dynamics.rewarded[entry.byte])
        unchanged = self._dynamics.change_rate[entry.byte] == 0
        if entry.kind != "appearance" or not (unchanged or rewarded >= MIN_HITS):
            return entry
        kinds = [display.kind for display in displays if _overlap(entry.region, display.region) > 0.5]
        if not kinds and any(
            _is_adjacent_digit(entry.region, display.region) for display in displays if display.kind == "score"
        ):
            kinds = ["score"]
        return (
            entry.model_copy(update={"kind": kinds[0], "confidence": 0.5 if unchanged else rewarded})
            if kinds
            else entry
        )


_POSITION_GROWTH = (0.7, 1.4)
"""Range of the growth of a movement from the first to the last frame, for a byte that encodes a position."""
_MAX_DISPLAY_SHARE = 0.1
"""Maximum share of the screen that a display covers."""
_MIN_EVENT_SHARE = 0.75
"""Minimum association of a byte with events during play."""


def _overlap(one: Region | None, other: Region | None) -> float:
    """Return the intersection over union of two regions."""
    if one is None or other is None:
        return 0.0
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, across) * max(0, down)
    return shared / (one.width * one.height + other.width * other.height - shared)


def _is_adjacent_digit(one: Region | None, other: Region | None) -> bool:
    """Return whether two regions are on the same rows, side by side."""
    if one is None or other is None:
        return False
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    gap = max(one.x, other.x) - min(one.x + one.width, other.x + other.width)
    return down >= 0.7 * max(one.height, other.height) and gap <= max(one.width, other.width)


def _hot_region(heat: npt.NDArray[np.float32]) -> Region | None:
    """Return the bounding box of the hottest pixels, which together hold 90% of the heat."""
    if not heat.any():
        return None
    ranked = np.sort(heat, axis=None)[::-1]
    threshold = ranked[np.searchsorted(np.cumsum(ranked, dtype=float), 0.9 * float(ranked.sum(dtype=float)))]
    hot = heat >= threshold
    rows, columns = np.flatnonzero(hot.any(axis=1)), np.flatnonzero(hot.any(axis=0))
    height, width = heat.shape
    return clipped_region(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, width, height)
