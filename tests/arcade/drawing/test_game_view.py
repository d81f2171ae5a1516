"""The game's screen on a canvas, as the emulator renders it."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from tasks.arcade.drawing.canvas import Box, Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import resolve

Image = npt.NDArray[np.uint8]


def make_emulator(game: str = "Seaquest") -> Emulator:
    emulator = Emulator(resolve(f"ALE/{game}-v5"), 1)
    emulator.reset(1)
    return emulator


def resample_nearest(image: Image, height: int, width: int) -> Image:
    rows = ((np.arange(height) + 0.5) * image.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * image.shape[1] / width).astype(int)
    return image[rows][:, columns]


@pytest.mark.parametrize(
    ("game", "width", "height"),
    [
        ("Seaquest", 640, 420),
        ("Breakout", 840, 630),
        ("KingKong", 840, 630),
        ("Carnival", 480, 428),
        ("Pong", 320, 210),
    ],
)
def test_every_frame_equals_the_emulators_screen(game: str, width: int, height: int) -> None:
    """Luma is exact; chroma is shared by every 2 x 2 pixels."""
    emulator = make_emulator(game)
    canvas = Canvas(width + 40, height + 20, (10, 20, 30))
    view = GameView(canvas, Box(20, 10, width, height), emulator.screen_size)
    background = canvas.frame.copy()

    def compare() -> None:
        view.draw(emulator)
        expected = rgb_to_ycbcr(resample_nearest(emulator.screen(), height, width))
        luma, chroma = canvas.planes(view.box)
        assert np.array_equal(luma, expected[..., 0])
        if width // 160 > 2 and height >= 2 * emulator.screen_size[0]:
            assert np.array_equal(chroma, expected[::2, ::2, 1:].transpose(2, 0, 1))

    compare()
    rng = np.random.default_rng(0)
    for _ in range(40):
        emulator.step(int(rng.integers(emulator.n_actions)), compare)
    luma, chroma = canvas.planes(view.box)
    luma[:], chroma[:] = Canvas(width + 40, height + 20, (10, 20, 30), frame=background).planes(view.box)
    assert np.array_equal(canvas.frame, background), "nothing is drawn outside the box"


def test_chroma_of_an_unscaled_game_is_the_mean_of_four_pixels() -> None:
    emulator = make_emulator("MsPacman")
    canvas = Canvas(160, 210)
    GameView(canvas, canvas.box, emulator.screen_size).draw(emulator)
    expected = rgb_to_ycbcr(emulator.screen())[..., 1:].reshape(105, 2, 80, 2, 2).astype(float).mean(axis=(1, 3))
    assert np.abs(canvas.chroma.transpose(1, 2, 0) - expected).max() <= 0.5


def test_digest_covers_every_screen_and_its_colors() -> None:
    emulator = make_emulator("Pong")
    canvas = Canvas(160, 210)
    view = GameView(canvas, canvas.box, emulator.screen_size)
    digest, colors = hashlib.sha256(), np.zeros((256, 3), np.uint8)
    indices = np.empty((210, 160), np.uint8)

    def draw() -> None:
        view.draw(emulator)
        digest.update(emulator.screen_indices(indices).tobytes())
        colors[indices] = emulator.screen()

    draw()
    for action in (0, 1, 2, 3):
        emulator.step(action, draw)
    digest.update(colors.tobytes())
    assert view.digest == digest.hexdigest()
    other = GameView(Canvas(320, 420), Box(0, 0, 320, 420), emulator.screen_size)
    other.draw(emulator)
    assert other.digest != view.digest
