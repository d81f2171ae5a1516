"""Poster of an atlas: the screen with its objects labeled, and a small heat map for each of the 128 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.atlas import KINDS, Atlas, Entry, Kind, Region
from tasks.arcade.atlas.build import AtlasData
from tasks.arcade.drawing.images import resize, write_png
from tasks.arcade.drawing.poster_image import BRIGHT, CARD, PAGE, SOFT, Color, PosterImage, Rgb
from tasks.arcade.drawing.text import text_coverage
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.plural_forms import pluralize

# The Okabe-Ito palette, distinguishable with color blindness; motion has a darker shade of its axis.
COLORS: dict[Kind, Color] = {
    "x": (240, 168, 48),
    "x motion": (213, 94, 0),
    "y": (86, 180, 233),
    "y motion": (38, 118, 214),
    "score": (36, 190, 140),
    "lives": (225, 128, 176),
    "timer": (240, 228, 66),
    "appearance": (196, 204, 216),
    "screen": (148, 108, 220),
    "none": (70, 78, 92),
}
_COLUMNS, _ROWS = 16, 8
_CELL = (240, 180)
_CAPTION, _GAP, _MARGIN = 36, 12, 40
_GAME = (880, 660)
_WIDTH = 2 * _MARGIN + _COLUMNS * _CELL[0] + (_COLUMNS - 1) * _GAP
_TOP = 2 * _MARGIN + _GAME[1] + 20
_HEIGHT = _TOP + _ROWS * (_CAPTION + _CELL[1] + _GAP) - _GAP + _MARGIN

_BRIGHTEST = 0.995
"""Quantile of a heat map's nonzero pixels that gets full brightness."""


def write_poster(data: AtlasData, path: Path) -> None:
    """Draw the poster of an atlas and write it as PNG."""
    write_png(draw_poster(data), path)


def draw_poster(data: AtlasData) -> Rgb:
    """Draw the poster of an atlas: uint8 of shape (height, width, 3), RGB."""
    drawing = PosterImage(_WIDTH, _HEIGHT)
    _draw_game(drawing, data)
    _draw_header(drawing, data.atlas)
    background = _gray(resize(data.frame, *_CELL))
    for entry in data.atlas.entries:
        row, column = divmod(entry.byte, _COLUMNS)
        x = _MARGIN + column * (_CELL[0] + _GAP)
        y = _TOP + row * (_CAPTION + _CELL[1] + _GAP)
        _draw_cell(drawing, x, y, entry, _heat_map(data, entry, background), data.atlas)
    return drawing.rgb


def _gray(rgb: Rgb) -> npt.NDArray[np.float64]:
    """Return the luminance of an image (BT.709), of shape (height, width, 1)."""
    gray: npt.NDArray[np.float64] = rgb @ np.array([0.2126, 0.7152, 0.0722])
    return gray[..., None]


def _heat_map(data: AtlasData, entry: Entry, background: npt.NDArray[np.float64]) -> Rgb:
    """Return a byte's heat map over the darkened screen."""
    heat = data.heat[entry.byte]
    if entry.kind == "none" or not heat.any():
        dark = np.rint(background * 0.14 + np.array(CARD) * 0.5)
        return np.broadcast_to(dark, (*background.shape[:2], 3)).astype(np.uint8)
    brightest = np.quantile(heat[heat > 0], _BRIGHTEST)
    small = np.rint(np.sqrt(np.clip(_dilated(heat) / brightest, 0, 1)) * 255).astype(np.uint8)
    glow = resize(small, *_CELL).astype(float)[..., None] / 255
    color = np.array(COLORS[entry.kind]) * (1 - glow**6 * 0.45) + 255 * glow**6 * 0.45
    return np.rint(background * 0.34 * (1 - glow) + color * glow).astype(np.uint8)


