"""Canvas in the encoder's pixel format.

Colors are stored as in the video: luma, and two chroma values for each block of 2 x 2 pixels (I420, BT.709, limited
range). No frame is converted as a whole; colors are, once each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.arcade.drawing.video_format import I420Frame

RgbImage = npt.NDArray[np.uint8]
"""An image or an array of colors: uint8 of shape (..., 3)."""
Plane = npt.NDArray[np.uint8]

# Luma and chroma from R, G, B in [0, 1] (ITU-R BT.709-6, items 3.2 and 3.3), scaled to the limited range of item 4.
_RGB_TO_YCBCR = np.array(
    [
        [219 * 0.2126, 219 * 0.7152, 219 * 0.0722],
        [224 * -0.2126 / 1.8556, 224 * -0.7152 / 1.8556, 224 * 0.9278 / 1.8556],
        [224 * 0.7874 / 1.5748, 224 * -0.7152 / 1.5748, 224 * -0.0722 / 1.5748],
    ]
)
_OFFSET = np.array([16.0, 128.0, 128.0])
_YCBCR_TO_RGB = np.linalg.inv(_RGB_TO_YCBCR)


def rgb_to_ycbcr(rgb: RgbImage) -> npt.NDArray[np.uint8]:
    """Return colors as Y, Cb, Cr: uint8 of shape (..., 3), as the input."""
    ycbcr: npt.NDArray[np.float64] = rgb / 255.0 @ _RGB_TO_YCBCR.T + _OFFSET
    return np.rint(ycbcr).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a canvas, in pixels. All values are even, so that no chroma block is shared.

    Raises:
        ValueError: A value is odd or negative.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if any(value % 2 or value < 0 for value in (self.x, self.y, self.width, self.height)):
            raise ValueError(f"a box on a canvas must have even, non-negative values: got {self}")


class Canvas:
    """A frame that is drawn piece by piece and persists from frame to frame.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        color: Background color: R, G, B of 0 to 255.
        frame: Existing frame to read or draw on, instead of an empty one.

    Attributes:
        box: The whole canvas.
        frame: The frame to encode: uint8 of shape (height * 3 // 2, width).
        luma: Luma plane of shape (height, width); a view.
        chroma: Chroma planes of shape (2, height / 2, width / 2); a view.

    Raises:
        ValueError: The width or the height is odd.
    """

    def __init__(
        self, width: int, height: int, color: tuple[int, int, int] = (0, 0, 0), *, frame: I420Frame | None = None
    ) -> None:
        self.box = Box(0, 0, width, height)
        self.frame: I420Frame = np.empty((height * 3 // 2, width), np.uint8) if frame is None else frame
        self.luma: Plane = self.frame[:height]
        self.chroma: Plane = self.frame[height:].reshape(2, height // 2, width // 2)
        if frame is None:
            self.fill(self.box, color)

    def fill(self, box: Box, color: tuple[int, int, int]) -> None:
        """Fill a box with a color: R, G, B of 0 to 255."""
        luma, chroma = self.planes(box)
        luma[:], *cb_cr = rgb_to_ycbcr(np.array(color, np.uint8))
        chroma[:] = np.array(cb_cr, np.uint8)[:, None, None]

    def paste(self, image: RgbImage, x: int, y: int) -> None:
        """Draw an image, uint8 of shape (height, width, 3), with its upper left corner at (x, y); all values even."""
        height, width = image.shape[:2]
        luma, chroma = self.planes(Box(x, y, width, height))
        ycbcr = rgb_to_ycbcr(image)
        luma[:] = ycbcr[..., 0]
        blocks = ycbcr[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
        chroma[:] = np.rint(blocks).astype(np.uint8).transpose(2, 0, 1)

    def planes(self, box: Box) -> tuple[Plane, Plane]:
        """Return the planes of a box as views: (height, width) and (2, height / 2, width / 2)."""
        x, y, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
        return self.luma[y:bottom, x:right], self.chroma[:, y // 2 : bottom // 2, x // 2 : right // 2]

    def to_rgb(self) -> RgbImage:
        """Return the canvas as an RGB image, uint8 of shape (height, width, 3)."""
        planes = [self.luma, *(plane.repeat(2, axis=0).repeat(2, axis=1) for plane in self.chroma)]
        rgb: npt.NDArray[np.float64] = (np.stack(planes, axis=-1) - _OFFSET) @ _YCBCR_TO_RGB.T * 255
        return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
