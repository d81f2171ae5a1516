"""How each byte encodes what it stands for, from the way its value changes during play."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.atlas import Encoding
from tasks.arcade.atlas.perturb import Trajectory
from tasks.arcade.emulator.emulator import RAM_SIZE

_MIN_CHANGES = 6
"""Minimum number of changes of a bit mask; a counter has twice as many."""
_MIN_SINGLE_BIT, _MIN_BITS = 0.75, 3
"""Of a bit mask: minimum share of changes that flip one bit, and of different bits that change alone."""
_SMALL, _MAX_SMALL = 3, 0.4
"""A number that moves by one also flips one bit in half of the cases: maximum share of such small changes."""
_MAX_STATES = 8
_MIN_CONSTANT_STEP = 0.9
"""Minimum share of a counter's most frequent change."""
_NEAR, _MIN_NEAR = 16, 0.8
"""Of a number: largest small change, and minimum share of such changes."""


def byte_encodings(trajectories: Sequence[Trajectory]) -> tuple[Encoding, ...]:
    """Return the encoding of each of the 128 bytes over some trajectories of one game."""
    rams = np.concatenate([one.rams for one in trajectories])
    running = [~one.episode_starts[1:] for one in trajectories]
    before = np.concatenate([one.rams[:-1][keep] for one, keep in zip(trajectories, running, strict=True)])
    after = np.concatenate([one.rams[1:][keep] for one, keep in zip(trajectories, running, strict=True)])
    return tuple(_encoding(np.unique(rams[:, byte]), before[:, byte], after[:, byte]) for byte in range(RAM_SIZE))


def _encoding(values: npt.NDArray[np.uint8], before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> Encoding:
    if len(values) == 1:
        return "constant"
    changed = before != after
    flipped = (before ^ after)[changed]
    # Differences modulo 256, as the console computes them.
    moved = (after - before)[changed].view(np.int8).astype(int)
    if len(moved) == 0:
        return "states" if len(values) <= _MAX_STATES else "other"
    single = (flipped & (flipped - 1)) == 0
    is_mask = single.mean() >= _MIN_SINGLE_BIT and len(np.unique(flipped[single])) >= _MIN_BITS
    if is_mask and len(moved) >= _MIN_CHANGES and (np.abs(moved) <= _SMALL).mean() <= _MAX_SMALL:
        return "bits"
    most_frequent = np.unique(moved, return_counts=True)[1].max() / len(moved)
    if len(values) > _MAX_STATES and len(moved) >= 2 * _MIN_CHANGES and most_frequent >= _MIN_CONSTANT_STEP:
        return "counter"
    if len(values) <= _MAX_STATES:
        return "states"
    return "number" if (np.abs(moved) <= _NEAR).mean() >= _MIN_NEAR else "other"
