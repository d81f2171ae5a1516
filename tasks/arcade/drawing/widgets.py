"""Widgets of a panel: labels, the RAM grid, action bars, line charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.arcade.drawing.canvas import Box, Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.text import Font, text_coverage, truncate_text
from tasks.arcade.emulator.emulator import Ram

Color = tuple[int, int, int]
Floats = npt.NDArray[np.float32]

BACKGROUND: Color = (14, 17, 22)
RAISED: Color = (25, 30, 38)
BRIGHT: Color = (230, 234, 240)
SOFT: Color = (148, 158, 172)
FAINT: Color = (88, 98, 112)
SLATE: Color = (78, 91, 110)
# Distinguishable with color blindness.
CHANGED: Color = (240, 168, 48)
SALIENT: Color = (64, 186, 246)
VALUE: Color = (178, 152, 246)


def _ycbcr(color: Color) -> Floats:
    return rgb_to_ycbcr(np.array(color, np.uint8)).astype(np.float32)


class Label:
    """One line of text on a plain background, redrawn only when it changes.

    Args:
        canvas: Canvas to draw on.
        box: Box of the label; longer text is truncated with an ellipsis.
        font: Name of the font.
        size: Font size in pixels.
        color: Text color.
        align: Horizontal alignment in the box.
        background: Background color.
    """

    def __init__(
        self,
        canvas: Canvas,
        box: Box,
        font: Font,
        size: int,
        color: Color,
        align: Literal["left", "center", "right"] = "left",
        background: Color = BACKGROUND,
    ) -> None:
        self._luma, self._chroma = canvas.planes(box)
        self._width, self._height = box.width, box.height
        self._font, self._size, self._align = font, size, align
        self._background, self._color = _ycbcr(background), _ycbcr(color)
        self._text = ""

    def invalidate(self) -> None:
        """Redraw at the next `set`, even if the text is the same: the box was drawn over."""
        self._text = ""

    def set(self, text: str) -> None:
        """Set the text."""
        if text == self._text:
            return
        self._text = text
        fitted = truncate_text(text, self._font, self._size, self._width)
        glyphs = text_coverage(fitted, self._font, self._size)[: self._height]
        height, width = glyphs.shape
        x = {"left": 0, "center": (self._width - width) // 2, "right": self._width - width}[self._align]
        y = (self._height - height) // 2
        coverage = np.zeros((self._height, self._width), np.float32)
        coverage[y : y + height, x : x + width] = glyphs
        coverage *= np.float32(1 / 255)
        blend(self._luma, self._chroma, coverage, self._background, self._color)


def blend(
    luma: npt.NDArray[np.uint8], chroma: npt.NDArray[np.uint8], coverage: Floats, background: Floats, color: Floats
) -> None:
    """Fill a box with a blend of two colors: `coverage`, float32 of the luma's shape, is the share of `color`."""
    luma[:] = background[0] + (color[0] - background[0]) * coverage
    pairs = coverage[::2] + coverage[1::2]
    blocks = (pairs[:, ::2] + pairs[:, 1::2]) * np.float32(0.25)
    for plane, low, high in zip(chroma, background[1:], color[1:], strict=True):
        plane[:] = low + (high - low) * blocks


CELL_SIZE = 22
_BORDER = 2
_GLOW_LEVELS, _BORDER_LEVELS = 2, 3
"""Brightness levels: with more of them, cells are redrawn for changes too small to see."""
_HYSTERESIS = 0.6
"""Change of a border, in levels, below which it keeps its brightness."""


@cache
def _hex_bytes() -> Floats:
    """Return every byte as two hexadecimal digits, centered in a cell: coverage, float32 of shape (256, cell, cell)."""
    cells = np.zeros((256, CELL_SIZE, CELL_SIZE), np.float32)
    for value in range(256):
        glyphs = text_coverage(f"{value:02X}", "JetBrainsMono-Medium", 14)
        height, width = glyphs.shape
        y, x = (CELL_SIZE - height) // 2, (CELL_SIZE - width + 1) // 2
        cells[value, y : y + height, x : x + width] = glyphs / 255
    return cells


