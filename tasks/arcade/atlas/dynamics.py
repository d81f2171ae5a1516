"""What bytes do by themselves while a game is played: they change with rewards, with lives, or evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.arcade.atlas.perturb import Flags, Numbers, Played
from tasks.arcade.emulator.emulator import RAM_SIZE

_FEWEST_EVENTS = 3
"""Rewards of one sign, or lives lost: fewer say nothing."""
_FEWEST_CHANGES = 6
"""Of a byte, in one episode, before it can be called even."""


@dataclass(frozen=True)
class Habits:
    """How well each byte goes with what happens in play: shares of 0 to 1, of shape (128,).

    Attributes:
        score: harmonic mean of two shares: of the rewards at which the byte changes, and of its changes that come with
            a reward; of gains and losses the better one.
        lives: the same with lives lost.
        timer: how even its changes are: the share that has the commonest size, times the share that comes after the
            commonest pause, to within an eighth of it.
        rewarded: of the byte's changes, how many come with a reward; 0 for a byte that never changes.
        lively: share of the steps at which the byte changes.
    """

    score: Numbers
    lives: Numbers
    timer: Numbers
    rewarded: Numbers
    lively: Numbers


def habits(plays: Sequence[Played]) -> Habits:
    """What the bytes do in some plays of one game."""
    changed = np.concatenate([_changed(play) for play in plays])
    rewards = np.concatenate([play.rewards[1:] for play in plays])
    lost = np.concatenate([np.diff(play.lives) < 0 for play in plays])
    running = np.concatenate([~play.begins[1:] for play in plays])
    changed, rewards, lost = changed[running], rewards[running], lost[running]
    gains, losses = (_together(changed, event) for event in (rewards > 0, rewards < 0))
    return Habits(
        score=np.maximum(gains, losses),
        lives=_together(changed, lost),
        timer=_even(plays),
        rewarded=_share(changed & _around(rewards != 0)[:, None], changed),
        lively=changed.mean(axis=0),
    )


def _changed(play: Played) -> Flags:
    changed: Flags = play.rams[1:] != play.rams[:-1]
    return changed


def _around(event: Flags) -> Flags:
    """The event's step, the one before and the one after: a display may follow late, or count up."""
    wide = event.copy()
    wide[1:] |= event[:-1]
    wide[:-1] |= event[1:]
    return wide


def _share(part: Flags, whole: Flags) -> Numbers:
    n = whole.sum(axis=0)
    return np.where(n > 0, part.sum(axis=0) / np.maximum(n, 1), 0.0)


def _together(changed: Flags, event: Flags) -> Numbers:
    if event.sum() < _FEWEST_EVENTS:
        return np.zeros(RAM_SIZE)
    near = changed.copy()
    near[1:] |= changed[:-1]
    near[:-1] |= changed[1:]
    recall, precision = near[event].mean(axis=0), _share(changed & _around(event)[:, None], changed)
    return np.where(recall + precision > 0, 2 * recall * precision / np.maximum(recall + precision, 1e-9), 0.0)


def _even(plays: Sequence[Played]) -> Numbers:
    return np.array([max((_evenness(play, byte) for play in plays), default=0.0) for byte in range(RAM_SIZE)])


def _evenness(play: Played, byte: int) -> float:
    values = play.rams[:, byte].astype(int)
    times = np.flatnonzero(np.diff(values)) + 1
    times = times[~play.begins[times]]
    if len(times) < _FEWEST_CHANGES:
        return 0.0
    sizes = (values[times] - values[times - 1]) % 256
    pauses = np.diff(times)
    usual = np.median(pauses)
    return float(_commonest(sizes) * (np.abs(pauses - usual) <= usual / 8).mean())


def _commonest(values: np.typing.NDArray[np.int64]) -> float:
    return float(np.unique(values, return_counts=True)[1].max() / len(values))
