"""Panel widget for policies that observe pixels: the stacked frames of the observation, in the place of the RAM."""

from __future__ import annotations

import numpy as np

from tasks.arcade.drawing.canvas import Box, Canvas, Plane
from tasks.arcade.emulator.frame_stack import FRAME_SIZE, STACK_SIZE, FrameStack

_GAP, _WIDTH = 8, 376
_LARGE = 2 * FRAME_SIZE + _GAP
_BLACK, _RANGE = 16, 219
"""Luma of black, and the difference from black to white (ITU-R BT.709-6, item 4)."""


class StackedFrames:
    """The newest frame, enlarged about twice, and all four frames beside it, from the oldest to the newest.

    Args:
        canvas: Canvas to draw on.
        x: Left edge; the widget is 376 pixels wide.
        y: Top edge; the widget is 176 pixels high.
    """

    def __init__(self, canvas: Canvas, x: int, y: int) -> None:
        self._large = _gray_plane(canvas, Box(x, y, _LARGE, _LARGE))
        self._nearest = (2 * np.arange(_LARGE) + 1) * FRAME_SIZE // (2 * _LARGE)
        pitch, left = FRAME_SIZE + _GAP, x + _WIDTH - _LARGE
        boxes = [Box(left + at % 2 * pitch, y + at // 2 * pitch, FRAME_SIZE, FRAME_SIZE) for at in range(STACK_SIZE)]
        self._small = [_gray_plane(canvas, box) for box in boxes]

    def draw(self, stack: FrameStack) -> None:
        """Draw an observation: uint8 of shape (4, 84, 84), oldest frame first."""
        luma = (_BLACK + (stack.astype(np.uint16) * _RANGE + 127) // 255).astype(np.uint8)
        for plane, frame in zip(self._small, luma, strict=True):
            plane[:] = frame
        self._large[:] = luma[-1][self._nearest][:, self._nearest]


def _gray_plane(canvas: Canvas, box: Box) -> Plane:
    """Return the luma plane of a box whose chroma is set to gray."""
    luma, chroma = canvas.planes(box)
    chroma[:] = 128
    return luma
