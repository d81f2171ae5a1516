"""Frame stacks for policies on pixels, and the observation (RAM or frame stack) a player receives.

The usual preprocessing (Mnih et al. 2015, Gymnasium's `AtariPreprocessing`): grayscale, max-pooled over a step's last
two frames, area-averaged to 84 x 84, the last four frames stacked. Left out are random no-op starts and episode ends
at a lost life: sticky actions replace the former, and whole episodes are what is evaluated (Machado et al. 2018).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import Emulator, Ram, Screen

FRAME_SIZE = 84
"""Height and width of a preprocessed frame in pixels."""
STACK_SIZE = 4
"""Frames per stack."""
STACK_SHAPE = (STACK_SIZE, FRAME_SIZE, FRAME_SIZE)

FrameStack = npt.NDArray[np.uint8]
"""The last frames, oldest first: uint8 of shape (4, 84, 84), black is 0."""
Observation = npt.NDArray[np.uint8]
"""Observation of a player: RAM of shape (128,), or a `FrameStack`."""


def downsample(frame: Screen) -> Screen:
    """Return a grayscale frame, uint8 of shape (height, width) up to 250 x 160, area-averaged to 84 x 84."""
    height, width = frame.shape
    # Integers below 2**24: float32 sums are exact in any order.
    sums = _area_weights(height) @ frame.astype(np.float32) @ _area_weights(width).T
    small: Screen = np.rint(sums / np.float32(height * width)).astype(np.uint8)
    return small


@cache
def _area_weights(n: int) -> npt.NDArray[np.float32]:
    """Return the overlap of n pixels with 84 equal areas: float32 of shape (84, n), integers, rows of sum n."""
    edges, pixels = n * np.arange(FRAME_SIZE + 1)[:, None], FRAME_SIZE * np.arange(n)
    overlap = np.minimum(edges[1:], pixels + FRAME_SIZE) - np.maximum(edges[:-1], pixels)
    weights: npt.NDArray[np.float32] = np.maximum(overlap, 0).astype(np.float32)
    return weights


class FrameStacker:
    """Stacks the last four frames of an emulator, one per step.

    Args:
        emulator: The emulator, before its episode starts.
        stack: Array to hold the frames (default: a new array).

    Attributes:
        stack: The frames; overwritten at every step: copy it to keep it.
    """

    def __init__(self, emulator: Emulator, stack: FrameStack | None = None) -> None:
        emulator.enable_frame_pooling()
        self._emulator = emulator
        self.stack: FrameStack = np.zeros(STACK_SHAPE, np.uint8) if stack is None else stack

    def reset(self) -> None:
        """Fill the stack with the first frame of the emulator's new episode."""
        self.stack[:] = downsample(self._emulator.pooled_frame())

    def append(self) -> None:
        """Append the frame of the emulator's last step and drop the oldest one."""
        self.stack[:-1] = self.stack[1:]
        self.stack[-1] = downsample(self._emulator.pooled_frame())


def uses_pixels(player: object) -> bool:
    """Return whether a player observes frame stacks (its attribute `uses_pixels`) instead of RAM."""
    return bool(getattr(player, "uses_pixels", False))


class ObservationBuilder:
    """Builds a player's observations of an emulator, step by step.

    Args:
        player: The player.
        emulator: The emulator, before its episode starts.
    """

    def __init__(self, player: object, emulator: Emulator) -> None:
        self._frame_stacker = FrameStacker(emulator) if uses_pixels(player) else None
        self._ram: Ram | None = None

    def __call__(self, ram: Ram, *, episode_start: bool) -> tuple[Observation, Observation]:
        """Return (observation, previous observation), equal at an episode's start.

        Call it once after the reset and after every step.

        Args:
            ram: A copy of the emulator's RAM that is not modified afterwards.
            episode_start: Whether this is the first observation of an episode.
        """
        if self._frame_stacker is None:
            previous = ram if episode_start or self._ram is None else self._ram
            self._ram = ram
            return ram, previous
        if episode_start:
            self._frame_stacker.reset()
        else:
            self._frame_stacker.append()
        # A frame stack already contains the previous frames.
        return self._frame_stacker.stack, self._frame_stacker.stack
