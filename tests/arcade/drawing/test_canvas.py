"""A canvas holds what the encoder takes; a game's picture lies on it as the emulator draws it."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from tasks.arcade.drawing.canvas import Box, Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import resolve

Picture = npt.NDArray[np.uint8]


def an_emulator(game: str = "Seaquest") -> Emulator:
    emulator = Emulator(resolve(f"ALE/{game}-v5"), 1)
    emulator.reset(1)
    return emulator


def nearest(picture: Picture, height: int, width: int) -> Picture:
    """Blocks instead of pixels: what is in the middle of each of the new pixels."""
    rows = ((np.arange(height) + 0.5) * picture.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * picture.shape[1] / width).astype(int)
    return picture[rows][:, columns]


@pytest.mark.parametrize(
    ("rgb", "ycc"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_colours_are_those_of_bt_709(rgb: tuple[int, int, int], ycc: tuple[int, int, int]) -> None:
    """The primaries' values are in every table of BT.709's limited range."""
    assert rgb_to_ycbcr(np.array(rgb, np.uint8)).tolist() == list(ycc)


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
def test_every_frame_of_a_game_is_drawn_as_the_emulator_draws_it(game: str, width: int, height: int) -> None:
    """Luma is exact; color is one for every 2 x 2 pixels."""
    emulator = an_emulator(game)
    canvas = Canvas(width + 40, height + 20, (10, 20, 30))
    view = GameView(canvas, Box(20, 10, width, height), emulator.screen_size)
    ground = canvas.picture.copy()

    def compare() -> None:
        view.draw(emulator)
        wanted = rgb_to_ycbcr(nearest(emulator.screen(), height, width))
        luma, chroma = canvas.within(view.box)
        assert np.array_equal(luma, wanted[..., 0])
        if width // 160 > 2 and height >= 2 * emulator.screen_size[0]:
            assert np.array_equal(chroma, wanted[::2, ::2, 1:].transpose(2, 0, 1))

    compare()
    rng = np.random.default_rng(0)
    for _ in range(40):
        emulator.step(int(rng.integers(emulator.n_actions)), compare)
    luma, chroma = canvas.within(view.box)
    luma[:], chroma[:] = Canvas(width + 40, height + 20, (10, 20, 30), picture=ground).within(view.box)
    assert np.array_equal(canvas.picture, ground), "nothing is drawn outside its box"


def test_colours_of_a_game_that_is_not_enlarged_are_the_means_of_four_pixels() -> None:
    emulator = an_emulator("MsPacman")
    canvas = Canvas(160, 210)
    GameView(canvas, canvas.box, emulator.screen_size).draw(emulator)
    wanted = rgb_to_ycbcr(emulator.screen())[..., 1:].reshape(105, 2, 80, 2, 2).astype(float).mean(axis=(1, 3))
    assert np.abs(canvas.chroma.transpose(1, 2, 0) - wanted).max() <= 0.5


def test_the_digest_is_of_every_picture_and_its_colours() -> None:
    emulator = an_emulator("Pong")
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


def test_pictures_and_colours_come_back_as_they_were_put() -> None:
    canvas = Canvas(64, 48, (200, 30, 90))
    picture = np.full((12, 20, 3), (10, 180, 240), np.uint8)
    canvas.put(picture, 8, 6)
    canvas.fill(Box(40, 20, 10, 8), (255, 255, 0))
    wanted = np.full((48, 64, 3), (200, 30, 90), np.uint8)
    wanted[6:18, 8:28] = picture
    wanted[20:28, 40:50] = (255, 255, 0)
    assert np.abs(canvas.rgb().astype(int) - wanted).max() <= 3


@pytest.mark.parametrize("box", [(1, 0, 2, 2), (0, 3, 2, 2), (0, 0, 5, 2), (0, 0, 2, 7), (-2, 0, 2, 2)])
def test_odd_boxes_are_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="even numbers only"):
        Box(*box)


def test_odd_canvases_and_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="even numbers only"):
        Canvas(161, 210)
    with pytest.raises(ValueError, match="even numbers only"):
        Canvas(160, 210).put(np.zeros((3, 4, 3), np.uint8), 0, 0)
