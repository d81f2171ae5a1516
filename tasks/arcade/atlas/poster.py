"""An atlas as one picture: the game with its things named, and a small map of the screen for each of the 128 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.build import Chart
from tasks.arcade.atlas.model import KINDS, Atlas, Entry, Kind, Region
from tasks.arcade.drawing.text import Font, fitting, letters, resized, save_png
from tasks.arcade.emulator.emulator import RAM_SIZE

Color = tuple[int, int, int]
Rgb = npt.NDArray[np.uint8]

# Okabe and Ito's colors, told apart by color-blind eyes; what drives a thing has its axis's color, darker.
COLORS: dict[Kind, Color] = {
    "x": (240, 168, 48),
    "x drive": (213, 94, 0),
    "y": (86, 180, 233),
    "y drive": (38, 118, 214),
    "score": (36, 190, 140),
    "lives": (225, 128, 176),
    "timer": (240, 228, 66),
    "look": (196, 204, 216),
    "screen": (148, 108, 220),
    "none": (70, 78, 92),
}
_PAGE: Color = (14, 17, 22)
_CARD: Color = (25, 30, 38)
_BRIGHT: Color = (234, 238, 244)
_SOFT: Color = (152, 162, 176)

_COLUMNS, _ROWS = 16, 8
_CELL = (240, 180)
_CAPTION, _GAP, _MARGIN = 36, 12, 40
_GAME = (880, 660)
_WIDTH = 2 * _MARGIN + _COLUMNS * _CELL[0] + (_COLUMNS - 1) * _GAP
_TOP = 2 * _MARGIN + _GAME[1] + 20
_HEIGHT = _TOP + _ROWS * (_CAPTION + _CELL[1] + _GAP) - _GAP + _MARGIN

_LOUDEST = 0.995
"""Quantile of a map's warm pixels that is as bright as can be."""


def write_sheet(chart: Chart, path: Path) -> None:
    """Draw an atlas and write it as PNG."""
    save_png(draw_sheet(chart), path)


def draw_sheet(chart: Chart) -> Rgb:
    """The picture of an atlas: uint8 of shape (height, width, 3), RGB."""
    sheet = _Sheet(_WIDTH, _HEIGHT)
    _draw_game(sheet, chart)
    _draw_words(sheet, chart.atlas)
    dim = _gray(resized(chart.picture, *_CELL))
    for entry in chart.atlas.entries:
        row, column = divmod(entry.byte, _COLUMNS)
        x = _MARGIN + column * (_CELL[0] + _GAP)
        y = _TOP + row * (_CAPTION + _CELL[1] + _GAP)
        _draw_cell(sheet, x, y, entry, _map(chart, entry, dim), chart.atlas)
    return sheet.rgb