def _dilated(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the heat map dilated by a pixel, so that the smallest object stays visible on a small map."""
    wide = heat.copy()
    wide[1:] = np.maximum(wide[1:], heat[:-1])
    wide[:, 1:] = np.maximum(wide[:, 1:], wide[:, :-1])
    return wide


def _draw_cell(drawing: PosterImage, x: int, y: int, entry: Entry, heat_map: Rgb, atlas: Atlas) -> None:
    width, height = _CELL
    color, no_effect = COLORS[entry.kind], entry.kind == "none"
    drawing.fill(x, y, width, _CAPTION, CARD)
    drawing.paste(heat_map, x, y + _CAPTION)
    if no_effect:
        drawing.write(str(entry.byte), x + 14, y + 4, "JetBrainsMono-Medium", 21, COLORS["none"])
        return
    drawing.fill(x, y, 5, _CAPTION, color)
    drawing.write(str(entry.byte), x + 14, y + 4, "JetBrainsMono-Bold", 21, BRIGHT)
    label = f"{entry.object}: {entry.kind}" if entry.object else entry.kind
    drawing.write(label, x + 60, y + 6, "Inter-SemiBold", 19, color, 124)
    confidence = f"{entry.confidence:.0%}"
    drawing.write(confidence, x + width - 8 - _text_width(confidence, 16), y + 8, "JetBrainsMono-Medium", 16, SOFT)
    if entry.relation == "follows":
        drawing.write("follows", x + 10, y + _CAPTION + height - 30, "Inter-Medium", 18, color)
    if entry.region is not None and entry.kind != "screen":
        left, top, across, down = _scaled(entry.region, atlas.size, _CELL)
        drawing.outline(x + left, y + _CAPTION + top, across, down, color, 1)


def _text_width(text: str, size: int) -> int:
    return int(text_coverage(text, "JetBrainsMono-Medium", size).shape[1])


def _scaled(region: Region, size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return x, y, width and height of a region of the screen when scaled to an image of (width, height)."""
    height, width = size
    across, down = into[0] / width, into[1] / height
    left, top = int(region.x * across), int(region.y * down)
    right, bottom = round((region.x + region.width) * across), round((region.y + region.height) * down)
    return left, top, max(3, right - left), max(3, bottom - top)


def _draw_game(drawing: PosterImage, data: AtlasData) -> None:
    """Draw the enlarged screen with its objects and displays outlined and labeled."""
    atlas = data.atlas
    drawing.paste(resize(data.frame.repeat(4, axis=0).repeat(4, axis=1), *_GAME), _MARGIN, _MARGIN)
    for label, region, color in _labels(data):
        x, y, width, height = _scaled(region, atlas.size, _GAME)
        x, y = x + _MARGIN - 4, y + _MARGIN - 4
        drawing.outline(x, y, width + 8, height + 8, color, 3)
        label_width = text_coverage(label, "Inter-SemiBold", 18).shape[1] + 12
        label_x = min(x, _MARGIN + _GAME[0] - label_width)
        label_y = y - 26 if y - 26 >= _MARGIN else y + height + 8
        drawing.fill(label_x, label_y, label_width, 26, color)
        drawing.write(label, label_x + 6, label_y + 2, "Inter-SemiBold", 18, PAGE)


def _labels(data: AtlasData) -> Iterable[tuple[str, Region, Color]]:
    atlas = data.atlas
    for kind in ("score", "lives", "timer"):
        of_kind = (entry.region for entry in atlas.entries if entry.kind == kind)
        regions = [region for region in of_kind if region and _is_small(region, atlas)]
        yield from ((kind, region, COLORS[kind]) for region in _merged(regions))
    for one in atlas.objects:
        region = one.at(data.ram, atlas.size)
        is_located = one.x.byte is not None or one.y.byte is not None
        if region is not None and is_located:
            yield one.name, region, COLORS["x"] if one.x.byte is not None else COLORS["y"]


def _is_small(region: Region, atlas: Atlas) -> bool:
    return region.width * region.height < 0.1 * atlas.size[0] * atlas.size[1]


def _merged(regions: Sequence[Region]) -> list[Region]:
    """Merge regions that touch."""
    merged: list[Region] = []
    for region in regions:
        while (other := next((one for one in merged if _touch(one, region)), None)) is not None:
            merged.remove(other)
            x, y = min(other.x, region.x), min(other.y, region.y)
            right = max(other.x + other.width, region.x + region.width)
            bottom = max(other.y + other.height, region.y + region.height)
            region = Region(x=x, y=y, width=right - x, height=bottom - y)  # noqa: PLW2901 - grows until nothing touches it
        merged.append(region)
    return merged


def _touch(one: Region, other: Region) -> bool:
    return (
        one.x <= other.x + other.width
        and other.x <= one.x + one.width
        and one.y <= other.y + other.height
        and other.y <= one.y + one.height
    )


def _draw_header(drawing: PosterImage, atlas: Atlas) -> None:
    x, y = _MARGIN + _GAME[0] + 56, _MARGIN
    title = f"{atlas.game.env_id}: effect of each byte of RAM on the screen"
    drawing.write(title, x, y - 10, "Inter-SemiBold", 54, BRIGHT)
    play = "random play" if atlas.player == "random" else f"play of checkpoint {atlas.player[:12]}"
    for number, line in enumerate(
        (
            f"{atlas.perturbations:,} perturbations of single bytes in {pluralize(atlas.states, 'state')} of {play};",
            "each time the next frames were compared with the unperturbed ones.",
            "A heat map shows the pixels that a byte changes; the percentage is the confidence in the byte's kind.",
        )
    ):
        drawing.write(line, x, y + 64 + 36 * number, "Inter-Medium", 28, SOFT)
    _draw_legend(drawing, atlas, x, y + 198)
    _draw_objects(drawing, atlas, x + 1400, y + 198)


def _draw_legend(drawing: PosterImage, atlas: Atlas, x: int, y: int) -> None:
    for number, (kind, description) in enumerate(KINDS.items()):
        n = sum(entry.kind == kind for entry in atlas.entries)
        top = y + 47 * number
        drawing.fill(x, top + 5, 26, 26, COLORS[kind])
        drawing.write(f"{n:3}", x + 40, top, "JetBrainsMono-Bold", 28, BRIGHT)
        drawing.write(kind, x + 112, top, "Inter-SemiBold", 28, COLORS[kind] if kind != "none" else SOFT)
        drawing.write(description, x + 310, top, "Inter-Medium", 26, SOFT, 1070)


def _draw_objects(drawing: PosterImage, atlas: Atlas, x: int, y: int) -> None:
    names = [one.name for one in atlas.objects]
    lines = [(name, _summarize(entry for entry in atlas.entries if entry.object == name)) for name in names]
    for kind in ("score", "lives", "timer"):
        numbers = [entry.byte for entry in atlas.entries if entry.kind == kind]
        lines += [(kind, f"bytes {ranges(numbers)}")] if numbers else []
    for number, (name, summary) in enumerate(lines[:10]):
        drawing.write(name, x, y + 47 * number, "Inter-SemiBold", 28, BRIGHT)
        drawing.write(summary, x + 110, y + 47 * number, "Inter-Medium", 26, SOFT, _WIDTH - _MARGIN - x - 110)


def _summarize(entries: Iterable[Entry]) -> str:
    """Summarize the bytes of one object, e.g. `x 49,  y 54,  y (follows) 51`."""
    kinds: dict[str, list[int]] = {}
    for entry in entries:
        kind = f"{entry.kind} (follows)" if entry.relation == "follows" else entry.kind
        kinds.setdefault(kind, []).append(entry.byte)
    return ",  ".join(f"{kind} {ranges(numbers)}" for kind, numbers in sorted(kinds.items()))


def ranges(numbers: Sequence[int]) -> str:
    """Format ascending numbers as ranges, e.g. `13, 69-76`."""
    runs = []
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ", ".join(runs)


assert _COLUMNS * _ROWS == RAM_SIZE
