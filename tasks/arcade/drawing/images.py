"""Images as files, by imageio, and resizing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt
from PIL import Image

from tasks.arcade.drawing.canvas import RgbImage


def write_png(rgb: RgbImage, path: Path) -> None:
    """Write an image, uint8 of shape (height, width, 3), as PNG."""
    iio.imwrite(path, rgb, plugin="pillow", extension=".png", optimize=True)


def encode_png(rgb: RgbImage) -> bytes:
    """Return an image, uint8 of shape (height, width, 3), as PNG."""
    return bytes(iio.imwrite("<bytes>", rgb, plugin="pillow", extension=".png", optimize=True))


def write_animation(frames: Iterable[RgbImage], path: Path, milliseconds: int) -> None:
    """Write an endless, lossless animated WebP; all frames are kept in memory.

    Args:
        frames: Frames, uint8 of shape (height, width, 3).
        path: The file.
        milliseconds: Duration of each frame.
    """
    # Lossless suits flat colors. Pillow's default, method 0, is no faster and its file twelve times as large.
    options: dict[str, Any] = {"lossless": True, "quality": 70, "method": 2, "duration": milliseconds, "loop": 0}
    iio.imwrite(path, list(frames), plugin="pillow", extension=".webp", **options)


def resize(image: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return an image resampled to another size (Lanczos).

    Args:
        image: uint8 of shape (height, width) or (height, width, 3).
        width: New width in pixels.
        height: New height in pixels.
    """
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
