"""Frames, sound and format of a video, and the error raised when a video cannot be written or read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from tasks.arcade.errors import RamreelError

I420Frame = npt.NDArray[np.uint8]
"""A frame in the encoder's pixel format (I420, BT.709, limited range): the luma plane followed by the two quarter-size
chroma planes, uint8 of shape (height * 3 // 2, width), C order. `tasks.arcade.drawing.canvas` draws such frames."""
AudioSamples = npt.NDArray[np.uint8]
"""Unsigned 8-bit mono samples, 128 is silence: uint8 of shape (n,)."""


class VideoError(RamreelError):
    """A video could not be written or read. No file is left behind; the message is one line and says why."""


Encoding = Literal[1, 2]
"""Version of the encoder's settings. A plain video is verified by encoding it again as it was encoded: settings in use
never change, they get a new version."""
ENCODING: Encoding = 2
"""Version for new videos."""


@dataclass(frozen=True)
class VideoFormat:
    """Format of a video to encode.

    Attributes:
        width: Width in pixels, even.
        height: Height in pixels, even.
        frame_rate: Frames per second.
        sample_aspect_ratio: Displayed width of a pixel divided by its height (H.264, Annex E).
        samples_per_frame: Sound samples per frame; 0 for a silent video.
        compact: Compress harder, at a lower speed, for pages that embed many videos.
        encoding: Version of the encoder's settings, unless `compact`.
        coarse_region: x, y, width and height of the part of the frame that needs fewer bits, in `encoding` 2 and later.
    """

    width: int
    height: int
    frame_rate: Fraction
    sample_aspect_ratio: Fraction = Fraction(1)
    samples_per_frame: int = 0
    compact: bool = False
    encoding: Encoding = ENCODING
    coarse_region: tuple[int, int, int, int] | None = None
