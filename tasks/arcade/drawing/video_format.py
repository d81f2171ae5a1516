"""Frames, sound and format of a video, and the error raised when a video cannot be written or read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

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
    """

    width: int
    height: int
    frame_rate: Fraction
    sample_aspect_ratio: Fraction = Fraction(1)
    samples_per_frame: int = 0
    compact: bool = False