class _Sheet:
    """A picture to draw on."""

    def __init__(self, width: int, height: int) -> None:
        self.rgb = np.full((height, width, 3), _PAGE, np.uint8)

    def fill(self, x: int, y: int, width: int, height: int, color: Color) -> None:
        self.rgb[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = color

    def put(self, rgb: Rgb, x: int, y: int) -> None:
        self.rgb[y : y + rgb.shape[0], x : x + rgb.shape[1]] = rgb

    def frame(self, x: int, y: int, width: int, height: int, color: Color, thick: int) -> None:
        self.fill(x, y, width, thick, color)
        self.fill(x, y + height - thick, width, thick, color)
        self.fill(x, y, thick, height, color)
        self.fill(x + width - thick, y, thick, height, color)

    def write(self, text: str, x: int, y: int, font: Font, size: int, color: Color, width: int = _WIDTH) -> int:
        """One line with its upper left corner there, cut off at a width; returns where it ends."""
        ink = letters(fitting(text, font, size, width), font, size).astype(float)[..., None] / 255
        height, across = ink.shape[:2]
        under = self.rgb[y : y + height, x : x + across]
        under[:] = np.rint(under * (1 - ink[: under.shape[0], : under.shape[1]]) + np.array(color) * ink)
        return int(x + across)


def _gray(rgb: Rgb) -> npt.NDArray[np.float64]:
    """A picture without its colors, as light as they are (BT.709), of shape (height, width, 1)."""
    gray: npt.NDArray[np.float64] = rgb @ np.array([0.2126, 0.7152, 0.0722])
    return gray[..., None]


def _map(chart: Chart, entry: Entry, dim: npt.NDArray[np.float64]) -> Rgb:
    """A byte's heat over the game's picture."""
    heat = chart.heat[entry.byte]
    if entry.kind == "none" or not heat.any():
        return np.broadcast_to(np.rint(dim * 0.14 + np.array(_CARD) * 0.5), (*dim.shape[:2], 3)).astype(np.uint8)
    loudest = np.quantile(heat[heat > 0], _LOUDEST)
    small = np.rint(np.sqrt(np.clip(_spread(heat) / loudest, 0, 1)) * 255).astype(np.uint8)
    glow = resized(small, *_CELL).astype(float)[..., None] / 255
    color = np.array(COLORS[entry.kind]) * (1 - glow**6 * 0.45) + 255 * glow**6 * 0.45
    return np.rint(dim * 0.34 * (1 - glow) + color * glow).astype(np.uint8)


def _spread(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Heat with its pixels a little larger, so that the smallest thing is still seen on a small map."""
    wide = heat.copy()
    wide[1:] = np.maximum(wide[1:], heat[:-1])
    wide[:, 1:] = np.maximum(wide[:, 1:], wide[:, :-1])
    return wide


def _draw_cell(sheet: _Sheet, x: int, y: int, entry: Entry, picture: Rgb, atlas: Atlas) -> None:
    width, height = _CELL
    color, plain = COLORS[entry.kind], entry.kind == "none"
    sheet.fill(x, y, width, _CAPTION, _CARD)
    sheet.put(picture, x, y + _CAPTION)
    if plain:
        sheet.write(str(entry.byte), x + 14, y + 4, "JetBrainsMono-Medium", 21, COLORS["none"])
        return
    sheet.fill(x, y, 5, _CAPTION, color)
    sheet.write(str(entry.byte), x + 14, y + 4, "JetBrainsMono-Bold", 21, _BRIGHT)
    words = " ".join(filter(None, [entry.kind, entry.thing and f"of {entry.thing}"]))
    sheet.write(words, x + 60, y + 6, "Inter-SemiBold", 19, color, 124)
    sure = f"{entry.sure:.0%}"
    sheet.write(sure, x + width - 8 - _length(sure, 16), y + 8, "JetBrainsMono-Medium", 16, _SOFT)
    if entry.how == "follows":
        sheet.write("follows", x + 10, y + _CAPTION + height - 30, "Inter-Medium", 18, color)
    if entry.region is not None and entry.kind != "screen":
        left, top, across, down = _scaled(entry.region, atlas.size, _CELL)
        sheet.frame(x + left, y + _CAPTION + top, across, down, color, 1)


def _length(text: str, size: int) -> int:
    return int(letters(text, "JetBrainsMono-Medium", size).shape[1])


def _scaled(region: Region, size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int, int, int]:
    """x, y, width and height of a region of the game's picture in a picture of (width, height)."""
    height, width = size
    across, down = into[0] / width, into[1] / height
    left, top = int(region.x * across), int(region.y * down)
    right, lower = round((region.x + region.width) * across), round((region.y + region.height) * down)
    return left, top, max(3, right - left), max(3, lower - top)


def _draw_game(sheet: _Sheet, chart: Chart) -> None:
    """The game's picture, large, with every thing and display that has a name framed."""
    atlas = chart.atlas
    sheet.put(resized(chart.picture.repeat(4, axis=0).repeat(4, axis=1), *_GAME), _MARGIN, _MARGIN)
    for words, region, color in _names(chart):
        x, y, width, height = _scaled(region, atlas.size, _GAME)
        x, y = x + _MARGIN - 4, y + _MARGIN - 4
        sheet.frame(x, y, width + 8, height + 8, color, 3)
        long = letters(words, "Inter-SemiBold", 18).shape[1] + 12
        label_x = min(x, _MARGIN + _GAME[0] - long)
        label_y = y - 26 if y - 26 >= _MARGIN else y + height + 8
        sheet.fill(label_x, label_y, long, 26, color)
        sheet.write(words, label_x + 6, label_y + 2, "Inter-SemiBold", 18, _PAGE)


def _names(chart: Chart) -> Iterable[tuple[str, Region, Color]]:
    atlas = chart.atlas
    for kind in ("score", "lives", "timer"):
        shown = (entry.region for entry in atlas.entries if entry.kind == kind)
        regions = [region for region in shown if region and _is_small(region, atlas)]
        yield from ((kind, region, COLORS[kind]) for region in _merged(regions))
    for thing in atlas.things:
        region = thing.at(chart.ram, atlas.size)
        told = thing.x.byte is not None or thing.y.byte is not None
        if region is not None and told:
            yield thing.name, region, COLORS["x"] if thing.x.byte is not None else COLORS["y"]


def _is_small(region: Region, atlas: Atlas) -> bool:
    return region.width * region.height < 0.1 * atlas.size[0] * atlas.size[1]


def _merged(regions: Sequence[Region]) -> list[Region]:
    """Regions that touch become one."""
    merged: list[Region] = []
    for region in regions:
        while (other := next((one for one in merged if _touch(one, region)), None)) is not None:
            merged.remove(other)
            x, y = min(other.x, region.x), min(other.y, region.y)
            right = max(other.x + other.width, region.x + region.width)
            lower = max(other.y + other.height, region.y + region.height)
            region = Region(x=x, y=y, width=right - x, height=lower - y)  # noqa: PLW2901 - it grows
        merged.append(region)
    return merged


def _touch(one: Region, other: Region) -> bool:
    return (
        one.x <= other.x + other.width
        and other.x <= one.x + one.width
        and one.y <= other.y + other.height
        and other.y <= one.y + one.height
    )


def _draw_words(sheet: _Sheet, atlas: Atlas) -> None:
    x, y = _MARGIN + _GAME[0] + 56, _MARGIN
    title = f"{atlas.game.env_id}: what each byte of RAM does on the screen"
    sheet.write(title, x, y - 10, "Inter-SemiBold", 54, _BRIGHT)
    who = "random play" if atlas.player == "random" else f"the play of checkpoint {atlas.player[:12]}"
    for number, line in enumerate(
        (
            f"Each byte was changed alone in {atlas.states} states of {who}, {atlas.pokes:,} times in all,",
            "and the next frames were compared with those of the unchanged twin.",
            "Bright are the pixels that the byte changes. At the upper right of a map: how sure its kind is.",
        )
    ):
        sheet.write(line, x, y + 64 + 36 * number, "Inter-Medium", 28, _SOFT)
    _draw_legend(sheet, atlas, x, y + 198)
    _draw_things(sheet, atlas, x + 1400, y + 198)


def _draw_legend(sheet: _Sheet, atlas: Atlas, x: int, y: int) -> None:
    for number, (kind, words) in enumerate(KINDS.items()):
        n = sum(entry.kind == kind for entry in atlas.entries)
        top = y + 47 * number
        sheet.fill(x, top + 5, 26, 26, COLORS[kind])
        sheet.write(f"{n:3}", x + 40, top, "JetBrainsMono-Bold", 28, _BRIGHT)
        sheet.write(kind, x + 112, top, "Inter-SemiBold", 28, COLORS[kind] if kind != "none" else _SOFT)
        sheet.write(words, x + 240, top, "Inter-Medium", 26, _SOFT, 1130)


def _draw_things(sheet: _Sheet, atlas: Atlas, x: int, y: int) -> None:
    named = {thing.name: [entry for entry in atlas.entries if entry.thing == thing.name] for thing in atlas.things}
    lines = [(name, _words(entries)) for name, entries in named.items()]
    for kind in ("score", "lives", "timer"):
        numbers = [entry.byte for entry in atlas.entries if entry.kind == kind]
        lines += [(kind, f"bytes {ranges(numbers)}")] if numbers else []
    for number, (name, words) in enumerate(lines[:10]):
        sheet.write(name, x, y + 47 * number, "Inter-SemiBold", 28, _BRIGHT)
        sheet.write(words, x + 110, y + 47 * number, "Inter-Medium", 26, _SOFT, _WIDTH - _MARGIN - x - 110)


def _words(entries: Iterable[Entry]) -> str:
    """What the bytes of one thing do: `x 49, y 54, y follows 51`."""
    kinds: dict[str, list[int]] = {}
    for entry in entries:
        kinds.setdefault(f"{entry.kind} follows" if entry.how == "follows" else entry.kind, []).append(entry.byte)
    return ",  ".join(f"{words} {ranges(numbers)}" for words, numbers in sorted(kinds.items()))


def ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in short: `13, 69-76`."""
    runs = []
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ", ".join(runs)


assert _COLUMNS * _ROWS == RAM_SIZE
