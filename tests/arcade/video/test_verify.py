"""A video is proved from its file alone: one picture that is another, one byte that is another, and it is not proved."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from helpers.episodes import write_random_checkpoint

from tasks.arcade.checkpoints.checkpoint import read_checkpoint
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.drawing.mp4_encoder import Mp4Encoder
from tasks.arcade.drawing.video_format import I420Frame, VideoError
from tasks.arcade.emulator.emulator import Emulator, Ram, action_names
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import play
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.policies.agent import ActionSelector
from tasks.arcade.video.embedded_trace import embed_trace, file_digest, read_embedded_trace
from tasks.arcade.video.panel import Caption, PanelRenderer
from tasks.arcade.video.render import PlainRenderer, RenderedVideo, render_video, video_format
from tasks.arcade.video.verify import FrameVerification, verify_frames

PONG = resolve("ALE/Pong-v5")
STEPS = 30
Made = tuple[Trace, Path, RenderedVideo]


class Still:
    n_actions = len(action_names(PONG))

    def start_episode(self) -> ActionSelector:
        return self.decide

    def decide(self, ram: Ram, previous: Ram, uniform: float | None) -> int:
        return 0


@pytest.fixture(scope="module")
def pong(tmp_path_factory: pytest.TempPathFactory) -> Made:
    trace = play(Still(), PONG, 7, action_seed=8, deterministic=False, max_steps=STEPS, checkpoint_step=1)
    path = tmp_path_factory.mktemp("videos") / "pong.mp4"
    return trace, path, render_video(trace, path)


@pytest.fixture(scope="module")
def beside_a_panel(pong: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("panels")
    write_random_checkpoint("ALE/Pong-v5", folder / "checkpoint")
    look = partial(PanelRenderer, checkpoint=read_checkpoint(folder / "checkpoint"), caption=Caption("title", "details"))
    return pong[0], folder / "panel.mp4", render_video(pong[0], folder / "panel.mp4", look)


def forged(path: Path, to: Path, forge: Callable[[list[I420Frame]], list[I420Frame]], **changes: object) -> FrameVerification:
    """What is said of a video whose pictures are others, encoded as ramreel does, with its own trace in it."""
    mark, _ = read_embedded_trace(path)
    with Mp4Decoder(path) as decoder:
        pictures = [picture.copy() for picture in decoder]
    emulator = Emulator(mark.trace.game)
    look = PlainRenderer(emulator)
    canvas = look.canvas if mark.kind == "plain" else type(look.canvas)(mark.width, mark.height)
    form = video_format(canvas, emulator, look.pixel if mark.kind == "plain" else look.pixel / look.pixel, sound=False)
    with Mp4Encoder(to, form, {}) as encoder:
        for picture in forge(pictures):
            encoder.write(picture)
    embed_trace(to, mark.model_copy(update={"file": file_digest(to), **changes}))
    return verify_frames(to)


def swapped(one: int, other: int, pictures: list[I420Frame]) -> list[I420Frame]:
    pictures[one], pictures[other] = pictures[other], pictures[one]
    return pictures


def painted(number: int, by: int, pictures: list[I420Frame]) -> list[I420Frame]:
    pictures[number][300:308, 300:316] += np.uint8(by)
    return pictures


def test_a_video_is_proved_from_its_file_alone(pong: Made) -> None:
    trace, path, made = pong
    mark, untouched = read_embedded_trace(path)
    assert untouched
    assert mark.trace == trace
    proof = verify_frames(path)
    assert proof.ok, proof.what
    assert proof.frames_checked == made.frames == trace.frames + 1
    assert proof.exact, "every bit of every picture"


def test_of_a_video_with_a_panel_the_game_is_proved(beside_a_panel: Made) -> None:
    proof = verify_frames(beside_a_panel[1])
    assert (proof.ok, proof.exact, proof.frames_checked) == (True, False, 4 * STEPS + 1)


def test_a_video_made_again_shows_the_same_pictures_to_the_bit(pong: Made, tmp_path: Path) -> None:
    trace, path, _ = pong
    render_video(trace, tmp_path / "again.mp4")
    with Mp4Decoder(path) as one, Mp4Decoder(tmp_path / "again.mp4") as other:
        pictures = [list(map(np.copy, decoder)) for decoder in (one, other)]
    assert len(pictures[0]) == trace.frames + 1
    assert all(np.array_equal(*pair) for pair in zip(*pictures, strict=True))
    assert (tmp_path / "again.mp4").read_bytes() == path.read_bytes(), "and every other byte is the same as well"


@pytest.mark.parametrize("kind", ["plain", "panel"])
def test_two_pictures_that_change_places_are_found_and_named(
    kind: str, pong: Made, beside_a_panel: Made, tmp_path: Path
) -> None:
    """The opponent's paddle moves from one to the other."""
    path = (pong if kind == "plain" else beside_a_panel)[1]
    proof = forged(path, tmp_path / "video.mp4", partial(swapped, 80, 100))
    assert (proof.ok, proof.first_frame, proof.step) == (False, 80, 20)
    assert "of 255 from what the emulator draws" in proof.what
    assert proof.what.endswith("in frame 80, step 20")


