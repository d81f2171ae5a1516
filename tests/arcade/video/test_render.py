"""Rendered videos show the emulator's screens; a video that fails leaves no file."""

import os
import signal
import stat
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
from av.video.reformatter import ColorRange
from helpers.episodes import random_play

from tasks.arcade.drawing import mp4_encoder
from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import replay
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.video.render import RenderedVideo, render_video

Frames = npt.NDArray[np.uint8]
Asteroids = tuple[Trace, Path, RenderedVideo]


def screens_of(trace: Trace) -> Frames:
    """Return the emulator's screens: uint8 of shape (frames, height, width, 3)."""
    emulator = Emulator(trace.game)
    screens: list[Frames] = []
    for _ in replay(trace, emulator=emulator, on_frame=lambda: screens.append(emulator.screen())):
        pass
    return np.stack(screens)


def decode(path: Path) -> Frames:
    """Return a video's frames: uint8 of shape (frames, height, width, 3)."""
    return iio.imread(path, plugin="pyav")


@pytest.fixture(scope="module")
def asteroids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asteroids]:
    trace, path = random_play("ALE/Asteroids-v5", 20), tmp_path_factory.mktemp("videos") / "asteroids.mp4"
    yield trace, path, render_video(trace, path)


def test_every_frame_looks_like_the_emulators_screen(
    asteroids: Asteroids,
) -> None:
    trace, path, video = asteroids
    decoded, screens = decode(path), screens_of(trace)
    assert len(decoded) == len(screens) == trace.frames + 1 == video.frames
    blocks = screens.repeat(2, axis=1).repeat(4, axis=2)
    errors = np.abs(decoded.astype(np.int16) - blocks)
    assert errors.mean(axis=(1, 2, 3)).max() < 0.5, "of 255, averaged over each frame"
    assert errors.max() < 64, "edges stay sharp"


def test_what_is_drawn_on_every_second_frame_only_is_shown(asteroids: Asteroids) -> None:
    trace, path, _ = asteroids
    decoded, screens = decode(path)[:, ::2, ::4].max(axis=3), screens_of(trace).max(axis=3)
    last_of_step = screens[4::4]
    never_at_a_steps_end = (last_of_step < 32).all(axis=0)
    hidden = never_at_a_steps_end & (screens > 96)
    assert hidden.any(axis=(1, 2)).sum() > len(screens) / 3, "a video of each step's last frame would miss these"
    assert (decoded[hidden] > 64).all()


@pytest.mark.parametrize(
    ("game", "height", "fps", "aspect"),
    [
        ("Pong", 420, 59.92, "7/8"),
        ("Carnival", 428, 59.92, "107/120"),
        ("JourneyEscape", 460, 59.92, "23/24"),
        ("Pooyan", 440, 59.92, "11/12"),
        ("KingKong", 500, 49.86, "25/24"),
    ],
)
def test_size_frame_rate_and_aspect_ratio_are_the_games(
    game: str, height: int, fps: float, aspect: str, tmp_path: Path
) -> None:
    trace, path = random_play(f"ALE/{game}-v5", 3), tmp_path / "video.mp4"
    video = render_video(trace, path)
    assert (video.width, video.height, video.frames) == (640, height, 13)
    assert video.fps == pytest.approx(fps, abs=0.005)
    assert video.seconds == pytest.approx(13 / fps, rel=1e-3)
    assert decode(path).shape == (13, height, 640, 3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.width, context.height, stream.sample_aspect_ratio) == (640, height, Fraction(aspect))
        assert stream.display_aspect_ratio == Fraction(4, 3)
        assert float(stream.average_rate or 0) == pytest.approx(fps, abs=0.005)
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert context.color_range == ColorRange.MPEG, "limited range"
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1), "BT.709"
        assert not next(container.decode(stream)).interlaced_frame


def test_a_video_is_streamable_and_has_metadata(asteroids: Asteroids) -> None:
    trace, path, _ = asteroids
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    metadata = iio.immeta(path, plugin="pyav")
    assert metadata["title"] == f"ALE/Asteroids-v5, step 250,000, return {trace.episode_return}"
    assert trace.ram_digest in metadata["comment"]


def test_each_frame_is_reported(tmp_path: Path) -> None:
    trace, numbers = random_play("PongNoFrameskip-v4", 12), list[int]()
    render_video(trace, tmp_path / "video.mp4", on_frame=numbers.append)
    assert numbers == list(range(1, 14))


