"""Text as coverage masks, set in the fonts of `tasks/arcade/drawing/fonts`."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Coverage = npt.NDArray[np.uint8]
"""Coverage of each pixel by text, 0 to 255: uint8 of shape (height, width)."""
Font = Literal["Inter-Medium", "Inter-SemiBold", "JetBrainsMono-Medium", "JetBrainsMono-Bold"]

_FONTS = Path(__file__).parent / "fonts"


@cache
def _load_font(font: Font, size: int) -> ImageFont.FreeTypeFont:
    # Every build of Pillow has the basic layout engine: text looks the same everywhere.
    return ImageFont.truetype(_FONTS / f"{font}.ttf", size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def text_coverage(text: str, font: Font, size: int) -> Coverage:
    """Return a line of text as a read-only coverage mask; its height depends on the font alone.

    Args:
        text: One line. Characters that the font lacks are drawn as its replacement glyph.
        font: Name of the font.
        size: Font size in pixels.
    """
    face = _load_font(font, size)
    ascent, descent = face.getmetrics()
    image = Image.new("L", (max(int(np.ceil(face.getlength(text))), 1), ascent + descent))
    ImageDraw.Draw(image).text((0, ascent), text, fill=255, font=face, anchor="ls")
    coverage = np.asarray(image)
    coverage.flags.writeable = False
    return coverage


def with_minus_sign(number: str) -> str:
    """Return a formatted number with the typographic minus sign, which is as wide as a plus."""
    return number.replace("-", "\N{MINUS SIGN}")


def truncate_text(text: str, font: Font, size: int, width: int) -> str:
    """Return the text, cut off with an ellipsis where it exceeds a width in pixels."""
    if text_coverage(text, font, size).shape[1] <= width:
        return text
    prefixes = (text[:n] for n in range(len(text) - 1, 0, -1))
    longest = next((prefix for prefix in prefixes if _width_with_ellipsis(prefix, font, size) <= width), "")
    return longest.rstrip() + "…"


def _width_with_ellipsis(text: str, font: Font, size: int) -> int:
    return int(text_coverage(text + "…", font, size).shape[1])
