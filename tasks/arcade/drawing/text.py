"""Letters, and still pictures as files: the only room that knows Pillow."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Ink = npt.NDArray[np.uint8]
"""How much of each pixel a letter covers, 0 to 255: uint8 of shape (height, width)."""
Font = Literal["Inter-Medium", "Inter-SemiBold", "JetBrainsMono-Medium", "JetBrainsMono-Bold"]

_FONTS = Path(__file__).parent / "fonts"


@cache
def _font(font: Font, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout is in every build of Pillow: the same letters everywhere.
    return ImageFont.truetype(_FONTS / f"{font}.ttf", size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def letters(text: str, font: Font, size: int) -> Ink:
    """A line of text, read-only; its height is the font's, whatever the text.

    Args:
        text: one line; what the font has no sign for becomes its sign for that.
        font: one of `tasks/arcade/videos/fonts`.
        size: in pixels.
    """
    face = _font(font, size)
    ascent, descent = face.getmetrics()
    image = Image.new("L", (max(int(np.ceil(face.getlength(text))), 1), ascent + descent))
    ImageDraw.Draw(image).text((0, ascent), text, fill=255, font=face, anchor="ls")
    ink = np.asarray(image)
    ink.flags.writeable = False
    return ink


def signed(number: str) -> str:
    """A number with a proper minus sign, as wide as a plus."""
    return number.replace("-", "\N{MINUS SIGN}")


def fitting(text: str, font: Font, size: int, width: int) -> str:
    """The text, or as much of its beginning as fits into so many pixels, with an ellipsis."""
    if letters(text, font, size).shape[1] <= width:
        return text
    short = next((text[:n] for n in range(len(text) - 1, 0, -1) if _width(text[:n], font, size) <= width), "")
    return short.rstrip() + "…"


def _width(text: str, font: Font, size: int) -> int:
    return int(letters(text + "…", font, size).shape[1])


def save_png(rgb: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a picture, uint8 of shape (height, width, 3), as PNG."""
    Image.fromarray(rgb).save(path, "PNG", optimize=True)


def resized(picture: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """A picture in another size, smoothed: uint8 of shape (height, width) or (height, width, 3), as the one given."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def save_animation(pictures: Iterable[npt.NDArray[np.uint8]], path: Path, milliseconds: int) -> None:
    """Write pictures, uint8 of shape (height, width, 3), each shown so long, as an animated WebP that never ends.

    They are all kept in memory meanwhile. Nothing of them is lost: flat colors take little room.
    """
    first, *others = (Image.fromarray(rgb) for rgb in pictures)
    # Pillow's own choice, method 0, makes a file twelve times as large, and no sooner.
    how = {"lossless": True, "quality": 70, "method": 2}
    first.save(path, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=0, **how)