@pytest.fixture(scope="module")
def pong() -> Trace:
    return random_play("ALE/Pong-v5", 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": 30}, "RAM at step 30 differs from the trace"),
        ({"reward": 31}, "reward at step 31 differs from the trace"),
        ({"frames": 239}, "number of frames at step 60 differs from the trace"),
        ({"ended": "terminated"}, "end at step 60 differs from the trace"),
    ],
)
def test_a_replay_that_differs_from_the_trace_writes_no_video(
    pong: Trace, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    match changes:
        case {"digest": int(at)}:
            changes = {"digests": (*pong.digests[:at], "0" * 8, *pong.digests[at + 1 :])}
        case {"reward": int(at)}:
            changes = {"rewards": (*pong.rewards[: at - 1], 99, *pong.rewards[at:])}
    with pytest.raises(VideoError, match=message):
        render_video(pong.model_copy(update=changes), tmp_path / "video.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_trace_of_an_unknown_game_is_rejected(pong: Trace, tmp_path: Path) -> None:
    game = pong.game.model_copy(update={"rom": "pong_two"})
    with pytest.raises(TraceError, match="has no ROM 'pong_two'"):
        render_video(pong.model_copy(update={"game": game}), tmp_path / "video.mp4")
    assert list(tmp_path.iterdir()) == []


def fake_ffmpeg(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    """Replace ffmpeg by a shell script, in which `$FFMPEG` is the real one."""
    program = folder / "ffmpeg.sh"
    real = f'FFMPEG="{imageio_ffmpeg.get_ffmpeg_exe()}"\n[ "$1" = -version ] && exec "$FFMPEG" -version'
    program.write_text(f"#!/bin/sh\n{real}\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    return program


def render_error(trace: Trace, folder: Path) -> str:
    """Return the error message of a failed video; no file is left behind, and an existing video is untouched."""
    folder.mkdir()
    existing = folder / "video.mp4"
    existing.write_text("an older video")
    with pytest.raises(VideoError) as caught:
        render_video(trace, existing)
    assert [path.name for path in folder.iterdir()] == ["video.mp4"]
    assert existing.read_text() == "an older video"
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "ffmpeg exited with status 0: no error output"),
        ("cat >/dev/null", "the video was not written (No such file or directory)"),
        ("exit 1", "ffmpeg exited with status 1: no error output"),
        (
            "head -c 1000000 >/dev/null; echo first >&2; echo 'the disk is on fire' >&2; exit 3",
            "status 3: the disk is on",
        ),
        ("head -c 1000000 >/dev/null; kill -9 $$", "ffmpeg was killed by signal 9"),
        ('exec "$FFMPEG" -no_such_option 1 "$@"', "ffmpeg exited with status 8: "),
        ('ulimit -f 1; exec "$FFMPEG" "$@"', "ffmpeg was killed by signal 25"),
        ('case "$*" in *aac*) exit 5;; esac; exec "$FFMPEG" "$@"', "ffmpeg exited with status 5: no error output"),
    ],
)
def test_a_failing_ffmpeg_is_an_error_of_one_line(
    script: str, message: str, pong: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(monkeypatch, tmp_path, script)
    assert message in render_error(pong, tmp_path / "videos")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("ffmpeg version 4.2.2-static Copyright", "is ffmpeg 4.2.2-static, which is too old"),
        ("ffmpeg version n5.0-3-gabc Copyright", "too old"),
        ("avconv version 11", "is not ffmpeg"),
    ],
)
def test_an_ffmpeg_that_is_too_old_or_something_else_is_rejected_before_anything_is_rendered(
    output: str, message: str, pong: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg.sh"
    program.write_text(f"#!/bin/sh\necho '{output}'")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    assert message in render_error(pong, tmp_path / "videos")


@pytest.mark.parametrize("program", ["/nowhere/ffmpeg", "/"])
def test_a_missing_ffmpeg_is_named(program: str, pong: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", program)
    message = render_error(pong, tmp_path / "videos")
    assert f"'{program}'" in message
    assert "IMAGEIO_FFMPEG_EXE" in message


def test_a_missing_folder_is_an_error(pong: Trace, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No such file or directory"):
        render_video(pong, tmp_path / "nowhere" / "video.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "message"), [(signal.SIGKILL, "killed by signal 9"), (signal.SIGSTOP, "accepted no frame")]
)
def test_an_ffmpeg_that_dies_or_hangs_midway_is_an_error(
    sent: signal.Signals, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(monkeypatch, tmp_path, f'echo $$ >"{tmp_path}/pid"; exec "$FFMPEG" "$@"')
    monkeypatch.setattr(mp4_encoder, "TIMEOUT_SECONDS", 1.0)
    (tmp_path / "videos").mkdir()

    def strike(frame: int) -> None:
        if frame == 100:
            os.kill(int((tmp_path / "pid").read_text()), sent)

    started = time.monotonic()
    with pytest.raises(VideoError, match=message):
        render_video(random_play("ALE/Pong-v5", 200), tmp_path / "videos" / "video.mp4", on_frame=strike)
    assert time.monotonic() - started < 20
    assert list((tmp_path / "videos").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_ctrl_c_leaves_neither_a_file_nor_an_ffmpeg_process(
    pong: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(monkeypatch, tmp_path, f'echo $$ >"{tmp_path}/pid"; exec "$FFMPEG" "$@"')
    (tmp_path / "videos").mkdir()

    def interrupt(frame: int) -> None:
        if frame == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_video(pong, tmp_path / "videos" / "video.mp4", on_frame=interrupt)
    assert list((tmp_path / "videos").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
