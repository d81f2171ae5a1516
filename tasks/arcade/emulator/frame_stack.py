"""The screen as a policy on pixels sees it, and what any player is shown of an emulator: its RAM, or these pictures.

The usual preprocessing (Mnih et al. 2015, as Gymnasium's `AtariPreprocessing` has it): grays, at each pixel the larger
one of a step's last two frames, shrunk to 84 x 84 by averaging areas, the last four on top of each other. Left out of
it are random starts and ends at a lost life: sticky actions take the place of the first, and whole games are what
counts (Machado et al. 2018).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import Emulator, Ram, Screen

SIDE = 84
"""Pixels, of the height and of the width."""
DEPTH = 4
"""Pictures on top of each other."""
STACK = (DEPTH, SIDE, SIDE)

Stack = npt.NDArray[np.uint8]
"""The last pictures, the oldest first: uint8 of shape (4, 84, 84), black is 0."""
Observation = npt.NDArray[np.uint8]
"""What a player is shown: RAM of shape (128,), or a `Stack`."""


def shrink(picture: Screen) -> Screen:
    """A picture of grays, uint8 of shape (height, width) up to 250 x 160, as the means of 84 x 84 equal areas."""
    height, width = picture.shape
    # Whole numbers below 2**24: sums of float32 are exact, in whatever order they are taken.
    sums = _shares(height) @ picture.astype(np.float32) @ _shares(width).T
    small: Screen = np.rint(sums / np.float32(height * width)).astype(np.uint8)
    return small


@cache
def _shares(n: int) -> npt.NDArray[np.float32]:
    """How much of each of n pixels lies in each of 84 areas: float32 of shape (84, n), whole numbers, rows of sum n."""
    edges, pixels = n * np.arange(SIDE + 1)[:, None], SIDE * np.arange(n)
    overlap = np.minimum(edges[1:], pixels + SIDE) - np.maximum(edges[:-1], pixels)
    shares: npt.NDArray[np.float32] = np.maximum(overlap, 0).astype(np.float32)
    return shares


class FrameStacker:
    """Sees the last four pictures of an emulator, one a step.

    Args:
        emulator: that is looked at, before its episode starts.
        stack: where the pictures are kept; none: an array of its own.

    Attributes:
        stack: the pictures; the same array is written anew at every step, so copy what you keep.
    """

    def __init__(self, emulator: Emulator, stack: Stack | None = None) -> None:
        emulator.keep_pictures()
        self._emulator = emulator
        self.stack: Stack = np.zeros(STACK, np.uint8) if stack is None else stack

    def begin(self) -> None:
        """An episode starts: its first picture stands for those before it, too."""
        self.stack[:] = shrink(self._emulator.picture())

    def see(self) -> None:
        """A step was played."""
        self.stack[:-1] = self.stack[1:]
        self.stack[-1] = shrink(self._emulator.picture())


def uses_pixels(player: object) -> bool:
    """Whether a player decides on pixels, as one says that has `uses_pixels`; all others decide on RAM."""
    return bool(getattr(player, "uses_pixels", False))


class ObservationBuilder:
    """What a player is shown of an emulator, step by step.

    Args:
        player: that decides.
        emulator: that plays, before its episode starts.
    """

    def __init__(self, player: object, emulator: Emulator) -> None:
        self._frame_stacker = FrameStacker(emulator) if uses_pixels(player) else None
        self._ram: Ram | None = None

    def __call__(self, ram: Ram, *, starts: bool) -> tuple[Observation, Observation]:
        """What is shown now, and what was one step before; at an episode's start the same.

        Call it once after every step and after the reset.

        Args:
            ram: of the emulator, a copy that stays as it is.
            starts: whether an episode starts here.
        """
        if self._frame_stacker is None:
            previous = ram if starts or self._ram is None else self._ram
            self._ram = ram
            return ram, previous
        if starts:
            self._frame_stacker.begin()
        else:
            self._frame_stacker.see()
        # Pictures hold their own past.
        return self._frame_stacker.stack, self._frame_stacker.stack
