"""Decoded frames are those of the ffmpeg executable; other files are rejected with one line."""

from __future__ import annotations

import gc
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from helpers.episodes import random_play

from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.video.render import render_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "video.mp4"
    render_video(random_play("ALE/Seaquest-v5", 40), path)
    return path


def run_ffmpeg(source: Path, *arguments: str) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-i", str(source), *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_frames_are_those_of_ffmpeg_bit_for_bit(video: Path) -> None:
    raw = run_ffmpeg(video, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    with Mp4Decoder(video) as decoder:
        height, width = decoder.stream.height, decoder.stream.width
        frames = np.array(list(decoder))
    assert np.array_equal(frames, np.frombuffer(raw, np.uint8).reshape(-1, height * 3 // 2, width))


def test_decoded_frames_do_not_stay_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=60", "-frames:v", "20000", "-pix_fmt", "yuv420p"]
    options = ["-preset", "ultrafast", "-bf", "0"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *options, str(path)], check=True)
    alive = []
    with Mp4Decoder(path) as decoder:
        for number, _ in enumerate(decoder):
            if number % 1000 == 0:
                alive.append(sum(type(entry) is av.VideoFrame for entry in gc.get_objects()))
    assert len(alive) == 20
    assert max(alive) <= 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-pix_fmt", "yuv444p"), "a frame is yuv444p, 640x420, instead of yuv420p, 640x420"),
        (("-vn", "-c:a", "copy"), "the file has no video stream"),
    ],
)
def test_other_streams_are_rejected(arguments: tuple[str, ...], message: str, video: Path, tmp_path: Path) -> None:
    run_ffmpeg(video, *arguments, str(tmp_path / "other.mp4"))
    with pytest.raises(VideoError, match=f"^other.mp4: {message}$"), Mp4Decoder(tmp_path / "other.mp4") as decoder:
        list(decoder)


@pytest.mark.parametrize("options", [("-display_rotation", "90"), ("-display_hflip",), ("-display_vflip",)])
def test_a_rotated_or_flipped_video_is_rejected(options: tuple[str, ...], video: Path, tmp_path: Path) -> None:
    """A player would show other frames than those that are stored."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *options, "-i", str(video), "-c", "copy"]
    subprocess.run([*command, str(tmp_path / "turned.mp4")], check=True)
    with (
        pytest.raises(VideoError, match=r"^turned\.mp4: the video is displayed rotated or flipped$"),
        Mp4Decoder(tmp_path / "turned.mp4") as decoder,
    ):
        list(decoder)


@pytest.mark.parametrize("content", [b"", b"\0\0\0\1ftyp", b"#EXTM3U\nfile:///etc/passwd\n"])
def test_a_file_that_is_not_an_mp4_is_rejected(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"^broken\.mp4: the video cannot be decoded: [^\n]+$"), Mp4Decoder(path):
        pass


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match=r"^missing\.mp4: the video cannot be decoded: No such file or directory$"),
        Mp4Decoder(tmp_path / "missing.mp4"),
    ):
        pass
