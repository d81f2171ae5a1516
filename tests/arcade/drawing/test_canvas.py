"""Canvas: colors, boxes, images."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.arcade.drawing.canvas import Box, Canvas, rgb_to_ycbcr


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_colors_are_converted_by_bt_709(rgb: tuple[int, int, int], ycbcr: tuple[int, int, int]) -> None:
    """The primaries' values are those of any table of BT.709 in limited range."""
    assert rgb_to_ycbcr(np.array(rgb, np.uint8)).tolist() == list(ycbcr)


def test_images_and_colors_survive_the_round_trip_to_rgb() -> None:
    canvas = Canvas(64, 48, (200, 30, 90))
    image = np.full((12, 20, 3), (10, 180, 240), np.uint8)
    canvas.paste(image, 8, 6)
    canvas.fill(Box(40, 20, 10, 8), (255, 255, 0))
    expected = np.full((48, 64, 3), (200, 30, 90), np.uint8)
    expected[6:18, 8:28] = image
    expected[20:28, 40:50] = (255, 255, 0)
    assert np.abs(canvas.to_rgb().astype(int) - expected).max() <= 3


@pytest.mark.parametrize("box", [(1, 0, 2, 2), (0, 3, 2, 2), (0, 0, 5, 2), (0, 0, 2, 7), (-2, 0, 2, 2)])
def test_odd_boxes_are_rejected(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must have even, non-negative values"):
        Box(*box)


def test_odd_canvases_and_images_are_rejected() -> None:
    with pytest.raises(ValueError, match="must have even, non-negative values"):
        Canvas(161, 210)
    with pytest.raises(ValueError, match="must have even, non-negative values"):
        Canvas(160, 210).paste(np.zeros((3, 4, 3), np.uint8), 0, 0)