@pytest.mark.parametrize("kind", ["plain", "panel"])
def test_a_picture_that_was_painted_over_is_found_and_named(
    kind: str, pong: Made, beside_a_panel: Made, tmp_path: Path
) -> None:
    path = (pong if kind == "plain" else beside_a_panel)[1]
    proof = forged(path, tmp_path / "video.mp4", partial(painted, 37, 60))
    assert (proof.ok, proof.first_frame, proof.step) == (False, 37, 10)


def test_what_nobody_would_see_is_found_to_the_bit(pong: Made, tmp_path: Path) -> None:
    proof = forged(pong[1], tmp_path / "video.mp4", partial(painted, 37, 6))
    assert not proof.ok
    assert proof.first_frame is not None and proof.first_frame <= 37
    assert "not to the bit" in proof.what


def test_by_another_ffmpeg_a_video_is_proved_within_the_tolerance(pong: Made, tmp_path: Path) -> None:
    proof = forged(pong[1], tmp_path / "video.mp4", lambda pictures: pictures, ffmpeg="4.2 of somebody else")
    assert (proof.ok, proof.exact) == (True, False)


def test_pictures_that_are_left_out_or_too_many_are_found(pong: Made, tmp_path: Path) -> None:
    short = forged(pong[1], tmp_path / "short.mp4", lambda pictures: pictures[:-1])
    assert (short.ok, short.first_frame, short.step) == (False, 4 * STEPS, STEPS)
    assert "ends before" in short.what
    long = forged(pong[1], tmp_path / "long.mp4", lambda pictures: [*pictures, pictures[-1]])
    assert (long.ok, long.first_frame) == (False, 4 * STEPS + 1)
    assert "goes on after" in long.what


def test_another_speed_or_size_is_found(pong: Made, tmp_path: Path) -> None:
    mark, _ = read_embedded_trace(pong[1])
    for options, what in [
        (["-r", "30"], "30.00 frames a second, not at 59.92"),
        (["-vf", "scale=320:210"], "320x210 (pixels 7/8), not at 640x420 (pixels 7/8)"),
        (["-vf", "setsar=1"], "640x420 (pixels 1), not at 640x420 (pixels 7/8)"),
    ]:
        changed = tmp_path / "video.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-i", str(pong[1])]
        subprocess.run([*command, *options, "-c:v", "libx264", "-qp", "18", str(changed)], check=True)
        embed_trace(changed, mark.model_copy(update={"file": file_digest(changed)}))
        proof = verify_frames(changed)
        assert not proof.ok
        assert what in proof.what


def test_another_digest_of_what_was_drawn_is_found(pong: Made, tmp_path: Path) -> None:
    proof = forged(pong[1], tmp_path / "video.mp4", lambda pictures: pictures, pictures="0" * 64)
    assert not proof.ok
    assert "the emulator draws other pictures here" in proof.what


def test_a_byte_that_was_changed_is_found(pong: Made, tmp_path: Path) -> None:
    data = bytearray(pong[1].read_bytes())
    data[data.index(b"ramreel: seed")] ^= 1
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(data)
    proof = verify_frames(changed)
    assert not proof.ok
    assert "changed after the video was made" in proof.what


def test_a_video_of_somebody_else_is_named(pong: Made, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(pong[1]), "-c", "copy", str(other)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(TraceError, match="no trace in it"):
        verify_frames(other)


def marked(path: Path, content: bytes, tmp_path: Path) -> Path:
    """A video's file with another mark."""
    data = path.read_bytes()
    at = data.rindex(b"uuid") - 4
    changed = tmp_path / "video.mp4"
    box = data[at + 4 : at + 24] + content
    changed.write_bytes(data[:at] + (len(box) + 4).to_bytes(4, "big") + box)
    return changed


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"nothing", "its trace is damaged"),
        (b"", "no trace in it"),
        (zlib.compress(b"[]"), "its trace makes no sense"),
        (zlib.compress(b'{"schema": 99}'), "schema 99; this version of ramreel reads up to"),
        (zlib.compress(b" " * 65 * 1024**2), "its trace is damaged"),
    ],
    ids=["no zip", "nothing", "no mark", "newer", "too large"],
)
def test_a_mark_that_is_none_is_told_in_one_line(content: bytes, what: str, pong: Made, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=what) as caught:
        read_embedded_trace(marked(pong[1], content, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_or_no_video_is_told_in_one_line(pong: Made, tmp_path: Path) -> None:
    mark, _ = read_embedded_trace(pong[1])
    for content in (b"", b"\0\0\0\1ftyp", b"\0\0\0\0ftyp" * 9, pong[1].read_bytes()[:5000]):
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(content)
        with pytest.raises(TraceError, match="no trace in it"):
            verify_frames(broken)
    embed_trace(broken, mark)
    with pytest.raises((TraceError, VideoError)) as caught:
        verify_frames(broken)
    assert "\n" not in str(caught.value)
    with pytest.raises(TraceError, match="there is no video"):
        read_embedded_trace(tmp_path / "missing.mp4")