class RamGrid:
    """The 128 bytes in rows of cells: each value as two hexadecimal digits and as brightness.

    Bytes that changed, or differ, glow; bytes that the decision depends on have a border.

    Args:
        canvas: Canvas to draw on.
        box: Box of all cells.
        columns: Cells per row.
    """

    def __init__(self, canvas: Canvas, box: Box, columns: int = 16) -> None:
        luma, chroma = canvas.planes(box)
        self._columns, rows = columns, 128 // columns
        self._luma = luma.reshape(rows, CELL_SIZE, columns, CELL_SIZE)
        self._chroma = chroma.reshape(2, rows, CELL_SIZE // 2, columns, CELL_SIZE // 2)
        # Of each drawn cell: value, level of the glow, level of the border.
        self._drawn = np.full((128, 3), -1, np.int16)

    def draw(self, ram: Ram, glow: npt.NDArray[np.float64], saliency: npt.NDArray[np.float64]) -> None:
        """Draw the RAM.

        Args:
            ram: uint8 of shape (128,).
            glow: Recency of each byte's last change, 0 to 1, or 1 where it differs.
            saliency: How much the decision depends on each byte, 0 to 1.
        """
        drawn, exact = self._drawn[:, 2], saliency * _BORDER_LEVELS
        borders = np.where((drawn >= 0) & (np.abs(exact - drawn) < _HYSTERESIS), drawn, np.rint(exact))
        cells = np.stack([ram, np.rint(glow * _GLOW_LEVELS), borders], axis=1).astype(np.int16)
        stale = np.flatnonzero((cells != self._drawn).any(axis=1))
        if not len(stale):
            return
        self._drawn[stale] = cells[stale]
        value, heat, salience = (cells[stale].T / np.array([[255], [_GLOW_LEVELS], [_BORDER_LEVELS]])).astype(
            np.float32
        )[..., None]
        fill = _ycbcr(RAISED) + (_ycbcr(SLATE) - _ycbcr(RAISED)) * value
        fill += (_ycbcr(CHANGED) - fill) * heat
        border = _ycbcr(BACKGROUND) + (_ycbcr(SALIENT) - _ycbcr(BACKGROUND)) * salience
        digits = np.where(fill[:, :1] > 110, _ycbcr(BACKGROUND)[0], _ycbcr(BRIGHT)[0] - 20)
        tiles = fill[:, 0, None, None] + (digits - fill[:, :1])[..., None] * _hex_bytes()[ram[stale]]
        _draw_borders(tiles, border[:, 0], _BORDER)
        row, column = np.divmod(stale, self._columns)
        self._luma[row, :, column, :] = tiles.astype(np.uint8)
        for plane, color, border_color in zip(self._chroma, fill[:, 1:].T, border[:, 1:].T, strict=True):
            blocks = np.repeat(color, (CELL_SIZE // 2) ** 2).reshape(-1, CELL_SIZE // 2, CELL_SIZE // 2)
            _draw_borders(blocks, border_color, _BORDER // 2)
            plane[row, :, column, :] = blocks.astype(np.uint8)


def _draw_borders(tiles: Floats, colors: Floats, width: int) -> None:
    """Draw a border of a width in pixels into each tile, float32 of shape (n, height, width)."""
    tiles[:, :width] = tiles[:, -width:] = colors[:, None, None]
    tiles[:, :, :width] = tiles[:, :, -width:] = colors[:, None, None]


_MIN_BAR_HEIGHT = 22
"""Height of a bar with a name in the larger font."""


class ActionBars:
    """One bar per action, the chosen one highlighted; up to nine actions in one column if it has room, more in two.

    Attributes:
        names: Names of the actions.
    """

    def __init__(self, canvas: Canvas, box: Box, names: Sequence[str]) -> None:
        self.names = tuple(names)
        columns = 1 if len(names) <= min(9, box.height // _MIN_BAR_HEIGHT) else 2
        rows = -(-len(names) // columns)
        height = min(box.height // rows, 40) // 2 * 2
        width = (box.width - 16 * (columns - 1)) // columns // 2 * 2
        self._bars = [
            _Bar(canvas, Box(box.x + at // rows * (width + 16), box.y + at % rows * height, width, height), name)
            for at, name in enumerate(names)
        ]

    def draw(self, lengths: npt.NDArray[np.float64], labels: Sequence[str], chosen: int) -> None:
        """Draw the bars.

        Args:
            lengths: Length of each action's bar, 0 to 1, of shape (actions,).
            labels: Label of each action's bar.
            chosen: Index of the chosen action.
        """
        for at, (bar, length, label) in enumerate(zip(self._bars, lengths, labels, strict=True)):
            bar.draw(float(length), label, at == chosen)


class _Bar:
    _THICKNESS = 8

    def __init__(self, canvas: Canvas, box: Box, name: str) -> None:
        size = 13 if box.width < 200 else 18
        left, right = (108, 44) if box.width < 200 else (112, 58)
        middle = box.y + (box.height - self._THICKNESS) // 4 * 2
        self._canvas = canvas
        self._box = Box(box.x + left, middle, (box.width - left - right) // 2 * 2, self._THICKNESS)
        name_box = Box(box.x, box.y, left - 4, box.height)
        label_box = Box(box.x + box.width - right + 2, box.y, right - 2, box.height)
        self._names = [Label(canvas, name_box, "JetBrainsMono-Medium", size, color) for color in (SOFT, SALIENT)]
        self._label = Label(canvas, label_box, "JetBrainsMono-Medium", size, SOFT, "right")
        self._name, self._drawn = name, (-1, False)

    def draw(self, length: float, label: str, chosen: bool) -> None:
        width = round(length * self._box.width / 2) * 2
        if (width, chosen) != self._drawn:
            if chosen != self._drawn[1] or self._drawn[0] < 0:
                self._names[not chosen].invalidate()
                self._names[chosen].set(self._name)
            self._drawn = (width, chosen)
            box = self._box
            self._canvas.fill(box, RAISED)
            self._canvas.fill(Box(box.x, box.y, width, box.height), SALIENT if chosen else SLATE)
        self._label.set(label)


class ScaledChart:
    """A line chart with its scale: the smallest and the largest value so far at its right.

    Args:
        canvas: Canvas to draw on.
        box: Box of the chart and its scale.
        color: Color of the line.
        min_span: Smallest range of values that fills the height.
        to_text: Formats a value of the scale.
    """

    _SCALE_WIDTH, _SCALE_HEIGHT = 62, 24

    def __init__(
        self, canvas: Canvas, box: Box, color: Color, min_span: float, to_text: Callable[[float], str]
    ) -> None:
        chart = Box(box.x, box.y, box.width - self._SCALE_WIDTH, box.height)
        self._chart, self._to_text = LineChart(canvas, chart, color, min_span), to_text
        x, width, height = chart.x + chart.width + 2, self._SCALE_WIDTH - 2, self._SCALE_HEIGHT
        middle = (box.height - height) // 4 * 2
        self._high, self._middle, self._low = (
            Label(canvas, Box(x, box.y + y, width, height), "JetBrainsMono-Medium", 16, SOFT, "right")
            for y in (0, middle, box.height - height)
        )

    def append(self, value: float) -> None:
        """Extend the line to a value."""
        self._chart.append(value)
        low, high = map(self._to_text, self._chart.limits)
        self._middle.set(low if low == high else "")
        self._high.set("" if low == high else high)
        self._low.set("" if low == high else low)


class LineChart:
    """A line chart of the last steps, one pixel per step, shaded down to 0.

    When the line reaches the right edge, the chart jumps back by a third: a chart that scrolled with every step would
    take up most of a video's size.

    Args:
        canvas: Canvas to draw on.
        box: Box of the chart.
        color: Color of the line.
        min_span: Smallest range of values that fills the height.
    """

    def __init__(self, canvas: Canvas, box: Box, color: Color, min_span: float) -> None:
        self._luma, self._chroma = canvas.planes(box)
        self._box, self._min_span = box, min_span
        self._background, self._color = _ycbcr(RAISED), _ycbcr(color)
        self._values: list[float] = []
        self._low, self._high = np.inf, -np.inf
        self._rows = np.arange(box.height, dtype=np.float32)[:, None]
        canvas.fill(box, RAISED)

    def append(self, value: float) -> None:
        """Extend the line to a value."""
        jumps = len(self._values) == self._box.width
        if jumps:
            del self._values[: self._box.width // 3]
        self._values.append(value)
        rescales = not self._low <= value <= self._high
        self._low, self._high = min(self._low, value), max(self._high, value)
        # Two columns share their chroma.
        start = 0 if jumps or rescales else (len(self._values) - 1) // 2 * 2
        self._draw(start, self._box.width if jumps else (len(self._values) + 1) // 2 * 2)

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value so far."""
        return self._low, self._high

    def _draw(self, start: int, end: int) -> None:
        """Draw the columns from `start` to `end`, both even."""
        heights, (zero,) = self._rows_of(np.array(self._values[max(start - 1, 0) : end])), self._rows_of(np.zeros(1))
        before = heights[: len(heights) - 1] if start else np.concatenate([heights[:1], heights[:-1]])
        heights = heights[len(heights) - len(before) :]
        line = self._distance_outside(np.minimum(before, heights), np.maximum(before, heights))
        coverage = np.clip(np.float32(1.5) - line, 0, 1)
        shade = self._distance_outside(np.minimum(heights, zero), np.maximum(heights, zero)) == 0
        np.maximum(coverage, np.float32(0.16) * shade, out=coverage)
        columns = np.zeros((self._box.height, end - start), np.float32)
        columns[:, : len(heights)] = coverage
        luma, chroma = self._luma[:, start:end], self._chroma[:, :, start // 2 : end // 2]
        blend(luma, chroma, columns, self._background, self._color)

    def _distance_outside(self, low: Floats, high: Floats) -> Floats:
        """Return each pixel's distance to the range of rows [low, high], of shape (n,): shape (height, n)."""
        distance: Floats = np.maximum(np.maximum(low - self._rows, self._rows - high), 0)
        return distance

    def _rows_of(self, values: npt.NDArray[np.float64]) -> Floats:
        """Return the rows of values; the smallest and the largest value so far lie 6 pixels from the edges."""
        middle, span = (self._low + self._high) / 2, max(self._high - self._low, self._min_span)
        inner_height = self._box.height - 12
        rows: Floats = (6 + inner_height * (0.5 - (values - middle) / span)).astype(np.float32)
        return rows
