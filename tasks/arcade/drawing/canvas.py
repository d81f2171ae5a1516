"""A picture in the encoder's own format, and how a game's picture and others come to lie on it.

Colours are kept as the video has them: luma, and two differences of color for every block of 2 x 2 pixels (I420,
BT.709, limited range). So nothing is converted frame by frame: the console's few colors are, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tasks.arcade.drawing.mp4_encoder import Picture
from tasks.arcade.emulator.emulator import Screen

Rgb = npt.NDArray[np.uint8]
"""A picture, or colors: uint8 of shape (..., 3)."""
Plane = npt.NDArray[np.uint8]

# Luma and the differences of color from R, G, B in [0, 1] (ITU-R BT.709-6, items 3.2 and 3.3), times the limited
# range of item 4.
_TO_YCC = np.array(
    [
        [219 * 0.2126, 219 * 0.7152, 219 * 0.0722],
        [224 * -0.2126 / 1.8556, 224 * -0.7152 / 1.8556, 224 * 0.9278 / 1.8556],
        [224 * 0.7874 / 1.5748, 224 * -0.7152 / 1.5748, 224 * -0.0722 / 1.5748],
    ]
)
_ZERO = np.array([16.0, 128.0, 128.0])
_FROM_YCC = np.linalg.inv(_TO_YCC)


def to_ycc(rgb: Rgb) -> npt.NDArray[np.uint8]:
    """R, G, B as luma and differences of color: uint8 of shape (..., 3) both."""
    ycc: npt.NDArray[np.float64] = rgb / 255.0 @ _TO_YCC.T + _ZERO
    return np.rint(ycc).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a canvas, in pixels; all four are even, so that no block of color is shared.

    Raises:
        ValueError: one of them is odd or negative.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if any(value % 2 or value < 0 for value in (self.x, self.y, self.width, self.height)):
            raise ValueError(f"a box on a canvas has even numbers only: got {self}")


class Canvas:
    """A picture that is drawn piece by piece and kept from frame to frame.

    Args:
        width: pixels.
        height: pixels.
        color: R, G, B of the empty canvas.
        picture: one that is there already, to look at it or to draw on it.

    Attributes:
        picture: what the encoder takes.
        luma: its plane of shape (height, width); a view.
        chroma: its two planes of shape (2, height / 2, width / 2); a view.

    Raises:
        ValueError: an odd width or height.
    """

    def __init__(
        self, width: int, height: int, color: tuple[int, int, int] = (0, 0, 0), *, picture: Picture | None = None
    ) -> None:
        self.box = Box(0, 0, width, height)
        self.picture: Picture = np.empty((height * 3 // 2, width), np.uint8) if picture is None else picture
        self.luma: Plane = self.picture[:height]
        self.chroma: Plane = self.picture[height:].reshape(2, height // 2, width // 2)
        if picture is None:
            self.fill(self.box, color)

    def fill(self, box: Box, color: tuple[int, int, int]) -> None:
        """Paint a box in one color, R, G, B of 0 to 255."""
        luma, chroma = self.within(box)
        luma[:], *differences = to_ycc(np.array(color, np.uint8))
        chroma[:] = np.array(differences, np.uint8)[:, None, None]

    def put(self, rgb: Rgb, x: int, y: int) -> None:
        """Lay a picture, uint8 of shape (height, width, 3), with its upper left corner at (x, y); all numbers even."""
        height, width = rgb.shape[:2]
        luma, chroma = self.within(Box(x, y, width, height))
        ycc = to_ycc(rgb)
        luma[:] = ycc[..., 0]
        blocks = ycc[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
        chroma[:] = np.rint(blocks).astype(np.uint8).transpose(2, 0, 1)

    def within(self, box: Box) -> tuple[Plane, Plane]:
        """The planes within a box, to draw on: (height, width) and (2, height / 2, width / 2); views."""
        x, y, right, lower = box.x, box.y, box.x + box.width, box.y + box.height
        return self.luma[y:lower, x:right], self.chroma[:, y // 2 : lower // 2, x // 2 : right // 2]

    def rgb(self) -> Rgb:
        """The whole picture as uint8 of shape (height, width, 3), for stills."""
        planes = [self.luma, *(plane.repeat(2, axis=0).repeat(2, axis=1) for plane in self.chroma)]
        exact: npt.NDArray[np.float64] = (np.stack(planes, axis=-1) - _ZERO) @ _FROM_YCC.T * 255
        return np.clip(np.rint(exact), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Outline:
    """A line around a rectangle of the game's picture, in the game's own pixels.

    Attributes:
        strength: 0 to 1; how much of the line's color is mixed into what lies under it.
    """

    x: int
    y: int
    width: int
    height: int
    strength: float


_LINE, _APART = 4, 2
"""Pixels of a video: how thick an outline is, and how far from what it is drawn around."""


class Drawn(Protocol):
    """What shows a game's picture: an emulator."""

    @property
    def screen_size(self) -> tuple[int, int]: ...
    def screen_indices(self, into: Screen) -> Screen: ...
    def screen(self) -> Screen: ...


