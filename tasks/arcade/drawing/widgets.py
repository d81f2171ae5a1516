"""The parts of a panel: labels, the grid of RAM, the bars of the actions, running lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.arcade.drawing.canvas import Box, Canvas, to_ycc
from tasks.arcade.drawing.text import Font, fitting, letters
from tasks.arcade.emulator.emulator import Ram

Color = tuple[int, int, int]
Floats = npt.NDArray[np.float32]

BACKGROUND: Color = (14, 17, 22)
RAISED: Color = (25, 30, 38)
BRIGHT: Color = (230, 234, 240)
SOFT: Color = (148, 158, 172)
FAINT: Color = (88, 98, 112)
SLATE: Color = (78, 91, 110)
# Told apart by color-blind eyes.
CHANGED: Color = (240, 168, 48)
DECIDING: Color = (64, 186, 246)
VALUE: Color = (178, 152, 246)


def _ycc(color: Color) -> Floats:
    return to_ycc(np.array(color, np.uint8)).astype(np.float32)


class Label:
    """One line of text on a ground of one color; drawn again only when it changes.

    Args:
        canvas: what is drawn on.
        box: where; text that is wider is cut off with an ellipsis.
        font: its name.
        size: in pixels.
        color: of the letters.
        align: where in the box.
        ground: what it stands on.
    """

    def __init__(
        self,
        canvas: Canvas,
        box: Box,
        font: Font,
        size: int,
        color: Color,
        align: Literal["left", "center", "right"] = "left",
        ground: Color = BACKGROUND,
    ) -> None:
        self._luma, self._chroma = canvas.within(box)
        self._width, self._height = box.width, box.height
        self._font, self._size, self._align = font, size, align
        self._ground, self._ink = _ycc(ground), _ycc(color)
        self._text = ""

    def forget(self) -> None:
        """Something else is drawn in the box."""
        self._text = ""

    def set(self, text: str) -> None:
        """Show this text."""
        if text == self._text:
            return
        self._text = text
        ink = letters(fitting(text, self._font, self._size, self._width), self._font, self._size)[: self._height]
        height, width = ink.shape
        x = {"left": 0, "center": (self._width - width) // 2, "right": self._width - width}[self._align]
        y = (self._height - height) // 2
        cover = np.zeros((self._height, self._width), np.float32)
        cover[y : y + height, x : x + width] = ink
        cover *= np.float32(1 / 255)
        paint(self._luma, self._chroma, cover, self._ground, self._ink)


def paint(
    luma: npt.NDArray[np.uint8], chroma: npt.NDArray[np.uint8], cover: Floats, ground: Floats, ink: Floats
) -> None:
    """Paint a box: ground where `cover`, float32 of the luma's shape, is 0, ink where it is 1."""
    luma[:] = ground[0] + (ink[0] - ground[0]) * cover
    pairs = cover[::2] + cover[1::2]
    blocks = (pairs[:, ::2] + pairs[:, 1::2]) * np.float32(0.25)
    for plane, low, high in zip(chroma, ground[1:], ink[1:], strict=True):
        plane[:] = low + (high - low) * blocks


CELL = 22
_RING = 2
_SHADES = 5
"""Of either light: with more of them cells change that nobody sees change."""


@cache
def _hex_numbers() -> Floats:
    """Every byte in two digits, in the middle of a cell: coverage, float32 of shape (256, CELL, CELL)."""
    cells = np.zeros((256, CELL, CELL), np.float32)
    for value in range(256):
        ink = letters(f"{value:02X}", "JetBrainsMono-Medium", 11)
        height, width = ink.shape
        y, x = (CELL - height) // 2, (CELL - width + 1) // 2
        cells[value, y : y + height, x : x + width] = ink / 255
    return cells


