"""Any composed picture becomes a video, with or without sound; what is heard is in step with what is seen."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
from helpers.episodes import random_play

from tasks.arcade.drawing.canvas import Box, Canvas
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.drawing.mp4_encoder import Mp4Encoder
from tasks.arcade.drawing.video_format import VideoError, VideoFormat
from tasks.arcade.emulator.emulator import SAMPLES_PER_FRAME, Emulator
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import emulator_for_trace, replay
from tasks.arcade.video.render import render_video

RATE = 48_000


def heard(path: Path) -> npt.NDArray[np.float32]:
    """The video's sound, 48,000 samples a second."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "f32le", "-ac", "1"]
    raw = subprocess.run([*command, "-ar", str(RATE), "pipe:1"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32)


def test_a_composed_video_shows_what_was_put_on_the_canvas(tmp_path: Path) -> None:
    canvas = Canvas(320, 180, (12, 14, 20))
    with Mp4Encoder(tmp_path / "video.mp4", VideoFormat(320, 180, Fraction(25)), {"title": "two squares"}) as encoder:
        for number in range(10):
            canvas.fill(Box(20 * number, 40, 20, 20), (240, 240, 240))
            encoder.write(canvas.picture)
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        assert (decoder.shown.width, decoder.shown.height, decoder.shown.rate) == (320, 180, 25)
        lit = [int((picture[40:60] > 128).sum()) for picture in decoder]
    assert lit == [400 * number for number in range(1, 11)]


def test_a_click_is_heard_when_its_picture_is_seen(tmp_path: Path) -> None:
    """Of 300 frames one is white and loud."""
    canvas, samples = Canvas(64, 64), 512
    form = VideoFormat(64, 64, Fraction(30_679, samples), samples=samples)
    with Mp4Encoder(tmp_path / "video.mp4", form, {}) as encoder:
        for number in range(300):
            loud = number == 200
            canvas.fill(canvas.box, (255, 255, 255) if loud else (0, 0, 0))
            sound = np.full(samples, 128, np.uint8)
            sound[::2] += 100 * loud
            encoder.write(canvas.picture, sound)
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        white = [number for number, picture in enumerate(decoder) if picture[32, 32] > 128]
    sound = np.abs(heard(tmp_path / "video.mp4"))
    frames = np.flatnonzero(sound > 0.1)[[0, -1]] / RATE * 30_679 / samples
    assert white == [200]
    assert frames == pytest.approx([200, 201], abs=0.25)


@pytest.mark.parametrize("game", ["Pong", "KingKong"])
def test_a_games_first_and_last_sound_are_heard_within_a_frame_of_when_the_emulator_makes_them(
    game: str, tmp_path: Path
) -> None:
    trace, made = random_play(f"ALE/{game}-v5", 200), tmp_path / "video.mp4"
    fps = render_video(trace, made).fps
    emulator, sounds = emulator_for_trace(trace, sound=True), list[npt.NDArray[np.uint8]]()
    for _ in replay(trace, emulator=emulator, on_frame=lambda: sounds.append(emulator.sound().copy())):
        pass
    ours, theirs = np.concatenate(sounds).astype(np.float64) - 128, heard(made)
    assert len(theirs) / RATE == pytest.approx(len(sounds) / fps, abs=2 / fps), "as long as the picture"
    wanted = np.flatnonzero(ours)[[0, -1]] / SAMPLES_PER_FRAME
    found = np.flatnonzero(np.abs(theirs) > 0.1 * np.abs(theirs).max())[[0, -1]] / RATE * fps
    assert wanted[1] - wanted[0] > 60, "there is something to hear, for a while"
    assert np.abs(found - wanted).max() < 1, "frames"
    at = (np.arange(len(theirs)) / RATE * fps * SAMPLES_PER_FRAME).astype(int).clip(0, len(ours) - 1)
    assert np.corrcoef(ours[at], theirs)[0, 1] > 0.9, "and it sounds alike"


def test_sound_changes_nothing_in_the_game() -> None:
    trace = random_play("ALE/Breakout-v5", 300)
    silent, loud = emulator_for_trace(trace), emulator_for_trace(trace, sound=True)
    for one, other in zip(replay(trace, emulator=silent), replay(trace, emulator=loud), strict=True):
        assert (one.digest, one.reward, one.frame) == (other.digest, other.reward, other.frame)
        assert (silent.screen() == loud.screen()).all()


def test_a_start_is_silent_whatever_was_heard_before() -> None:
    emulator = Emulator(resolve("ALE/KingKong-v5"), 1, sound=True)
    for _ in range(2):
        emulator.reset()
        assert (emulator.sound() == 128).all()
        emulator.step(0)
        assert (emulator.sound() != 128).any()


@pytest.mark.parametrize("name", ["a:b.mp4", "http:x.mp4", "-x.mp4", "$(touch x).mp4", "%03d.mp4", "concat:x|y.mp4"])
def test_a_videos_name_is_a_files_whatever_it_looks_like(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Mp4Encoder(Path(name), VideoFormat(64, 64, Fraction(60)), {}) as encoder:
        encoder.write(Canvas(64, 64).picture)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Mp4Decoder(Path(name)) as decoder:
        assert len(list(decoder)) == 1


@pytest.mark.parametrize("size", [(161, 210), (160, 211), (0, 2)])
def test_an_odd_picture_is_refused_before_anything_is_written(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=rf"video.mp4: a video's width and height are even: got {size[0]}x{size[1]}"):
        Mp4Encoder(tmp_path / "video.mp4", VideoFormat(*size, Fraction(60)), {})
    assert list(tmp_path.iterdir()) == []


def test_a_picture_or_a_sound_of_another_form_is_refused_and_no_half_video_is_left(tmp_path: Path) -> None:
    form, canvas = VideoFormat(64, 64, Fraction(60), samples=512), Canvas(64, 64)
    for picture, sound in [
        (Canvas(64, 62).picture, np.zeros(512, np.uint8)),
        (canvas.picture, None),
        (canvas.picture, np.zeros(511, np.uint8)),
    ]:
        with (
            pytest.raises(ValueError, match=r"frame 1 is not of the video's form"),
            Mp4Encoder(tmp_path / "video.mp4", form, {}) as encoder,
        ):
            encoder.write(canvas.picture, np.zeros(512, np.uint8))
            encoder.write(picture, sound)
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_a_frame_is_an_error(tmp_path: Path) -> None:
    path, form = tmp_path / "video.mp4", VideoFormat(64, 64, Fraction(60))
    with pytest.raises(VideoError, match=r"video\.mp4: it has no pictures"), Mp4Encoder(path, form, {}):
        pass
    assert list(tmp_path.iterdir()) == []
