"""Stills and animations, read back by imageio."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np

from tasks.arcade.drawing.images import resize, write_animation, write_png


def test_a_png_is_lossless(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    write_png(image, tmp_path / "image.png")
    assert np.array_equal(iio.imread(tmp_path / "image.png"), image)


def test_an_animation_is_lossless_and_endless(tmp_path: Path) -> None:
    frames = [np.full((20, 30, 3), value, np.uint8) for value in (0, 90, 200)]
    write_animation(iter(frames), tmp_path / "animation.webp", 50)
    read = iio.imread(tmp_path / "animation.webp", index=..., plugin="pillow")
    assert np.array_equal(read[..., :3], frames)
    assert iio.immeta(tmp_path / "animation.webp", plugin="pillow")["loop"] == 0
    assert (tmp_path / "animation.webp").stat().st_size < 500


def test_an_image_is_resized(tmp_path: Path) -> None:
    image = np.full((10, 20, 3), 77, np.uint8)
    assert np.array_equal(resize(image, 40, 30), np.full((30, 40, 3), 77, np.uint8))
