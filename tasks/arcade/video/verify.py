"""Verification of a video from its file alone: its frames are those the emulator draws when its trace is replayed.

In every frame, every pixel of the game must be as close to the emulator's screen as encoding leaves it. A plain video
encoded by the same version of ffmpeg must also equal, bit-for-bit once decoded, a video rendered again: encoding is
deterministic with one thread and a constant quantizer. Outlines that the video declares are drawn over the emulator's
screens before the comparison. The frames of an ending must repeat the episode's last screen. The panel beside the game
is not compared.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tasks.arcade.drawing.canvas import Canvas, Plane
from tasks.arcade.drawing.ffmpeg import find_ffmpeg
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder, VideoStreamInfo
from tasks.arcade.drawing.video_format import VideoFormat
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import Step, emulator_for_trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.embedded_trace import EmbeddedTrace, read_embedded_trace
from tasks.arcade.video.outlines import OutlinedView
from tasks.arcade.video.panel import GAME
from tasks.arcade.video.render import DISPLAY_ASPECT_RATIO, PlainRenderer, render_video, replay_frames, video_format

TOLERANCE = 24
"""Largest accepted difference of a luma or chroma value, of 255. Encoding 400 frames of each of ale-py's 104 games gave
17 at most."""


class FrameVerification(Settings):
    """Result of verifying a video's frames.

    `first_frame` is the first frame that differs, 0 being the reset's, and `step` the step it belongs to; both are None
    if no frame differs or if the file as a whole is wrong. `exact` means that all frames are equal bit-for-bit.
    """

    ok: bool
    frames_checked: int
    first_frame: int | None
    step: int | None
    exact: bool
    message: str


class _MismatchError(Exception):
    """The video differs from its trace, in one frame if `frame` is given."""

    def __init__(self, message: str, frame: int | None = None, step: int | None = None) -> None:
        super().__init__(message if frame is None else f"{message} in frame {frame}, step {step}")
        self.frame, self.step = frame, step


def verify_frames(path: Path) -> FrameVerification:
    """Decode a video and compare every frame with the emulator's; `episodes.verify.verify` checks the trace's RAM.

    Raises:
        TraceError: The file has no valid embedded trace, or it cannot be replayed here.
        VideoError: The video cannot be decoded.
    """
    embedded, unmodified = read_embedded_trace(path)
    exact = embedded.kind == "plain" and embedded.ffmpeg == find_ffmpeg().version
    try:
        steps = _compare_with_emulator(path, embedded)
        if exact:
            _compare_with_rerendered(path, embedded, steps)
        if not unmodified:
            raise _MismatchError("all frames agree, but the file was modified after the video was rendered")
    except _MismatchError as error:
        checked = embedded.frames if error.frame is None else error.frame
        return FrameVerification(
            ok=False, frames_checked=checked, first_frame=error.frame, step=error.step, exact=False, message=str(error)
        )
    message = f"all {embedded.frames} frames agree"
    return FrameVerification(
        ok=True, frames_checked=embedded.frames, first_frame=None, step=None, exact=exact, message=message
    )


def _compare_with_emulator(path: Path, embedded: EmbeddedTrace) -> list[int]:
    """Compare every frame with the emulator's, and return the step each frame belongs to."""
    emulator = emulator_for_trace(embedded.trace)
    canvas = Canvas(embedded.width, embedded.height)
    box = GAME if embedded.kind == "panel" else canvas.box
    if box.x + box.width > embedded.width or box.y + box.height > embedded.height:
        raise _MismatchError(f"{embedded.width}x{embedded.height} is too small for a panel video")
    view = GameView(canvas, box, emulator.screen_size)
    game = OutlinedView(view, embedded.outlines.places if embedded.outlines else ())
    steps: list[int] = []
    with Mp4Decoder(path) as decoder:
        _check_format(embedded, decoder.stream, canvas, emulator)
        frames = iter(decoder)
        step = 0

        def outline(played: Step) -> None:
            nonlocal step
            if embedded.outlines and played.number < embedded.trace.length:
                game.outline(embedded.outlines.steps[played.number], played.ram)
            step = played.number

        def compare() -> None:
            # The reset's frame is the first, and belongs to step 0.
            game.draw(emulator)
            compare_canvas(step + 1 if steps else 0)

        def compare_canvas(frame_step: int) -> None:
            frame = next(frames, None)
            if frame is None:
                raise _MismatchError("the video ends early, missing the frame", len(steps), frame_step)
            decoded = Canvas(embedded.width, embedded.height, frame=frame)
            if difference := _plane_difference(decoded.planes(view.box), canvas.planes(view.box)):
                raise _MismatchError(difference, len(steps), frame_step)
            steps.append(frame_step)

        replay_frames(embedded.trace, emulator, outline, compare)
        for _ in range(embedded.ending):
            compare_canvas(embedded.trace.length)
        if next(frames, None) is not None:
            raise _MismatchError("the video continues after the end of the episode", len(steps), embedded.trace.length)
    if len(steps) != embedded.frames or view.digest != embedded.pictures:
        raise _MismatchError("the emulator draws other screens here than when the video was rendered")
    return steps


