"""Images with text of the 128 bytes of RAM: what posters are drawn on, and the colors that they share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.arcade.drawing.text import Font, text_coverage, truncate_text

Color = tuple[int, int, int]
Rgb = npt.NDArray[np.uint8]

PAGE: Color = (14, 17, 22)
CARD: Color = (25, 30, 38)
BRIGHT: Color = (234, 238, 244)
SOFT: Color = (152, 162, 176)


class PosterImage:
    """An image of the page's color with drawing primitives.

    Attributes:
        rgb: The image, uint8 of shape (height, width, 3).
    """

    def __init__(self, width: int, height: int) -> None:
        self.rgb = np.full((height, width, 3), PAGE, np.uint8)

    def fill(self, x: int, y: int, width: int, height: int, color: Color) -> None:
        self.rgb[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = color

    def paste(self, rgb: Rgb, x: int, y: int) -> None:
        self.rgb[y : y + rgb.shape[0], x : x + rgb.shape[1]] = rgb

    def outline(self, x: int, y: int, width: int, height: int, color: Color, thickness: int) -> None:
        self.fill(x, y, width, thickness, color)
        self.fill(x, y + height - thickness, width, thickness, color)
        self.fill(x, y, thickness, height, color)
        self.fill(x + width - thickness, y, thickness, height, color)

    def write(self, text: str, x: int, y: int, font: Font, size: int, color: Color, width: int | None = None) -> int:
        """Write a line of text with its upper left corner at (x, y), truncated to a width; return its right end.

        The default width is that of the image.
        """
        text = truncate_text(text, font, size, width or self.rgb.shape[1])
        ink = text_coverage(text, font, size).astype(float)[..., None] / 255
        height, across = ink.shape[:2]
        under = self.rgb[y : y + height, x : x + across]
        under[:] = np.rint(under * (1 - ink[: under.shape[0], : under.shape[1]]) + np.array(color) * ink)
        return int(x + across)
