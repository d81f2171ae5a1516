"""The game's screen on a canvas, with outlines drawn over it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tasks.arcade.drawing.canvas import Box, Canvas, Plane, RgbImage, rgb_to_ycbcr
from tasks.arcade.emulator.emulator import Screen


@dataclass(frozen=True, slots=True)
class Outline:
    """A line around a rectangle of the game's screen, in the game's own pixels.

    Attributes:
        strength: Opacity of the line, 0 to 1.
    """

    x: int
    y: int
    width: int
    height: int
    strength: float


_LINE_WIDTH, _MARGIN = 4, 2
"""Width of an outline, and its distance from the rectangle, in pixels of the video."""


class ScreenSource(Protocol):
    """An emulator, or a stand-in for it, whose screen is drawn."""

    @property
    def screen_size(self) -> tuple[int, int]: ...
    def screen_indices(self, into: Screen) -> Screen: ...
    def screen(self) -> Screen: ...


class GameView:
    """Draws the game's screen into a box of a canvas: each pixel a sharp block, no smoothing.

    Where the box is not a multiple of the screen, blocks differ by one pixel in size.

    Args:
        canvas: Canvas to draw on.
        box: Box that the screen fills.
        size: (height, width) of the game's screen.

    Attributes:
        box: As given.
        size: As given.
    """

    def __init__(self, canvas: Canvas, box: Box, size: tuple[int, int]) -> None:
        self.box, self.size = box, size
        self._canvas = canvas
        self._planes = canvas.planes(box)
        self._rows, self._columns = _nearest(box.height, size[0]), _nearest(box.width, size[1])
        self._scale_y = box.height // size[0] if box.height % size[0] == 0 else 0
        scale_x = box.width // size[1] if box.width % size[1] == 0 else 0
        self._averages_chroma = box.height < 2 * size[0] or box.width < 2 * size[1]
        # At the usual scales a lookup returns a whole block of equal bytes.
        self._scale_x = scale_x if scale_x in (1, 2, 4, 8) else 0
        self._indices: Screen = np.empty(size, np.uint8)
        self._rgb, self._known = np.zeros((256, 3), np.uint8), np.zeros(256, np.bool_)
        # ALE does not expose its palette: a color is read from the first screen that shows it. Until then its luma is
        # 0, which no color has.
        self._build_tables(np.zeros((256, 3), np.uint8))
        # No screen yet: no console has a color 255.
        self._previous: Screen = np.full(size, 255, np.uint8)
        self._digest = hashlib.sha256()
        self._outlines: tuple[Outline, ...] = ()
        # Rows of the game under outlines, and unchanged rows that have to be redrawn.
        self._covered, self._stale = np.zeros(size[0], np.bool_), np.zeros(size[0], np.bool_)

    def _build_tables(self, ycbcr: Plane) -> None:
        widths = (self._scale_x or 1, *(2 * (max(self._scale_x // 2, 1),)))
        self._tables = [values.repeat(width).view(f"u{width}") for values, width in zip(ycbcr.T, widths, strict=True)]
        chroma = ycbcr[:, 1:].astype(np.uint16)
        self._pair_sums = (chroma[:, None] + chroma).view(np.uint32).ravel()

    def draw(self, source: ScreenSource) -> None:
        """Draw the current screen; unchanged rows are skipped."""
        indices = source.screen_indices(self._indices)
        self._digest.update(indices.data)
        changed = (indices != self._previous).any(axis=1) | self._stale
        if not changed.any():
            return
        self._stale[:] = False
        # Outlines are blended into rows without any.
        crossed = bool((changed & self._covered).any())
        if crossed:
            changed |= self._covered
        self._draw_rows(indices, source, changed)
        if crossed:
            flat = self._canvas.frame.reshape(-1)
            flat[self._line] = (flat[self._line] * self._background_weight + self._weighted_color) >> 8

    def _draw_rows(self, indices: Screen, source: ScreenSource, changed: npt.NDArray[np.bool_]) -> None:
        self._previous[:] = indices
        rows = indices[changed]
        small = self._tables[0].take(rows)
        if not small.min():
            self._learn_colors(indices, source.screen())
            small = self._tables[0].take(rows)
        luma, chroma = self._planes
        wide = small.view(np.uint8) if self._scale_x else small.take(self._columns, axis=1)
        if self._scale_y:
            luma.reshape(-1, self._scale_y, self.box.width)[changed] = wide[:, None]
        else:
            _write_rows(luma, wide, changed, self._rows)
        if self._averages_chroma:
            self._write_mean_chroma(chroma, changed)
            return
        for plane, table in zip(chroma, self._tables[1:], strict=True):
            values = table.take(rows)
            wide = values.view(np.uint8) if self._scale_x else values.take(self._columns[::2], axis=1)
            _write_rows(plane, wide, changed, self._rows[::2])

    def outline(self, outlines: Sequence[Outline], color: tuple[int, int, int]) -> None:
        """Replace the outlines that are drawn over the game, from the next screen on; the first one is on top."""
        if tuple(outlines) == self._outlines:
            return
        self._outlines = tuple(outlines)
        self._stale |= self._covered
        self._covered[:] = False
        lines = [self._line_indices(outline) for outline in outlines]
        if not lines:
            return
        ycbcr = rgb_to_ycbcr(np.array(color, np.uint8)).astype(np.uint16)
        self._line = np.concatenate([part for line in lines for part in line])
        colors = np.concatenate([ycbcr.repeat([len(part) for part in line]) for line in lines])
        strengths = np.array([round(256 * outline.strength) for outline in outlines], np.uint16)
        weights = strengths.repeat([sum(map(len, line)) for line in lines])
        # Where two outlines cross, the first one is on top.
        self._line, first = np.unique(self._line, return_index=True)
        self._background_weight, self._weighted_color = 256 - weights[first], colors[first] * weights[first] + 128
        self._stale |= self._covered

    def _line_indices(self, outline: Outline) -> list[npt.NDArray[np.intp]]:
        """Return the indices of a line in the canvas's flat frame: those of its luma, its Cb and its Cr."""
        (height, width), box = self.size, self.box
        left, right = _outer_edges(outline.x, outline.width, box.width, width)
        top, bottom = _outer_edges(outline.y, outline.height, box.height, height)
        self._covered[self._rows[top:bottom]] = True
        canvas_width, canvas_height = self._canvas.box.width, self._canvas.box.height
        luma = _ring(box.x + left, box.y + top, box.x + right, box.y + bottom, _LINE_WIDTH, canvas_width)
        edges = ((box.x + left) // 2, (box.y + top) // 2, (box.x + right) // 2, (box.y + bottom) // 2)
        cb = canvas_width * canvas_height + _ring(*edges, _LINE_WIDTH // 2, canvas_width // 2)
        return [luma, cb, cb + canvas_width * canvas_height // 4]

    def _write_mean_chroma(self, chroma: Plane, changed: npt.NDArray[np.bool_]) -> None:
        """Write the chroma planes where a 2 x 2 block holds several pixels of the game: the mean of their colors."""
        upper, lower = self._rows[::2], self._rows[1::2]
        shown = np.flatnonzero(changed[upper] | changed[lower])
        above, below = self._indices.take(upper[shown], axis=0), self._indices.take(lower[shown], axis=0)
        sums = self._sum_pairs(above) + self._sum_pairs(below)
        means = ((sums.view(np.uint16) + np.uint16(2)) >> 2).astype(np.uint8)
        chroma[:, shown] = means.reshape(len(shown), -1, 2).transpose(2, 0, 1)

    def _sum_pairs(self, indices: Screen) -> npt.NDArray[np.uint32]:
        """Return the sums of Cb and Cr, 16 bits each, of every two adjacent pixels of the video."""
        wide = indices if self._scale_x == 1 else indices.take(self._columns, axis=1)
        return self._pair_sums.take(wide.view(np.uint16))

    def _learn_colors(self, indices: Screen, rgb: RgbImage) -> None:
        self._rgb[indices], self._known[indices] = rgb, True
        ycbcr = np.zeros((256, 3), np.uint8)
        ycbcr[self._known] = rgb_to_ycbcr(self._rgb[self._known])
        self._build_tables(ycbcr)

    @property
    def digest(self) -> str:
        """Digest of all screens drawn so far, 64 hex digits.

        SHA-256 over the palette indices of each screen and then over R, G, B of the 256 indices (0 for those that were
        never shown).
        """
        complete = self._digest.copy()
        complete.update(self._rgb.data)
        return complete.hexdigest()


def _write_rows(plane: Plane, rows: Plane, changed: npt.NDArray[np.bool_], source: npt.NDArray[np.intp]) -> None:
    """Write changed rows of the game to all rows of a plane that show them.

    Args:
        plane: Plane to write.
        rows: The changed rows, widened.
        changed: Mask of the changed rows, of shape (rows of the game,).
        source: Row of the game for each row of the plane.
    """
    shown = np.flatnonzero(changed[source])
    plane[shown] = rows.take((np.cumsum(changed) - 1)[source[shown]], axis=0)


def _outer_edges(begin: int, extent: int, n_out: int, n_in: int) -> tuple[int, int]:
    """Return where an outline around an extent of the game starts and ends on one axis of the view, both even."""
    first, end = begin * n_out // n_in, -(-(begin + extent) * n_out // n_in)
    return max(0, first // 2 * 2 - _MARGIN - _LINE_WIDTH), min(n_out, (end + 1) // 2 * 2 + _MARGIN + _LINE_WIDTH)


def _ring(left: int, top: int, right: int, bottom: int, line_width: int, stride: int) -> npt.NDArray[np.intp]:
    """Return the flat indices of a line along the inside of a rectangle, in a plane of width `stride`."""
    rectangle = np.arange(top, bottom)[:, None] * stride + np.arange(left, right)
    middle = rectangle[line_width:-line_width]
    sides: list[npt.NDArray[np.intp]] = [
        rectangle[:line_width],
        rectangle[-line_width:],
        middle[:, :line_width],
        middle[:, -line_width:],
    ]
    return np.concatenate([side.ravel() for side in sides])


def _nearest(n_out: int, n_in: int) -> npt.NDArray[np.intp]:
    """Return for each output pixel the input pixel that contains its center."""
    return ((2 * np.arange(n_out) + 1) * n_in // (2 * n_out)).astype(np.intp)