def _check_format(embedded: EmbeddedTrace, stream: VideoStreamInfo, canvas: Canvas, emulator: Emulator) -> None:
    plain_ratio = DISPLAY_ASPECT_RATIO * embedded.height / embedded.width
    ratio = plain_ratio if embedded.kind == "plain" else Fraction(1)
    expected = video_format(canvas, emulator, ratio, sound=False)
    if (stream.width, stream.height, stream.sample_aspect_ratio) != (
        expected.width,
        expected.height,
        expected.sample_aspect_ratio,
    ):
        raise _MismatchError(f"the video is {_describe_size(stream)} instead of {_describe_size(expected)}")
    if stream.frame_rate != expected.frame_rate:
        raise _MismatchError(
            f"the video has {float(stream.frame_rate):.2f} frames/s instead of {float(expected.frame_rate):.2f}"
        )


def _describe_size(video: VideoFormat | VideoStreamInfo) -> str:
    return f"{video.width}x{video.height} (sample aspect ratio {video.sample_aspect_ratio})"


def _plane_difference(decoded: tuple[Plane, Plane], drawn: tuple[Plane, Plane]) -> str:
    """Return where frames differ by more than encoding explains; empty if nowhere."""
    for name, one, other in zip(("luma", "chroma"), decoded, drawn, strict=True):
        difference = np.maximum(one, other) - np.minimum(one, other)
        if (largest := int(difference.max())) > TOLERANCE:
            *_, y, x = np.unravel_index(int(difference.argmax()), difference.shape)
            place = f"{100 * x // difference.shape[-1]}% from the left, {100 * y // difference.shape[-2]}% from the top"
            return f"{name} differs from the emulator's screen by {largest} of 255 ({place})"
    return ""


def _compare_with_rerendered(path: Path, embedded: EmbeddedTrace, steps: list[int]) -> None:
    """Render the trace again and compare the decoded frames bit-for-bit."""
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        rerendered = Path(folder) / "rerendered.mp4"
        height, width = emulator_for_trace(embedded.trace).screen_size
        renderer = partial(PlainRenderer, scale_x=embedded.width // width, scale_y=embedded.height // height)
        render_video(embedded.trace, rerendered, renderer, sound=False, encoding=embedded.encoding)
        with Mp4Decoder(path) as decoder, Mp4Decoder(rerendered) as expected_decoder:
            for index, (frame, expected) in enumerate(zip_longest(decoder, expected_decoder)):
                if not np.array_equal(frame, expected):
                    raise _MismatchError(
                        "the frame is not bit-for-bit what encoding the emulator's screen gives", index, steps[index]
                    )
