"""Classification of the effect of each byte in each state from its measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.perturb import Measurements, PerturbationResult
from tasks.arcade.emulator.emulator import RAM_SIZE

MIN_CONSERVED = 0.6
"""Minimum share of the changed pixels in lines that keep their colors, for a movement."""
_MIN_FIT_CLIPPED, _MIN_FIT_APPEARING = 0.7, 0.95
"""Minimum r squared of a movement's linear fit: of objects clipped at an edge, of objects that appear."""
_MIN_CONSISTENCY = 0.4
"""Minimum consistency of the changed areas of an object that appears; a growing bar has less."""
_MIN_SPAN = 4.0
"""Minimum movement in pixels; one of four times as many need not be linear."""
_MIN_MOVED_SHARE = 0.3
"""Minimum share of the states in which a byte must move something: the object may be absent or clipped."""
MIN_STATES = 5
"""Minimum number of states for any statistic."""

Effects = npt.NDArray[np.int64]
"""`Effect` of each byte in each state, of shape (states, 128)."""


class Effect(IntEnum):
    """Effect of perturbing a byte in one state; `X` and `Y` move something along that axis."""

    NONE = 0
    X = 1
    Y = 2
    SCREEN = 3
    APPEARANCE = 4


MOVEMENTS = (Effect.X, Effect.Y)


@dataclass(frozen=True)
class PooledResults:
    """Results of all plays: `Measurements`, RAM of the states, heat maps, and (height, width) of the screen."""

    measurements: Measurements
    rams: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32]
    size: tuple[int, int]


def pool_results(results: Sequence[PerturbationResult]) -> PooledResults:
    """Concatenate the results of several plays of one game."""
    parts = [one.measurements for one in results]
    names = [field.name for field in fields(Measurements)]
    measurements = Measurements(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    heat = np.sum([one.heat for one in results], axis=0)
    rams = np.concatenate([one.rams for one in results])
    return PooledResults(measurements, rams, heat, (heat.shape[1], heat.shape[2]))


def classify_effects(measured: Measurements) -> Effects:
    """Return the effect of each byte in each state."""
    conserved, fit, span = measured.conserved, measured.fit, measured.span
    effects = np.where(measured.visible, Effect.APPEARANCE, Effect.NONE)
    effects[measured.visible & np.isnan(measured.box[..., 0])] = Effect.SCREEN
    for axis, movement in enumerate(MOVEMENTS):
        other = 1 - axis
        far = span[..., axis] >= 4 * _MIN_SPAN
        travels = far | (span[..., axis] >= _MIN_SPAN) & (fit[..., axis] >= 0.5)
        moved = (conserved[..., axis] >= MIN_CONSERVED) & (conserved[..., axis] > conserved[..., other]) & travels
        still = (fit[..., other] < 0.5) | (span[..., other] < np.maximum(_MIN_SPAN, span[..., axis] / 3))
        replaced = (conserved.max(axis=2) < MIN_CONSERVED) & (span[..., axis] >= 2 * _MIN_SPAN) & still
        # At the edge of the screen an object is clipped and seems to grow.
        often_moved = moved.sum(axis=0) >= 0.25 * measured.visible.sum(axis=0)
        clipped = replaced & (fit[..., axis] >= _MIN_FIT_CLIPPED) & often_moved
        appears = replaced & (fit[..., axis] >= _MIN_FIT_APPEARING) & (measured.consistency >= _MIN_CONSISTENCY) & far
        effects[moved | clipped | appears] = movement
    return effects


def movement_axes(effects: Effects) -> dict[int, int]:
    """Return the axis, 0 for x and 1 for y, of each byte that moves something."""
    visible = np.maximum((effects != Effect.NONE).sum(axis=0), 1)
    shares = np.stack([(effects == movement).sum(axis=0) / visible for movement in MOVEMENTS])
    axes, best = shares.argmax(axis=0), shares.max(axis=0)
    enough = np.maximum((effects == Effect.X).sum(axis=0), (effects == Effect.Y).sum(axis=0)) >= MIN_STATES
    return {byte: int(axes[byte]) for byte in range(RAM_SIZE) if enough[byte] and best[byte] >= _MIN_MOVED_SHARE}
