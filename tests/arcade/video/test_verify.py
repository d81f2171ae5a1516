"""A video is verified from its file alone; one different frame or byte, and it is not."""

from __future__ import annotations

import json
import subprocess
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from helpers.episodes import ENDING, write_random_checkpoint

from tasks.arcade.checkpoints.checkpoint import read_checkpoint
from tasks.arcade.drawing.canvas import Canvas
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
Rendered = tuple[Trace, Path, RenderedVideo]


class NoopPlayer:
    n_actions = len(action_names(PONG))

    def start_episode(self) -> ActionSelector:
        return self.decide

    def decide(self, ram: Ram, previous: Ram, uniform: float | None) -> int:
        return 0


@pytest.fixture(scope="module")
def pong(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    trace = play(NoopPlayer(), PONG, 7, action_seed=8, deterministic=False, max_steps=STEPS, checkpoint_step=1)
    path = tmp_path_factory.mktemp("videos") / "pong.mp4"
    return trace, path, render_video(trace, path)


@pytest.fixture(scope="module")
def pong_panel(pong: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    folder = tmp_path_factory.mktemp("panels")
    write_random_checkpoint("ALE/Pong-v5", folder / "checkpoint")
    checkpoint, caption = read_checkpoint(folder / "checkpoint"), Caption("title", "details")
    panel = partial(PanelRenderer, checkpoint=checkpoint, caption=caption)
    return pong[0], folder / "panel.mp4", render_video(pong[0], folder / "panel.mp4", panel)


def verify_forged(
    path: Path, to: Path, change: Callable[[list[I420Frame]], list[I420Frame]], **fields: object
) -> FrameVerification:
    """Verify a video with changed frames, encoded as ramreel does, with its own digest and the original's trace."""
    embedded, _ = read_embedded_trace(path)
    with Mp4Decoder(path) as decoder:
        frames = list(decoder)
    emulator = Emulator(embedded.trace.game)
    plain = PlainRenderer(emulator)
    canvas = plain.canvas if embedded.kind == "plain" else Canvas(embedded.width, embedded.height)
    ratio = plain.sample_aspect_ratio if embedded.kind == "plain" else Fraction(1)
    with Mp4Encoder(to, video_format(canvas, emulator, ratio, sound=False), {}) as encoder:
        for frame in change(frames):
            encoder.write(frame)
    embed_trace(to, embedded.model_copy(update={"file": file_digest(to), **fields}))
    return verify_frames(to)


def unchanged(frames: list[I420Frame]) -> list[I420Frame]:
    return frames


def swapped(one: int, other: int, frames: list[I420Frame]) -> list[I420Frame]:
    frames[one], frames[other] = frames[other], frames[one]
    return frames


def painted(index: int, by: int, frames: list[I420Frame]) -> list[I420Frame]:
    frames[index][300:308, 300:316] += np.uint8(by)
    return frames


def test_a_video_is_verified_from_its_file_alone(pong: Rendered) -> None:
    trace, path, video = pong
    embedded, unmodified = read_embedded_trace(path)
    assert unmodified
    assert embedded.trace == trace
    result = verify_frames(path)
    assert result.ok, result.message
    assert result.frames_checked == video.frames == trace.frames + 1
    assert result.exact, "bit-for-bit"


@pytest.mark.parametrize("kind", ["plain", "panel"])
def test_a_video_of_the_former_schema_is_verified(
    kind: str, pong: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the episode's last frame, and its encoder had other settings."""
    path, renderer = tmp_path / "video.mp4", PlainRenderer
    if kind == "panel":
        write_random_checkpoint("ALE/Pong-v5", tmp_path / "checkpoint")
        checkpoint = read_checkpoint(tmp_path / "checkpoint")
        monkeypatch.setattr(PanelRenderer, "ending_seconds", 0.0)
        renderer = partial(PanelRenderer, checkpoint=checkpoint, caption=Caption("title", "details"))  # type: ignore
    render_video(pong[0], path, renderer, encoding=1)
    fields = json.loads(read_embedded_trace(path)[0].model_dump_json(by_alias=True))
    assert (fields.pop("ending"), fields.pop("encoding"), fields["schema"]) == (0, 1, 2)
    former = with_trace_box(path, zlib.compress(json.dumps(fields | {"schema": 1}).encode()), tmp_path)
    result = verify_frames(former)
    assert (result.ok, result.exact, result.frames_checked) == (True, kind == "plain", 4 * STEPS + 1), result.message


def test_both_encodings_decode_to_the_same_frames(pong: Rendered, tmp_path: Path) -> None:
    """The newer one only codes them in fewer bytes."""
    render_video(pong[0], tmp_path / "former.mp4", encoding=1)
    with Mp4Decoder(pong[1]) as one, Mp4Decoder(tmp_path / "former.mp4") as other:
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
    assert pong[1].stat().st_size < (tmp_path / "former.mp4").stat().st_size


def test_an_ending_that_does_not_repeat_the_last_screen_is_detected(pong_panel: Rendered, tmp_path: Path) -> None:
    result = verify_forged(pong_panel[1], tmp_path / "video.mp4", partial(painted, 4 * STEPS + 10, 60))
    assert (result.ok, result.first_frame, result.step) == (False, 4 * STEPS + 10, STEPS)
    short = verify_forged(pong_panel[1], tmp_path / "video.mp4", lambda frames: frames[:-1])
    assert (short.ok, short.first_frame) == (False, 4 * STEPS + ENDING)


def test_a_panel_video_is_verified_except_for_the_panel(pong_panel: Rendered) -> None:
    result = verify_frames(pong_panel[1])
    assert (result.ok, result.exact, result.frames_checked) == (True, False, 4 * STEPS + 1 + ENDING)


def test_rendering_again_gives_the_same_video_bit_for_bit(pong: Rendered, tmp_path: Path) -> None:
    trace, path, _ = pong
    render_video(trace, tmp_path / "again.mp4")
    with Mp4Decoder(path) as one, Mp4Decoder(tmp_path / "again.mp4") as other:
        frames = [list(decoder) for decoder in (one, other)]
    assert len(frames[0]) == trace.frames + 1
    assert all(np.array_equal(*pair) for pair in zip(*frames, strict=True))
    assert (tmp_path / "again.mp4").read_bytes() == path.read_bytes(), "and so is the whole file"


@pytest.mark.parametrize("kind", ["plain", "panel"])
def test_two_swapped_frames_are_detected_and_located(
    kind: str, pong: Rendered, pong_panel: Rendered, tmp_path: Path
) -> None:
    """The opponent's paddle moves between the two."""
    path = (pong if kind == "plain" else pong_panel)[1]
    result = verify_forged(path, tmp_path / "video.mp4", partial(swapped, 80, 100))
    assert (result.ok, result.first_frame, result.step) == (False, 80, 20)
    assert "differs from the emulator's screen by" in result.message
    assert result.message.endswith("in frame 80, step 20")


@pytest.mark.parametrize("kind", ["plain", "panel"])
def test_a_painted_frame_is_detected_and_located(
    kind: str, pong: Rendered, pong_panel: Rendered, tmp_path: Path
) -> None:
    path = (pong if kind == "plain" else pong_panel)[1]
    result = verify_forged(path, tmp_path / "video.mp4", partial(painted, 37, 60))
    assert (result.ok, result.first_frame, result.step) == (False, 37, 10)


def test_an_invisible_change_is_detected_bit_for_bit(pong: Rendered, tmp_path: Path) -> None:
    result = verify_forged(pong[1], tmp_path / "video.mp4", partial(painted, 37, 6))
    assert not result.ok
    assert result.first_frame is not None and result.first_frame <= 37
    assert "not bit-for-bit" in result.message


def test_a_video_by_another_ffmpeg_is_verified_within_the_tolerance(pong: Rendered, tmp_path: Path) -> None:
    result = verify_forged(pong[1], tmp_path / "video.mp4", unchanged, ffmpeg="4.2 of another system")
    assert (result.ok, result.exact) == (True, False)


def test_missing_and_additional_frames_are_detected(pong: Rendered, tmp_path: Path) -> None:
    short = verify_forged(pong[1], tmp_path / "short.mp4", lambda frames: frames[:-1])
    assert (short.ok, short.first_frame, short.step) == (False, 4 * STEPS, STEPS)
    assert "ends early" in short.message
    long = verify_forged(pong[1], tmp_path / "long.mp4", lambda frames: [*frames, frames[-1]])
    assert (long.ok, long.first_frame) == (False, 4 * STEPS + 1)
    assert "continues after" in long.message


def test_another_frame_rate_or_size_is_detected(pong: Rendered, tmp_path: Path) -> None:
    embedded, _ = read_embedded_trace(pong[1])
    for options, message in [
        (["-r", "30"], "30.00 frames/s instead of 59.92"),
        (["-vf", "scale=320:210"], "320x210 (sample aspect ratio 7/8) instead of 640x420 (sample aspect ratio 7/8)"),
        (["-vf", "setsar=1"], "640x420 (sample aspect ratio 1) instead of 640x420 (sample aspect ratio 7/8)"),
    ]:
        changed = tmp_path / "video.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-i", str(pong[1])]
        subprocess.run([*command, *options, "-c:v", "libx264", "-qp", "18", str(changed)], check=True)
        embed_trace(changed, embedded.model_copy(update={"file": file_digest(changed)}))
        result = verify_frames(changed)
        assert not result.ok
        assert message in result.message


def test_another_digest_of_the_screens_is_detected(pong: Rendered, tmp_path: Path) -> None:
    result = verify_forged(pong[1], tmp_path / "video.mp4", unchanged, pictures="0" * 64)
    assert not result.ok
    assert "the emulator draws other screens here" in result.message


def test_a_changed_byte_is_detected(pong: Rendered, tmp_path: Path) -> None:
    data = bytearray(pong[1].read_bytes())
    data[data.index(b"ramreel: seed")] ^= 1
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(data)
    result = verify_frames(changed)
    assert not result.ok
    assert "modified after the video was rendered" in result.message


def test_a_video_without_a_trace_is_rejected(pong: Rendered, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(pong[1]), "-c", "copy", str(other)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(TraceError, match="has no embedded trace"):
        verify_frames(other)


def with_trace_box(path: Path, content: bytes, tmp_path: Path) -> Path:
    """Return a copy of a video whose trace box has another content."""
    data = path.read_bytes()
    at = data.rindex(b"uuid") - 4
    changed = tmp_path / "video.mp4"
    box = data[at + 4 : at + 24] + content
    changed.write_bytes(data[:at] + (len(box) + 4).to_bytes(4, "big") + box)
    return changed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "the embedded trace is damaged"),
        (b"", "has no embedded trace"),
        (zlib.compress(b"[]"), "the embedded trace is invalid"),
        (zlib.compress(b'{"schema": 99}'), "schema 99; this version of ramreel reads up to"),
        (zlib.compress(b" " * 65 * 1024**2), "the embedded trace is damaged"),
    ],
    ids=["not compressed", "empty", "not a trace", "newer", "too large"],
)
def test_an_invalid_trace_box_is_an_error_of_one_line(
    content: bytes, message: str, pong: Rendered, tmp_path: Path
) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        read_embedded_trace(with_trace_box(pong[1], content, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_truncated_file_or_one_that_is_not_a_video_is_an_error_of_one_line(pong: Rendered, tmp_path: Path) -> None:
    embedded, _ = read_embedded_trace(pong[1])
    for content in (b"", b"\0\0\0\1ftyp", b"\0\0\0\0ftyp" * 9, pong[1].read_bytes()[:5000]):
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(content)
        with pytest.raises(TraceError, match="has no embedded trace"):
            verify_frames(broken)
    embed_trace(broken, embedded)
    with pytest.raises((TraceError, VideoError)) as caught:
        verify_frames(broken)
    assert "\n" not in str(caught.value)
    with pytest.raises(TraceError, match="does not exist"):
        read_embedded_trace(tmp_path / "missing.mp4")
