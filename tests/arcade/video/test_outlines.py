"""Outlines surround the objects that salient bytes move, and are verified against the list in the embedded trace."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers.episodes import ENDING, network_checkpoint

from tasks.arcade.atlas.atlas import Atlas, Axis, ScreenPosition
from tasks.arcade.atlas.build import assemble_atlas
from tasks.arcade.atlas.perturb import PerturbationSettings, perturb_play
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.canvas import Box, Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.game_view import GameView, Outline
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.drawing.widgets import SALIENT
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import play
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.video.embedded_trace import EmbeddedTrace, embed_trace, read_embedded_trace
from tasks.arcade.video.outlines import Outlines
from tasks.arcade.video.panel import GAME, HEIGHT, WIDTH, Caption, PanelRenderer
from tasks.arcade.video.render import render_video
from tasks.arcade.video.verify import verify_frames

PONG = resolve("ALE/Pong-v5")
STEPS = 60
BALL, PADDLE = (49, 54), 51
CAPTION = Caption("title", "details")
Recorded = tuple[Trace, Path, EmbeddedTrace]


@pytest.fixture(scope="module")
def pong() -> Atlas:
    result = perturb_play(PerturbationSettings(game=PONG, seed=0, steps=800, states=14))
    return assemble_atlas([result], PONG, seed=0, player="random").atlas


def checkpoint_observing(*observed: int) -> Checkpoint:
    """Return a checkpoint whose decisions depend on these bytes alone."""
    checkpoint = network_checkpoint("ALE/Pong-v5", "ppo")
    masked = np.ones(128, np.bool_)
    masked[list(observed)] = False
    weights = {key: array.copy() for key, array in checkpoint.weights.items()}
    for array in weights.values():
        if array.ndim == 2 and array.shape[1] == 128:
            array[:, masked] = 0
    return replace(checkpoint, weights=weights)


def record(observed: tuple[int, ...], atlas: Atlas | None, path: Path) -> Recorded:
    checkpoint = checkpoint_observing(*observed)
    trace = play(
        checkpoint.agent(),
        PONG,
        3,
        action_seed=4,
        deterministic=False,
        max_steps=STEPS,
        checkpoint_step=checkpoint.step,
    )
    render_video(trace, path, partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION, atlas=atlas), sound=False)
    return trace, path, read_embedded_trace(path)[0]


@pytest.fixture(scope="module")
def ball(pong: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(BALL, pong, tmp_path_factory.mktemp("ball") / "video.mp4")


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(BALL, None, tmp_path_factory.mktemp("without") / "video.mp4")


def outlines_of(embedded: EmbeddedTrace) -> Outlines:
    assert embedded.outlines is not None
    return embedded.outlines


def extent(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a mask."""
    (rows,), (columns,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def test_the_balls_outline_surrounds_the_ball_in_the_decoded_frames(ball: Recorded) -> None:
    """Found by color alone: the only white object in the field is inside the blue outline."""
    _, path, embedded = ball
    field = Box(GAME.x, GAME.y + 3 * 36, GAME.width, 3 * 156)
    blue = rgb_to_ycbcr(np.array(SALIENT, np.uint8))
    compared = 0
    with Mp4Decoder(path) as decoder:
        for index, frame in enumerate(islice(decoder, embedded.trace.frames + 1)):
            luma, chroma = Canvas(WIDTH, HEIGHT, frame=frame).planes(field)
            white = (luma > 200) & (chroma[1].repeat(2, axis=0).repeat(2, axis=1) < 140)
            lines = (np.abs(chroma[0].astype(int) - int(blue[1])) < 24).repeat(2, axis=0).repeat(2, axis=1)
            outlined = any(strength == 5 for _, strength in outlines_of(embedded).steps[max(index - 1, 0) // 4])
            if not outlined or not white.any() or extent(white)[1] < 12:
                continue
            (left, top, right, bottom), (x, y, end_x, end_y) = extent(lines), extent(white)
            # The ball moves by a pixel or two of the game while the frame is drawn: one is 5.25 x 3 of the video.
            assert abs((left + right) - (x + end_x)) / 2 <= 12, index
            assert abs((top + bottom) - (y + end_y)) / 2 <= 10, index
            assert right - left < 40 and bottom - top < 40, "and it surrounds nothing else"
            compared += 1
    assert compared > STEPS


def test_the_ball_is_not_outlined_if_the_policy_observes_the_paddle(pong: Atlas, tmp_path: Path) -> None:
    _, _, embedded = record((PADDLE,), pong, tmp_path / "video.mp4")
    (place,) = {embedded.outlines.places[number] for step in outlines_of(embedded).steps for number, _ in step}  # type: ignore[union-attr]
    region = pong.entries[PADDLE].region
    assert region is not None
    assert abs(place.x.offset - (region.x + region.width / 2)) < 4, "at the right, where the player's paddle is"
    assert place.y.byte in (51, 60)


def test_a_video_with_outlines_is_verified_and_has_the_screen_digest_of_one_without(
    ball: Recorded, without: Recorded
) -> None:
    trace, path, embedded = ball
    result = verify_frames(path)
    assert result.ok, result.message
    assert result.frames_checked == trace.frames + 1 + ENDING
    _, plain, other = without
    assert other.outlines is None and other.pictures == embedded.pictures
    data = plain.read_bytes()
    assert b"outlines" not in zlib.decompress(data[data.rindex(b"uuid") + 20 :]), "as in videos without outlines"


def with_outlines(path: Path, to: Path, outlines: Outlines | None) -> Path:
    """Return a copy of a video whose embedded trace lists other outlines."""
    data, embedded = path.read_bytes(), read_embedded_trace(path)[0]
    to.write_bytes(data[: data.rindex(b"uuid") - 4])
    embed_trace(to, embedded.model_copy(update={"outlines": outlines}))
    return to


def first_outlined(outlines: Outlines) -> int:
    return next(step for step, outlined in enumerate(outlines.steps) if outlined)


def moved(place: ScreenPosition) -> ScreenPosition:
    return place.model_copy(update={"x": place.x.model_copy(update={"offset": place.x.offset + 4})})


def test_another_list_of_outlines_is_detected_where_it_differs_first(ball: Recorded, tmp_path: Path) -> None:
    _, path, embedded = ball
    real = outlines_of(embedded)
    at = first_outlined(real)
    last = max(step for step, outlined in enumerate(real.steps) if outlined)
    strong = next(step for step, outlined in enumerate(real.steps) if outlined and outlined[0][1] == 5)
    weaker = (((real.steps[strong][0][0], 2), *real.steps[strong][1:]), *real.steps[strong + 1 :])
    others = {
        "none": (None, at),
        "one missing": (real.model_copy(update={"steps": (*real.steps[:last], (), *real.steps[last + 1 :])}), last),
        "one weaker": (real.model_copy(update={"steps": (*real.steps[:strong], *weaker)}), strong),
        "elsewhere": (real.model_copy(update={"places": tuple(map(moved, real.places))}), at),
    }
    for name, (outlines, step) in others.items():
        result = verify_frames(with_outlines(path, tmp_path / "other.mp4", outlines))
        frame = 4 * step + 1 if step else 0
        assert (result.ok, result.first_frame) == (False, frame), name
        assert "differs from the emulator's screen" in result.message


def test_missing_outlines_are_detected(ball: Recorded, without: Recorded, tmp_path: Path) -> None:
    result = verify_frames(with_outlines(without[1], tmp_path / "other.mp4", ball[2].outlines))
    assert not result.ok and result.first_frame is not None


FAR: dict[str, Any] = {"byte": 1, "scale": 1e300, "offset": 1e300, "extent": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "plain"}, "a plain video has no outlines"),
        ({"outlines": {"places": [], "steps": [[]]}}, "have different numbers of steps"),
        ({"outlines": {"places": [], "steps": [[[0, 5]]] * STEPS}}, "an unknown place"),
        ({"outlines": {"places": [], "steps": [[[0, 6]]] * STEPS}}, "less than or equal to 5"),
        ({"outlines": {"places": [], "steps": [[[0, 5]] * 4] * STEPS}}, "at most 3"),
        ({"outlines": {"places": [{"x": FAR, "y": FAR}], "steps": [[[0, 5]]] * STEPS}}, "less than or equal to"),
    ],
    ids=["plain", "steps", "places", "strength", "many", "far"],
)
def test_an_invalid_list_of_outlines_is_an_error_of_one_line(
    changes: dict[str, Any], message: str, ball: Recorded, tmp_path: Path
) -> None:
    _, path, embedded = ball
    data, changed = path.read_bytes(), tmp_path / "video.mp4"
    at = data.rindex(b"uuid")
    packed = zlib.compress(json.dumps(json.loads(embedded.model_dump_json(by_alias=True)) | changes).encode())
    changed.write_bytes(data[: at - 4] + (24 + len(packed)).to_bytes(4, "big") + data[at : at + 20] + packed)
    with pytest.raises(TraceError, match=message) as caught:
        read_embedded_trace(changed)
    assert "\n" not in str(caught.value)