class GameView:
    """Where a game's picture lies on a canvas: every one of its pixels a sharp block, nothing smoothed.

    Where the box is no multiple of the picture, blocks differ by one pixel in size.

    Args:
        canvas: what is drawn on.
        box: where; the whole of the game's picture fills it.
        size: (height, width) of the game's picture.

    Attributes:
        box: as given.
        size: as given.
    """

    def __init__(self, canvas: Canvas, box: Box, size: tuple[int, int]) -> None:
        self.box, self.size = box, size
        self._canvas = canvas
        self._planes = canvas.within(box)
        self._rows, self._columns = _nearest(box.height, size[0]), _nearest(box.width, size[1])
        self._down = box.height // size[0] if box.height % size[0] == 0 else 0
        across = box.width // size[1] if box.width % size[1] == 0 else 0
        self._mixed = box.height < 2 * size[0] or box.width < 2 * size[1]
        # Of the usual widths a whole block of equal bytes is looked up at once.
        self._wide = across if across in (1, 2, 4, 8) else 0
        self._indices: Screen = np.empty(size, np.uint8)
        self._rgb, self._known = np.zeros((256, 3), np.uint8), np.zeros(256, np.bool_)
        # ALE does not tell its palette: a color is read off the first picture that shows it. Until then its luma is
        # 0, which no color has.
        self._tabulate(np.zeros((256, 3), np.uint8))
        # No picture yet: 255 is no color of any console.
        self._before: Screen = np.full(size, 255, np.uint8)
        self._digest = hashlib.sha256()
        self._outlines: tuple[Outline, ...] = ()
        # Rows of the game under outlines, and those to be drawn though they are as they were.
        self._covered, self._stale = np.zeros(size[0], np.bool_), np.zeros(size[0], np.bool_)

    def _tabulate(self, ycc: Plane) -> None:
        widths = (self._wide or 1, *(2 * (max(self._wide // 2, 1),)))
        self._tables = [values.repeat(width).view(f"u{width}") for values, width in zip(ycc.T, widths, strict=True)]
        differences = ycc[:, 1:].astype(np.uint16)
        self._pairs = (differences[:, None] + differences).view(np.uint32).ravel()

    def draw(self, game: Drawn) -> None:
        """Draw the game's last frame; rows that are as they were are left alone."""
        indices = game.screen_indices(self._indices)
        self._digest.update(indices.data)
        changed = (indices != self._before).any(axis=1) | self._stale
        if not changed.any():
            return
        self._stale[:] = False
        # Lines are mixed into a picture that has none.
        crossed = bool((changed & self._covered).any())
        if crossed:
            changed |= self._covered
        self._draw_rows(indices, game, changed)
        if crossed:
            flat = self._canvas.picture.reshape(-1)
            flat[self._line] = (flat[self._line] * self._kept + self._ink) >> 8

    def _draw_rows(self, indices: Screen, game: Drawn, changed: npt.NDArray[np.bool_]) -> None:
        self._before[:] = indices
        rows = indices[changed]
        small = self._tables[0].take(rows)
        if not small.min():
            self._learn(indices, game.screen())
            small = self._tables[0].take(rows)
        luma, chroma = self._planes
        wide = small.view(np.uint8) if self._wide else small.take(self._columns, axis=1)
        if self._down:
            luma.reshape(-1, self._down, self.box.width)[changed] = wide[:, None]
        else:
            _spread(luma, wide, changed, self._rows)
        if self._mixed:
            self._spread_means(chroma, changed)
            return
        for plane, values in zip(chroma, self._tables[1:], strict=True):
            differences = values.take(rows)
            wide = differences.view(np.uint8) if self._wide else differences.take(self._columns[::2], axis=1)
            _spread(plane, wide, changed, self._rows[::2])

    def outline(self, outlines: Sequence[Outline], color: tuple[int, int, int]) -> None:
        """From the next picture on these lie over the game, in one color, instead of those before."""
        if tuple(outlines) == self._outlines:
            return
        self._outlines = tuple(outlines)
        self._stale |= self._covered
        self._covered[:] = False
        lines = [self._around(outline) for outline in outlines]
        if not lines:
            return
        ycc = to_ycc(np.array(color, np.uint8)).astype(np.uint16)
        self._line = np.concatenate([part for line in lines for part in line])
        inks = np.concatenate([ycc.repeat([len(part) for part in line]) for line in lines])
        weights = np.array([round(256 * outline.strength) for outline in outlines], np.uint16)
        shares = weights.repeat([sum(map(len, line)) for line in lines])
        # Where two cross, the first one is seen.
        self._line, first = np.unique(self._line, return_index=True)
        self._kept, self._ink = 256 - shares[first], inks[first] * shares[first] + 128
        self._stale |= self._covered

    def _around(self, outline: Outline) -> list[npt.NDArray[np.intp]]:
        """Where in the canvas's picture a line lies: its luma, its one and its other difference of color."""
        (height, width), box = self.size, self.box
        left, right = _wider(outline.x, outline.width, box.width, width)
        top, lower = _wider(outline.y, outline.height, box.height, height)
        self._covered[self._rows[top:lower]] = True
        across, down = self._canvas.box.width, self._canvas.box.height
        luma = _ring(box.x + left, box.y + top, box.x + right, box.y + lower, _LINE, across)
        sides = ((box.x + left) // 2, (box.y + top) // 2, (box.x + right) // 2, (box.y + lower) // 2)
        blue = across * down + _ring(*sides, _LINE // 2, across // 2)
        return [luma, blue, blue + across * down // 4]

    def _spread_means(self, chroma: Plane, changed: npt.NDArray[np.bool_]) -> None:
        """Write both planes of color where blocks of 2 x 2 hold several of the game's pixels: their means."""
        upper, lower = self._rows[::2], self._rows[1::2]
        shown = np.flatnonzero(changed[upper] | changed[lower])
        above, below = self._indices.take(upper[shown], axis=0), self._indices.take(lower[shown], axis=0)
        sums = self._across(above) + self._across(below)
        means = ((sums.view(np.uint16) + np.uint16(2)) >> 2).astype(np.uint8)
        chroma[:, shown] = means.reshape(len(shown), -1, 2).transpose(2, 0, 1)

    def _across(self, indices: Screen) -> npt.NDArray[np.uint32]:
        """Of each two of the video's pixels side by side, both differences of color summed: 16 bits each."""
        wide = indices if self._wide == 1 else indices.take(self._columns, axis=1)
        return self._pairs.take(wide.view(np.uint16))

    def _learn(self, indices: Screen, rgb: Rgb) -> None:
        self._rgb[indices], self._known[indices] = rgb, True
        ycc = np.zeros((256, 3), np.uint8)
        ycc[self._known] = to_ycc(self._rgb[self._known])
        self._tabulate(ycc)

    @property
    def digest(self) -> str:
        """Of all pictures drawn so far, 64 hex digits.

        SHA-256 over the numbers of their colors, picture by picture, and then over R, G, B of the 256 numbers (0 for
        those that were never shown).
        """
        whole = self._digest.copy()
        whole.update(self._rgb.data)
        return whole.hexdigest()


def _spread(plane: Plane, rows: Plane, changed: npt.NDArray[np.bool_], source: npt.NDArray[np.intp]) -> None:
    """Write rows of the game to all rows of the plane that show them.

    Args:
        plane: what is written.
        rows: those that changed, widened.
        changed: which these are, of shape (the game's rows,).
        source: for each of the plane's rows the game's.
    """
    shown = np.flatnonzero(changed[source])
    plane[shown] = rows.take((np.cumsum(changed) - 1)[source[shown]], axis=0)


def _wider(begin: int, extent: int, n_out: int, n_in: int) -> tuple[int, int]:
    """From where to where an outline around some of the game's pixels goes on one axis of the view: even numbers."""
    first, end = begin * n_out // n_in, -(-(begin + extent) * n_out // n_in)
    return max(0, first // 2 * 2 - _APART - _LINE), min(n_out, (end + 1) // 2 * 2 + _APART + _LINE)


def _ring(left: int, top: int, right: int, lower: int, thick: int, across: int) -> npt.NDArray[np.intp]:
    """The places of a line along the inside of a rectangle, in a plane of so many pixels across."""
    whole = np.arange(top, lower)[:, None] * across + np.arange(left, right)
    between = whole[thick:-thick]
    sides: list[npt.NDArray[np.intp]] = [whole[:thick], whole[-thick:], between[:, :thick], between[:, -thick:]]
    return np.concatenate([side.ravel() for side in sides])


def _nearest(n_out: int, n_in: int) -> npt.NDArray[np.intp]:
    """For each of the pixels out, the pixel in that its middle lies in."""
    return ((2 * np.arange(n_out) + 1) * n_in // (2 * n_out)).astype(np.intp)
