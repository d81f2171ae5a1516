"""Frames and sound become an MP4, in sync, complete or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
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


def decode_audio(path: Path) -> npt.NDArray[np.float32]:
    """Return a video's sound at 48,000 samples per second."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])


def test_a_video_shows_what_was_drawn_on_the_canvas(tmp_path: Path) -> None:
    canvas = Canvas(320, 180, (12, 14, 20))
    with Mp4Encoder(tmp_path / "video.mp4", VideoFormat(320, 180, Fraction(25)), {"title": "two squares"}) as encoder:
        for index in range(10):
            canvas.fill(Box(20 * index, 40, 20, 20), (240, 240, 240))
            encoder.write(canvas.frame)
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        assert (decoder.stream.width, decoder.stream.height, decoder.stream.frame_rate) == (320, 180, 25)
        bright = [int((frame[40:60] > 128).sum()) for frame in decoder]
    assert bright == [400 * count for count in range(1, 11)]


def test_a_click_is_heard_when_its_frame_is_shown(tmp_path: Path) -> None:
    """One of 300 frames is white and loud."""
    canvas, samples = Canvas(64, 64), 512
    video_format = VideoFormat(64, 64, Fraction(30_679, samples), samples_per_frame=samples)
    with Mp4Encoder(tmp_path / "video.mp4", video_format, {}) as encoder:
        for index in range(300):
            loud = index == 200
            canvas.fill(canvas.box, (255, 255, 255) if loud else (0, 0, 0))
            audio = np.full(samples, 128, np.uint8)
            audio[::2] += 100 * loud
            encoder.write(canvas.frame, audio)
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        white = [index for index, frame in enumerate(decoder) if frame[32, 32] > 128]
    volume = np.abs(decode_audio(tmp_path / "video.mp4"))
    first, last = np.flatnonzero(volume > 0.1)[[0, -1]] / RATE * 30_679 / samples
    assert white == [200]
    assert (first, last) == pytest.approx((200, 201), abs=0.25)


@pytest.mark.parametrize("game", ["Pong", "KingKong"])
def test_first_and_last_sound_are_within_a_frame_of_the_emulators(game: str, tmp_path: Path) -> None:
    trace, path = random_play(f"ALE/{game}-v5", 200), tmp_path / "video.mp4"
    fps = render_video(trace, path).fps
    emulator, sounds = emulator_for_trace(trace, sound=True), list[npt.NDArray[np.uint8]]()
    for _ in replay(trace, emulator=emulator, on_frame=lambda: sounds.append(emulator.sound().copy())):
        pass
    emitted, decoded = np.concatenate(sounds).astype(np.float64) - 128, decode_audio(path)
    assert len(decoded) / RATE == pytest.approx(len(sounds) / fps, abs=2 / fps), "as long as the frames"
    expected = np.flatnonzero(emitted)[[0, -1]] / SAMPLES_PER_FRAME
    found = np.flatnonzero(np.abs(decoded) > 0.1 * np.abs(decoded).max())[[0, -1]] / RATE * fps
    assert expected[1] - expected[0] > 60, "the sound lasts for a while"
    assert np.abs(found - expected).max() < 1, "frames"
    indices = (np.arange(len(decoded)) / RATE * fps * SAMPLES_PER_FRAME).astype(int).clip(0, len(emitted) - 1)
    assert np.corrcoef(emitted[indices], decoded)[0, 1] > 0.9, "and it is the same sound"


def test_sound_does_not_change_the_game() -> None:
    trace = random_play("ALE/Breakout-v5", 300)
    silent, loud = emulator_for_trace(trace), emulator_for_trace(trace, sound=True)
    for one, other in zip(replay(trace, emulator=silent), replay(trace, emulator=loud), strict=True):
        assert (one.digest, one.reward, one.frame) == (other.digest, other.reward, other.frame)
        assert (silent.screen() == loud.screen()).all()


def test_a_reset_is_silent_whatever_played_before() -> None:
    emulator = Emulator(resolve("ALE/KingKong-v5"), 1, sound=True)
    for _ in range(2):
        emulator.reset()
        assert (emulator.sound() == 128).all()
        emulator.step(0)
        assert (emulator.sound() != 128).any()


@pytest.mark.parametrize("name", ["a:b.mp4", "http:x.mp4", "-x.mp4", "$(touch x).mp4", "%03d.mp4", "concat:x|y.mp4"])
def test_a_file_name_is_never_interpreted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Mp4Encoder(Path(name), VideoFormat(64, 64, Fraction(60)), {}) as encoder:
        encoder.write(Canvas(64, 64).frame)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Mp4Decoder(Path(name)) as decoder:
        assert len(list(decoder)) == 1


@pytest.mark.parametrize("size", [(161, 210), (160, 211), (0, 2)])
def test_an_odd_size_is_rejected_before_anything_is_written(size: tuple[int, int], tmp_path: Path) -> None:
    message = rf"video.mp4: a video's width and height must be even: got {size[0]}x{size[1]}"
    with pytest.raises(VideoError, match=message):
        Mp4Encoder(tmp_path / "video.mp4", VideoFormat(*size, Fraction(60)), {})
    assert list(tmp_path.iterdir()) == []


def test_a_frame_or_sound_of_another_format_is_rejected_and_no_partial_video_remains(tmp_path: Path) -> None:
    video_format, canvas = VideoFormat(64, 64, Fraction(60), samples_per_frame=512), Canvas(64, 64)
    for frame, audio in [
        (Canvas(64, 62).frame, np.zeros(512, np.uint8)),
        (canvas.frame, None),
        (canvas.frame, np.zeros(511, np.uint8)),
    ]:
        with (
            pytest.raises(ValueError, match=r"frame 1 does not have the video's format"),
            Mp4Encoder(tmp_path / "video.mp4", video_format, {}) as encoder,
        ):
            encoder.write(canvas.frame, np.zeros(512, np.uint8))
            encoder.write(frame, audio)
    assert list(tmp_path.iterdir()) == []


def test_a_video_without_a_frame_is_an_error(tmp_path: Path) -> None:
    path, video_format = tmp_path / "video.mp4", VideoFormat(64, 64, Fraction(60))
    with (
        pytest.raises(VideoError, match=r"video\.mp4: the video has no frames"),
        Mp4Encoder(path, video_format, {}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
