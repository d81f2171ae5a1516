"""Videos are decoded and compared with what the emulator draws; a video that fails leaves nothing."""

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
from helpers.episodes import random_play

from tasks.arcade.drawing import mp4_encoder as encoder
from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import replay
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.video.render import RenderedVideo, render_video

Pictures = npt.NDArray[np.uint8]


def drawn(trace: Trace) -> Pictures:
    """What the emulator draws: uint8 of shape (frames, height, width, 3)."""
    emulator = Emulator(trace.game)
    pictures: list[Pictures] = []
    for _ in replay(trace, emulator=emulator, on_frame=lambda: pictures.append(emulator.screen())):
        pass
    return np.stack(pictures)


def decoded(path: Path, height: int = 420) -> Pictures:
    """The video's pictures, every pixel of them: uint8 of shape (frames, height, 640, 3)."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command = [*ffmpeg, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, 640, 3)


def described(path: Path) -> str:
    """What ffmpeg says of a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.fixture(scope="module")
def asteroids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trace, Path, RenderedVideo]]:
    trace, path = random_play("ALE/Asteroids-v5", 20), tmp_path_factory.mktemp("videos") / "asteroids.mp4"
    yield trace, path, render_video(trace, path)


def test_every_frame_is_in_the_video_and_looks_as_the_emulator_drew_it(
    asteroids: tuple[Trace, Path, RenderedVideo],
) -> None:
    trace, path, made = asteroids
    shown, wanted = decoded(path), drawn(trace)
    assert len(shown) == len(wanted) == trace.frames + 1 == made.frames
    blocks = wanted.repeat(2, axis=1).repeat(4, axis=2)
    errors = np.abs(shown.astype(np.int16) - blocks).mean(axis=(1, 2, 3))
    assert errors.max() < 0.5, "of 255, in the mean of every single picture"
    assert np.abs(shown.astype(np.int16) - blocks).max() < 64, "edges stay sharp"


def test_what_is_drawn_on_every_second_frame_only_is_in_the_video(asteroids: tuple[Trace, Path, RenderedVideo]) -> None:
    trace, path, _ = asteroids
    shown, wanted = decoded(path)[:, ::2, ::4].max(axis=3), drawn(trace).max(axis=3)
    last_of_step = wanted[4::4]
    never_at_a_steps_end = (last_of_step < 32).all(axis=0)
    hidden = never_at_a_steps_end & (wanted > 96)
    assert hidden.any(axis=(1, 2)).sum() > len(wanted) / 3, "a video of each step's last frame would miss these"
    assert (shown[hidden] > 64).all()


@pytest.mark.parametrize(
    ("game", "height", "fps", "pixel"),
    [
        ("Pong", 420, 59.92, "7:8"),
        ("Carnival", 428, 59.92, "107:120"),
        ("JourneyEscape", 460, 59.92, "23:24"),
        ("Pooyan", 440, 59.92, "11:12"),
        ("KingKong", 500, 49.86, "25:24"),
    ],
)
def test_a_video_has_the_games_size_and_rate_and_is_shown_4_to_3(
    game: str, height: int, fps: float, pixel: str, tmp_path: Path
) -> None:
    trace, path = random_play(f"ALE/{game}-v5", 3), tmp_path / "video.mp4"
    made = render_video(trace, path)
    assert (made.width, made.height, made.frames) == (640, height, 13)
    assert made.fps == pytest.approx(fps, abs=0.005)
    assert made.seconds == pytest.approx(13 / fps, rel=1e-3)
    assert len(decoded(path, height)) == 13
    said = described(path)
    assert f"640x{height} [SAR {pixel} DAR 4:3]" in said
    assert f"{fps} fps" in said
    assert "h264" in said and "yuv420p(tv, bt709, progressive)" in said


def test_a_video_can_start_before_it_is_loaded_and_says_what_it_is(asteroids: tuple[Trace, Path, RenderedVideo]) -> None:
    trace, path, _ = asteroids
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    said = described(path)
    assert f"ALE/Asteroids-v5, step 250,000, return {trace.episode_return}" in said
    assert trace.ram_digest in said


def test_each_frame_is_reported(tmp_path: Path) -> None:
    trace, numbers = random_play("PongNoFrameskip-v4", 12), list[int]()
    render_video(trace, tmp_path / "video.mp4", on_frame=numbers.append)
    assert numbers == list(range(1, 14))


