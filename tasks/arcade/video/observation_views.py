"""What a panel shows of the observation: RAM, RAM beside what was read from pictures, or stacked frames."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from tasks.arcade.drawing.canvas import Box, Canvas
from tasks.arcade.drawing.stacked_frames import StackedFrames
from tasks.arcade.drawing.text import text_coverage
from tasks.arcade.drawing.widgets import (
    BACKGROUND,
    BRIGHT,
    CELL_SIZE,
    CHANGED,
    FAINT,
    SALIENT,
    SOFT,
    Color,
    Label,
    RamGrid,
)
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram
from tasks.arcade.emulator.frame_stack import Observation

LEFT, WIDTH = 884, 376
"""Left edge and width of the panel."""
HEADING_WIDTH = 216
_GLOW = (1.0, 0.5, 0.5, 0.5)
"""Glow of a byte that changed in this step, one step before, two steps before, ..."""
_COLUMNS = 8
"""Columns of each grid where two are side by side."""
_GAP = 8
_ADDRESSES = 24
"""Width of the addresses left of a grid."""


class ObservationView(Protocol):
    """Draws the policy's observation."""

    def draw(
        self, ram: Ram, observation: Observation, previous: Observation, saliency: npt.NDArray[np.float64]
    ) -> None:
        """Draw an observation.

        Args:
            ram: RAM of the emulator.
            observation: What the policy observes.
            previous: What it observed one step before.
            saliency: How much the decision depends on each byte, 0 to 1.
        """
        ...


class RamView:
    """Draws the RAM, byte by byte."""

    def __init__(self, canvas: Canvas, outlined: bool) -> None:
        draw_heading(canvas, 16, "RAM")
        _draw_legend(canvas, 16, (("salient, outlined" if outlined else "salient", SALIENT), ("changed", CHANGED)))
        _draw_digits(canvas, LEFT + _ADDRESSES, columns=16)
        _draw_addresses(canvas, LEFT, columns=16)
        self._grid = RamGrid(canvas, Box(LEFT + _ADDRESSES, 58, 16 * CELL_SIZE, 8 * CELL_SIZE))
        self._steps_since_change = np.full(RAM_SIZE, len(_GLOW))

    def draw(
        self, ram: Ram, observation: Observation, previous: Observation, saliency: npt.NDArray[np.float64]
    ) -> None:
        self._steps_since_change = np.where(observation != previous, 0, self._steps_since_change + 1)
        glow = np.array([*_GLOW, 0.0])[np.minimum(self._steps_since_change, len(_GLOW))]
        self._grid.draw(observation, glow, saliency)


class ReadRamView:
    """Draws the emulator's RAM beside the RAM that was read from pictures; bytes that differ glow in both."""

    def __init__(self, canvas: Canvas) -> None:
        width, height = _COLUMNS * CELL_SIZE, RAM_SIZE // _COLUMNS * CELL_SIZE
        right = LEFT + WIDTH - width
        left = right - _GAP - width
        for x, heading in ((left, "RAM"), (right, "READ FROM PIXELS")):
            Label(canvas, Box(x, 16, width, 24), "Inter-SemiBold", 16, SOFT).set(heading)
            _draw_digits(canvas, x, _COLUMNS)
        _draw_addresses(canvas, left - _ADDRESSES, _COLUMNS)
        self._true = RamGrid(canvas, Box(left, 58, width, height), _COLUMNS)
        self._read = RamGrid(canvas, Box(right, 58, width, height), _COLUMNS)
        y = 58 + height + 6
        _draw_legend(canvas, y, (("salient", SALIENT), ("different", CHANGED)))
        self._equal = Label(canvas, Box(LEFT, y, 180, 24), "Inter-Medium", 16, BRIGHT)

    def draw(
        self, ram: Ram, observation: Observation, previous: Observation, saliency: npt.NDArray[np.float64]
    ) -> None:
        different = (ram != observation).astype(np.float64)
        self._true.draw(ram, different, np.zeros(RAM_SIZE))
        self._read.draw(observation, different, saliency)
        self._equal.set(f"{RAM_SIZE - int(different.sum())} of {RAM_SIZE} equal")


class PixelsView:
    """Draws the stacked frames of a policy on pixels."""

    def __init__(self, canvas: Canvas) -> None:
        draw_heading(canvas, 16, "FRAME STACK")
        box = Box(LEFT + HEADING_WIDTH, 16, WIDTH - HEADING_WIDTH, 24)
        Label(canvas, box, "Inter-Medium", 16, SOFT, "right").set("newest, last four")
        self._frames = StackedFrames(canvas, LEFT, 54)

    def draw(
        self, ram: Ram, observation: Observation, previous: Observation, saliency: npt.NDArray[np.float64]
    ) -> None:
        self._frames.draw(observation)


def draw_heading(canvas: Canvas, y: int, text: str) -> None:
    """Draw a heading at the left edge of the panel."""
    Label(canvas, Box(LEFT, y, HEADING_WIDTH, 24), "Inter-SemiBold", 16, SOFT).set(text)


def _draw_legend(canvas: Canvas, y: int, entries: tuple[tuple[str, Color], ...]) -> None:
    """Draw a legend at the right edge of the panel, its last entry at the left."""
    x = LEFT + WIDTH
    for text, color in entries:
        width = text_coverage(text, "Inter-Medium", 16).shape[1] // 2 * 2 + 2
        Label(canvas, Box(x - width, y, width, 24), "Inter-Medium", 16, SOFT, "right").set(text)
        x -= width + 18
        canvas.fill(Box(x, y + 6, 12, 12), color)
        if color == SALIENT:
            canvas.fill(Box(x + 2, y + 8, 8, 8), BACKGROUND)
        x -= 14


def _draw_digits(canvas: Canvas, x: int, columns: int) -> None:
    """Draw the last digits of the addresses above a grid."""
    for column in range(columns):
        box = Box(x + CELL_SIZE * column, 42, CELL_SIZE, 14)
        Label(canvas, box, "JetBrainsMono-Medium", 10, FAINT, "center").set(f"{column:X}")


def _draw_addresses(canvas: Canvas, x: int, columns: int) -> None:
    """Draw the address of each row left of a grid."""
    for row in range(RAM_SIZE // columns):
        box = Box(x, 62 + CELL_SIZE * row, 20, 14)
        Label(canvas, box, "JetBrainsMono-Medium", 10, FAINT).set(f"{row * columns:02X}")
