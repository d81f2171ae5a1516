"""Picture of a decoder's figures: the 128 bytes in a grid, colored by how far pictures determine them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.decoding.report import KINDS, ByteReport, DecodingReport, Kind
from tasks.arcade.drawing.images import write_png
from tasks.arcade.drawing.poster_image import BRIGHT, CARD, SOFT, Color, PosterImage

# The Okabe-Ito palette, distinguishable with color blindness.
COLORS: dict[Kind, Color] = {
    "constant": (70, 78, 92),
    "seen": (36, 190, 140),
    "seen ±1": (86, 180, 233),
    "seen with memory": (240, 228, 66),
    "partly seen": (240, 168, 48),
    "not seen": (213, 94, 0),
}
_COLUMNS, _ROWS = 16, 8
_CELL, _GAP, _MARGIN, _TOP = (132, 74), 6, 24, 132
_WIDTH = 2 * _MARGIN + _COLUMNS * _CELL[0] + (_COLUMNS - 1) * _GAP
_HEIGHT = _TOP + _ROWS * (_CELL[1] + _GAP) - _GAP + _MARGIN


def write_poster(report: DecodingReport, atlas: Atlas | None, path: Path) -> None:
    """Draw the figures of a decoder and write them as PNG; an atlas names what each byte does on the screen."""
    write_png(draw_poster(report, atlas), path)


def draw_poster(report: DecodingReport, atlas: Atlas | None) -> npt.NDArray[np.uint8]:
    """Draw the figures of a decoder: uint8 of shape (height, width, 3), RGB."""
    drawing = PosterImage(_WIDTH, _HEIGHT)
    title = f"{report.game.env_id}: RAM bytes that pictures determine"
    drawing.write(title, _MARGIN, 20, "Inter-SemiBold", 28, BRIGHT)
    x = _MARGIN
    for kind in KINDS:
        number = sum(one.kind == kind for one in report.bytes)
        drawing.fill(x, 84, 18, 18, COLORS[kind])
        x = 28 + drawing.write(f"{number} {kind}", x + 28, 80, "Inter-Medium", 20, SOFT)
    for one in report.bytes:
        row, column = divmod(one.byte, _COLUMNS)
        name = one.label or (_atlas_name(atlas, one.byte) if atlas else "")
        _draw_byte(drawing, _MARGIN + column * (_CELL[0] + _GAP), _TOP + row * (_CELL[1] + _GAP), one, name)
    return drawing.rgb


def _atlas_name(atlas: Atlas, byte: int) -> str:
    entry = atlas.entries[byte]
    if entry.kind == "none":
        return ""
    return f"{entry.object}: {entry.kind}" if entry.object else entry.kind


def _draw_byte(drawing: PosterImage, x: int, y: int, one: ByteReport, name: str) -> None:
    width, height = _CELL
    drawing.fill(x, y, width, height, CARD)
    drawing.fill(x, y, 6, height, COLORS[one.kind])
    faded = one.kind == "constant"
    drawing.write(str(one.byte), x + 14, y + 6, "JetBrainsMono-Bold", 19, COLORS[one.kind] if faded else BRIGHT)
    if faded:
        return
    drawing.write(f"{one.accuracy:.1%}", x + 60, y + 7, "JetBrainsMono-Medium", 17, COLORS[one.kind], width - 64)
    drawing.write(name or one.method, x + 14, y + 42, "Inter-Medium", 15, BRIGHT if name else SOFT, width - 20)
