"""The part of a panel that stands in the RAM's place where a policy sees pixels: the pictures that it sees."""

from __future__ import annotations

import numpy as np

from tasks.arcade.drawing.canvas import Box, Canvas, Plane
from tasks.arcade.emulator.frame_stack import DEPTH, SIDE, Stack

_GAP, _ACROSS = 8, 376
_LARGE = 2 * SIDE + _GAP
_BLACK, _RANGE = 16, 219
"""Luma of black, and what white has more (ITU-R BT.709-6, item 4)."""


class Pictures:
    """The newest picture, a little more than twice as large, and all four beside it, from the oldest to the newest.

    Args:
        canvas: what is drawn on.
        x: of the upper left corner; 376 pixels wide, 176 high.
        y: of the upper left corner.
    """

    def __init__(self, canvas: Canvas, x: int, y: int) -> None:
        self._large = _plane(canvas, Box(x, y, _LARGE, _LARGE))
        self._nearest = (2 * np.arange(_LARGE) + 1) * SIDE // (2 * _LARGE)
        pitch, left = SIDE + _GAP, x + _ACROSS - _LARGE
        places = [Box(left + at % 2 * pitch, y + at // 2 * pitch, SIDE, SIDE) for at in range(DEPTH)]
        self._small = [_plane(canvas, place) for place in places]

    def draw(self, stack: Stack) -> None:
        """Draw what is seen: uint8 of shape (4, 84, 84), the oldest first."""
        luma = (_BLACK + (stack.astype(np.uint16) * _RANGE + 127) // 255).astype(np.uint8)
        for plane, picture in zip(self._small, luma, strict=True):
            plane[:] = picture
        self._large[:] = luma[-1][self._nearest][:, self._nearest]


def _plane(canvas: Canvas, box: Box) -> Plane:
    """The luma within a box that is gray from now on."""
    luma, chroma = canvas.within(box)
    chroma[:] = 128
    return luma