@pytest.fixture(scope="module")
def pong() -> Trace:
    return random_play("ALE/Pong-v5", 60)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"digest": 30}, "other RAM at step 30"),
        ({"reward": 31}, "other reward at step 31"),
        ({"frames": 239}, "other number of frames at step 60"),
        ({"ended": "terminated"}, "other end at step 60"),
    ],
)
def test_a_video_that_would_not_be_its_traces_is_never_written(
    pong: Trace, changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    match changes:
        case {"digest": int(at)}:
            changes = {"digests": (*pong.digests[:at], "0" * 8, *pong.digests[at + 1 :])}
        case {"reward": int(at)}:
            changes = {"rewards": (*pong.rewards[: at - 1], 99, *pong.rewards[at:])}
    with pytest.raises(VideoError, match=why):
        render_video(pong.model_copy(update=changes), tmp_path / "video.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_trace_of_an_unknown_game_is_refused(pong: Trace, tmp_path: Path) -> None:
    game = pong.game.model_copy(update={"rom": "pong_two"})
    with pytest.raises(TraceError, match="has no ROM 'pong_two'"):
        render_video(pong.model_copy(update={"game": game}), tmp_path / "video.mp4")
    assert list(tmp_path.iterdir()) == []


def fake_ffmpeg(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    """A program in ffmpeg's place; `$FFMPEG` is the real one."""
    program = folder / "ffmpeg.sh"
    real = f'FFMPEG="{imageio_ffmpeg.get_ffmpeg_exe()}"\n[ "$1" = -version ] && exec "$FFMPEG" -version'
    program.write_text(f"#!/bin/sh\n{real}\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    return program


def refused(trace: Trace, folder: Path) -> str:
    """The error's text; nothing is left in the folder, and what was there is untouched."""
    folder.mkdir()
    before = folder / "video.mp4"
    before.write_text("an older video")
    with pytest.raises(VideoError) as caught:
        render_video(trace, before)
    assert [path.name for path in folder.iterdir()] == ["video.mp4"]
    assert before.read_text() == "an older video"
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 0", "ffmpeg ended with status 0: it said nothing"),
        ("cat >/dev/null", "the video is not there (No such file or directory)"),
        ("exit 1", "ffmpeg ended with status 1: it said nothing"),
        (
            "head -c 1000000 >/dev/null; echo first >&2; echo 'the disk is on fire' >&2; exit 3",
            "status 3: the disk is on",
        ),
        ("head -c 1000000 >/dev/null; kill -9 $$", "ffmpeg ended by signal 9"),
        ('exec "$FFMPEG" -no_such_option 1 "$@"', "ffmpeg ended with status 8: "),
        ('ulimit -f 1; exec "$FFMPEG" "$@"', "ffmpeg ended by signal 25"),
        ('case "$*" in *aac*) exit 5;; esac; exec "$FFMPEG" "$@"', "ffmpeg ended with status 5: it said nothing"),
    ],
)
def test_an_ffmpeg_that_fails_is_an_error_of_one_line(
    script: str, why: str, pong: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(monkeypatch, tmp_path, script)
    assert why in refused(pong, tmp_path / "videos")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("ffmpeg version 4.2.2-static Copyright", "is ffmpeg 4.2.2-static, too old"),
        ("ffmpeg version n5.0-3-gabc Copyright", "too old"),
        ("avconv version 11", "is no ffmpeg"),
    ],
)
def test_an_ffmpeg_that_is_too_old_or_none_is_refused_before_anything_is_drawn(
    answer: str, why: str, pong: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ffmpeg.sh"
    program.write_text(f"#!/bin/sh\necho '{answer}'")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    assert why in refused(pong, tmp_path / "videos")


@pytest.mark.parametrize("program", ["/nowhere/ffmpeg", "/"])
def test_an_ffmpeg_that_is_none_is_named(
    program: str, pong: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", program)
    said = refused(pong, tmp_path / "videos")
    assert f"'{program}'" in said
    assert "IMAGEIO_FFMPEG_EXE" in said


def test_a_folder_that_is_not_there_is_named(pong: Trace, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No such file or directory"):
        render_video(pong, tmp_path / "nowhere" / "video.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("sent", "why"), [(signal.SIGKILL, "ended by signal 9"), (signal.SIGSTOP, "took no picture")])
def test_an_ffmpeg_that_dies_or_hangs_in_the_middle_ends_the_video(
    sent: signal.Signals, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(monkeypatch, tmp_path, f'echo $$ >"{tmp_path}/pid"; exec "$FFMPEG" "$@"')
    monkeypatch.setattr(encoder, "_PATIENCE", 1.0)
    (tmp_path / "videos").mkdir()

    def strike(frame: int) -> None:
        if frame == 100:
            os.kill(int((tmp_path / "pid").read_text()), sent)

    begun = time.monotonic()
    with pytest.raises(VideoError, match=why):
        render_video(random_play("ALE/Pong-v5", 200), tmp_path / "videos" / "video.mp4", on_frame=strike)
    assert time.monotonic() - begun < 20
    assert list((tmp_path / "videos").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_ctrl_c_leaves_neither_a_file_nor_an_ffmpeg(
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
