"""Dynamics of bytes during unperturbed play: whether they change with rewards, with lives, or at regular intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.arcade.atlas.perturb import BoolArray, Float64Array, Trajectory
from tasks.arcade.emulator.emulator import RAM_SIZE

_MIN_EVENTS = 3
"""Minimum number of rewards of one sign, or of lost lives."""
_MIN_CHANGES = 6
"""Minimum number of changes of a byte within a trajectory to measure its regularity."""


@dataclass(frozen=True)
class ByteDynamics:
    """Association of each byte with events during play: shares of 0 to 1, of shape (128,).

    Attributes:
        score: F1 score of the byte's changes as a predictor of rewards; the higher one of gains and losses.
        lives: F1 score of the byte's changes as a predictor of lost lives.
        timer: Regularity of the byte's changes: the share of the most common increment times the share of the
            intervals within an eighth of the median.
        rewarded: Share of the byte's changes that coincide with a reward; 0 for a byte that never changes.
        change_rate: Share of the steps at which the byte changes.
    """

    score: Float64Array
    lives: Float64Array
    timer: Float64Array
    rewarded: Float64Array
    change_rate: Float64Array


def byte_dynamics(trajectories: Sequence[Trajectory]) -> ByteDynamics:
    """Return the dynamics of the bytes over some trajectories of one game."""
    changed = np.concatenate([_changed(one) for one in trajectories])
    rewards = np.concatenate([one.rewards[1:] for one in trajectories])
    lost = np.concatenate([np.diff(one.lives) < 0 for one in trajectories])
    running = np.concatenate([~one.episode_starts[1:] for one in trajectories])
    changed, rewards, lost = changed[running], rewards[running], lost[running]
    gains, losses = (_f1_score(changed, event) for event in (rewards > 0, rewards < 0))
    return ByteDynamics(
        score=np.maximum(gains, losses),
        lives=_f1_score(changed, lost),
        timer=_regularity(trajectories),
        rewarded=_share(changed & _dilated(rewards != 0)[:, None], changed),
        change_rate=changed.mean(axis=0),
    )


def _changed(trajectory: Trajectory) -> BoolArray:
    changed: BoolArray = trajectory.rams[1:] != trajectory.rams[:-1]
    return changed


def _dilated(event: BoolArray) -> BoolArray:
    """Return the events with one step before and after: a display may lag, or count up."""
    dilated = event.copy()
    dilated[1:] |= event[:-1]
    dilated[:-1] |= event[1:]
    return dilated


def _share(part: BoolArray, whole: BoolArray) -> Float64Array:
    n = whole.sum(axis=0)
    return np.where(n > 0, part.sum(axis=0) / np.maximum(n, 1), 0.0)


def _f1_score(changed: BoolArray, event: BoolArray) -> Float64Array:
    if event.sum() < _MIN_EVENTS:
        return np.zeros(RAM_SIZE)
    near = changed.copy()
    near[1:] |= changed[:-1]
    near[:-1] |= changed[1:]
    recall, precision = near[event].mean(axis=0), _share(changed & _dilated(event)[:, None], changed)
    return np.where(recall + precision > 0, 2 * recall * precision / np.maximum(recall + precision, 1e-9), 0.0)


def _regularity(trajectories: Sequence[Trajectory]) -> Float64Array:
    return np.array(
        [max((_byte_regularity(one, byte) for one in trajectories), default=0.0) for byte in range(RAM_SIZE)]
    )


def _byte_regularity(trajectory: Trajectory, byte: int) -> float:
    values = trajectory.rams[:, byte].astype(int)
    times = np.flatnonzero(np.diff(values)) + 1
    times = times[~trajectory.episode_starts[times]]
    if len(times) < _MIN_CHANGES:
        return 0.0
    increments = (values[times] - values[times - 1]) % 256
    intervals = np.diff(times)
    median = np.median(intervals)
    return float(_mode_share(increments) * (np.abs(intervals - median) <= median / 8).mean())


def _mode_share(values: np.typing.NDArray[np.int64]) -> float:
    return float(np.unique(values, return_counts=True)[1].max() / len(values))