class RamGrid:
    """128 bytes in 8 rows of 16 cells: the value as two digits and as brightness.

    What changed glows; what the decision depends on has a frame.
    """

    def __init__(self, canvas: Canvas, box: Box) -> None:
        luma, chroma = canvas.within(box)
        self._luma = luma.reshape(8, CELL, 16, CELL)
        self._chroma = chroma.reshape(2, 8, CELL // 2, 16, CELL // 2)
        # Of a cell that is drawn already: value, light of change, light of the decision.
        self._drawn = np.full((128, 3), -1, np.int16)

    def draw(self, ram: Ram, heat: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> None:
        """Draw the RAM.

        Args:
            ram: uint8 of shape (128,).
            heat: how lately each byte changed, 0 to 1.
            weights: how much the decision depends on each byte, 0 to 1.
        """
        wanted = np.stack([ram, np.rint(heat * _SHADES), np.rint(weights * _SHADES)], axis=1).astype(np.int16)
        cells = np.flatnonzero((wanted != self._drawn).any(axis=1))
        if not len(cells):
            return
        self._drawn[cells] = wanted[cells]
        value, glow, frame = (wanted[cells].T / np.array([[255], [_SHADES], [_SHADES]])).astype(np.float32)[..., None]
        ground = _ycc(RAISED) + (_ycc(SLATE) - _ycc(RAISED)) * value
        ground += (_ycc(CHANGED) - ground) * glow
        ring = _ycc(BACKGROUND) + (_ycc(DECIDING) - _ycc(BACKGROUND)) * frame
        ink = np.where(ground[:, :1] > 110, _ycc(BACKGROUND)[0], _ycc(BRIGHT)[0] - 20)
        tiles = ground[:, 0, None, None] + (ink - ground[:, :1])[..., None] * _hex_numbers()[ram[cells]]
        _frame(tiles, ring[:, 0], _RING)
        row, column = cells // 16, cells % 16
        self._luma[row, :, column, :] = tiles.astype(np.uint8)
        for plane, color, around in zip(self._chroma, ground[:, 1:].T, ring[:, 1:].T, strict=True):
            blocks = np.repeat(color, (CELL // 2) ** 2).reshape(-1, CELL // 2, CELL // 2)
            _frame(blocks, around, _RING // 2)
            plane[row, :, column, :] = blocks.astype(np.uint8)


def _frame(tiles: Floats, colors: Floats, width: int) -> None:
    """Draw a frame of so many pixels into each tile, float32 of shape (n, height, width)."""
    tiles[:, :width] = tiles[:, -width:] = colors[:, None, None]
    tiles[:, :, :width] = tiles[:, :, -width:] = colors[:, None, None]


class ActionBars:
    """How good each action seems, the one that was taken set off; up to nine in one column, more in two.

    Attributes:
        names: of the actions.
    """

    def __init__(self, canvas: Canvas, box: Box, names: Sequence[str]) -> None:
        self.names = tuple(names)
        columns = 1 if len(names) <= 9 else 2
        rows = -(-len(names) // columns)
        height = min(box.height // rows, 40) // 2 * 2
        width = (box.width - 16 * (columns - 1)) // columns // 2 * 2
        self._bars = [
            _Bar(canvas, Box(box.x + at // rows * (width + 16), box.y + at % rows * height, width, height), name)
            for at, name in enumerate(names)
        ]

    def draw(self, lengths: npt.NDArray[np.float64], words: Sequence[str], taken: int) -> None:
        """Draw each action's bar, between 0 and 1, and the word beside it, both (actions,), and which was taken."""
        for at, (bar, length, word) in enumerate(zip(self._bars, lengths, words, strict=True)):
            bar.draw(float(length), word, at == taken)


class _Bar:
    _THICK = 8

    def __init__(self, canvas: Canvas, box: Box, name: str) -> None:
        small = 10 if box.width < 200 else 12
        left, right = (88, 34) if box.width < 200 else (112, 44)
        middle = box.y + (box.height - self._THICK) // 4 * 2
        self._canvas = canvas
        self._box = Box(box.x + left, middle, (box.width - left - right) // 2 * 2, self._THICK)
        named = Box(box.x, box.y, left - 4, box.height)
        counted = Box(box.x + box.width - right + 2, box.y, right - 2, box.height)
        self._names = [Label(canvas, named, "JetBrainsMono-Medium", small, color) for color in (SOFT, DECIDING)]
        self._word = Label(canvas, counted, "JetBrainsMono-Medium", small, SOFT, "right")
        self._name, self._drawn = name, (-1, False)

    def draw(self, length: float, word: str, taken: bool) -> None:
        width = round(length * self._box.width / 2) * 2
        if (width, taken) != self._drawn:
            if taken != self._drawn[1] or self._drawn[0] < 0:
                self._names[not taken].forget()
                self._names[taken].set(self._name)
            self._drawn = (width, taken)
            box = self._box
            self._canvas.fill(box, RAISED)
            self._canvas.fill(Box(box.x, box.y, width, box.height), DECIDING if taken else SLATE)
        self._word.set(word)


class Chart:
    """A running line of the last steps, one pixel a step; what lies between it and 0 is shaded.

    When the line arrives at the right, the picture jumps back by a third: a chart that moved with every step would be
    most of a video's size.

    Args:
        canvas: what is drawn on.
        box: where.
        color: of the line.
        span: the smallest range that fills the height.
    """

    def __init__(self, canvas: Canvas, box: Box, color: Color, span: float) -> None:
        self._luma, self._chroma = canvas.within(box)
        self._box, self._span = box, span
        self._ground, self._ink = _ycc(RAISED), _ycc(color)
        self._seen: list[float] = []
        self._low, self._high = np.inf, -np.inf
        self._rows = np.arange(box.height, dtype=np.float32)[:, None]
        canvas.fill(box, RAISED)

    def add(self, value: float) -> None:
        """The line goes on to this value."""
        jumps = len(self._seen) == self._box.width
        if jumps:
            del self._seen[: self._box.width // 3]
        self._seen.append(value)
        grows = not self._low <= value <= self._high
        self._low, self._high = min(self._low, value), max(self._high, value)
        # A pair of columns shares its color.
        start = 0 if jumps or grows else (len(self._seen) - 1) // 2 * 2
        self._draw(start, self._box.width if jumps else (len(self._seen) + 1) // 2 * 2)

    def _draw(self, start: int, end: int) -> None:
        """Draw the columns from `start` on, both numbers even."""
        heights, (zero,) = self._rows_of(np.array(self._seen[max(start - 1, 0) : end])), self._rows_of(np.zeros(1))
        before = heights[: len(heights) - 1] if start else np.concatenate([heights[:1], heights[:-1]])
        heights = heights[len(heights) - len(before) :]
        cover = np.clip(np.float32(1.5) - self._outside(np.minimum(before, heights), np.maximum(before, heights)), 0, 1)
        shade = self._outside(np.minimum(heights, zero), np.maximum(heights, zero)) == 0
        np.maximum(cover, np.float32(0.16) * shade, out=cover)
        whole = np.zeros((self._box.height, end - start), np.float32)
        whole[:, : len(heights)] = cover
        paint(self._luma[:, start:end], self._chroma[:, :, start // 2 : end // 2], whole, self._ground, self._ink)

    def _outside(self, low: Floats, high: Floats) -> Floats:
        """How far each pixel is above `low` or below `high`, rows of shape (n,): shape (height, n)."""
        far: Floats = np.maximum(np.maximum(low - self._rows, self._rows - high), 0)
        return far

    def _rows_of(self, values: npt.NDArray[np.float64]) -> Floats:
        """Rows from above; the smallest and the largest value so far are 6 pixels from the edges."""
        middle, span = (self._low + self._high) / 2, max(self._high - self._low, self._span)
        room = self._box.height - 12
        rows: Floats = (6 + room * (0.5 - (values - middle) / span)).astype(np.float32)
        return rows
