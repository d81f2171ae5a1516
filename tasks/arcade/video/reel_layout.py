"""Layout of a reel: header, a grid of cells, progress bar."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.drawing.canvas import Box, Canvas
from tasks.arcade.drawing.text import text_coverage
from tasks.arcade.drawing.widgets import BACKGROUND, BRIGHT, CHANGED, RAISED, SALIENT, SOFT, Color, Label
from tasks.arcade.video.render import DISPLAY_ASPECT_RATIO

RUN_COLORS: tuple[Color, ...] = (CHANGED, SALIENT)
"""Colors of the first run and of the second."""
TITLE_HEIGHT = 40
"""Height of a cell's title in pixels."""
AGENTS = {"pong": "right paddle", "boxing": "white boxer", "fishing_derby": "left fisher"}
"""Which figure the agent controls, by ROM, where the console plays a figure of the same kind."""
_MARGIN, _GAP, _HEADER, _FOOTER = 20, 12, 44, 10


class ReelLayout:
    """A canvas with a header, a grid of cells, and a progress bar below them.

    Args:
        size: (height, width) of the game's screen.
        cells: Number of cells.
        columns: Cells per row.
        small: Whether every row of the game is one row of the canvas, as in an animation.

    Attributes:
        canvas: The canvas; its pixels are displayed as squares.
        size: As given.
        cell_size: (width, height) of the game in a cell.
    """

    def __init__(self, size: tuple[int, int], cells: int, columns: int, *, small: bool = False) -> None:
        height = size[0] * (1 if small or columns > 2 else 2 if columns > 1 else 3)
        self.size, self._columns = size, columns
        self.cell_size = (round(height * DISPLAY_ASPECT_RATIO / 2) * 2, height)
        rows = -(-cells // columns)
        canvas_width = 2 * _MARGIN + columns * self.cell_size[0] + (columns - 1) * _GAP
        self._top = _MARGIN + _HEADER
        canvas_height = self._top + rows * (TITLE_HEIGHT + self.cell_size[1] + _GAP) + _FOOTER + _MARGIN - _GAP
        self.canvas = Canvas(canvas_width, canvas_height + canvas_height % 2, BACKGROUND)
        self._bar = Box(_MARGIN, canvas_height // 2 * 2 - _MARGIN, canvas_width - 2 * _MARGIN, 6)

    def cell_origin(self, index: int) -> tuple[int, int]:
        """Return the upper left corner of a cell."""
        row, column = divmod(index, self._columns)
        x = _MARGIN + column * (self.cell_size[0] + _GAP)
        return x, self._top + row * (TITLE_HEIGHT + self.cell_size[1] + _GAP)

    def draw_header(self, title: str, runs: Sequence[tuple[int, str]]) -> None:
        """Draw the title at the left and the runs, (side, name), with their colors at the right."""
        width = self.canvas.box.width - 2 * _MARGIN
        title_width = min(text_coverage(title, "Inter-SemiBold", 24).shape[1] // 2 * 2 + 2, width // 4 * 2)
        Label(self.canvas, Box(_MARGIN, 12, title_width, 40), "Inter-SemiBold", 24, BRIGHT).set(title)
        max_width = (width - title_width) // len(runs) // 2 * 2 - 48
        x = _MARGIN + width
        for side, name in sorted(runs, reverse=True):
            name_width = min(text_coverage(name, "Inter-Medium", 18).shape[1] // 2 * 2 + 2, max_width)
            x -= name_width
            Label(self.canvas, Box(x, 14, name_width, 36), "Inter-Medium", 18, SOFT).set(name)
            self.canvas.fill(Box(x - 20, 26, 12, 12), RUN_COLORS[side])
            x -= 48

    def draw_progress(self, part: int, parts: int, progress: float) -> None:
        """Draw one part's segment of the progress bar, filled up to `progress`, 0 to 1."""
        pitch = self._bar.width // parts // 2 * 2
        box = Box(self._bar.x + part * pitch, self._bar.y, max(2, pitch - 4), self._bar.height)
        self.canvas.fill(box, RAISED)
        self.canvas.fill(Box(box.x, box.y, round(box.width * progress / 2) * 2, box.height), SOFT)