def test_outlines_are_erased_and_do_not_affect_the_digest() -> None:
    emulator = Emulator(resolve("ALE/Seaquest-v5"), 1)
    canvases = [Canvas(WIDTH, HEIGHT) for _ in range(2)]
    view, bare = (GameView(canvas, GAME, emulator.screen_size) for canvas in canvases)
    rng = np.random.default_rng(0)
    differing = 0

    def draw() -> None:
        view.draw(emulator)
        bare.draw(emulator)

    emulator.reset(1)
    for step in range(60):
        x, y = int(rng.integers(150)), int(rng.integers(200))
        outlines = [Outline(x, y, 10, 10, 0.6), Outline(y // 2, x, 30, 8, 1.0)][: step % 3]
        view.outline(outlines, SALIENT)
        emulator.step(int(rng.integers(emulator.n_actions)), draw)
        differs = canvases[0].frame != canvases[1].frame
        assert differs.any() == bool(outlines)
        near = np.zeros(differs.shape, np.bool_)
        for outline in outlines:
            top, left = GAME.y + 3 * outline.y, GAME.x + outline.x * 21 // 4
            near[top - 8 : top + 3 * outline.height + 9, left - 8 : left + outline.width * 21 // 4 + 10] = True
        assert not (differs & ~near)[:HEIGHT].any(), "luma changes only near an outline"
        differing += int(differs.any())
    assert differing > 30
    assert view.digest == bare.digest


def test_a_position_follows_the_ram_or_is_constant() -> None:
    ram = np.zeros(128, np.uint8)
    ram[49] = 100
    still = Axis(byte=None, scale=0, offset=20, extent=8)
    region = ScreenPosition(x=Axis(byte=49, scale=0.5, offset=10, extent=4), y=still).at(ram, (210, 160))
    assert region is not None
    assert (region.x, region.y, region.width, region.height) == (58, 16, 4, 8)
    gone = ScreenPosition(x=Axis(byte=49, scale=4096, offset=0, extent=4), y=still)
    assert gone.at(ram, (210, 160)) is None
