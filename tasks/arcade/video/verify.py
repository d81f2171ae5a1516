"""Proving a video from its file alone: what is seen in it is what the emulator draws when its trace is played again.

Every pixel of the game, in every picture, has to be as near to what the emulator draws as encoding leaves it. Where the
video shows nothing but the game, and the same ffmpeg is here, more: what comes out of it has to be to the bit what comes
out of a video that is made again, for encoding is deterministic on one thread and at a constant quantiser. Outlines that
the video declares are drawn over the emulator's pictures before these are compared. What lies beside the game in a panel
is not compared.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tasks.arcade.drawing.canvas import Canvas, GameView, Plane
from tasks.arcade.drawing.mp4_decoder import Decoder, Shown
from tasks.arcade.drawing.mp4_encoder import Form, find_ffmpeg
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import Step, emulator_of
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.embedded_trace import EmbeddedTrace, read_embedded_trace
from tasks.arcade.video.outlines import OutlinedView
from tasks.arcade.video.panel import GAME
from tasks.arcade.video.render import TELEVISION, Plain, form_of, frame_by_frame, video

TOLERANCE = 24
"""Of 255, at any pixel, in luma or in a difference of color: what encoding did to 400 frames of each of ale-py's 104
games was 17 at the worst."""


class PictureProof(Settings):
    """Whether a video's pictures are those of its trace.

    `first_frame` is the first picture that is not, 0 being the reset's, and `step` the step that it belongs to; none
    if all are, or if what is wrong is the file as a whole. `exact` says that all are to the bit.
    """

    ok: bool
    frames_checked: int
    first_frame: int | None
    step: int | None
    exact: bool
    what: str


class _WrongError(Exception):
    """A video is not what it says; of one picture, if there is a frame."""

    def __init__(self, what: str, frame: int | None = None, step: int | None = None) -> None:
        super().__init__(what if frame is None else f"{what} in frame {frame}, step {step}")
        self.frame, self.step = frame, step


def verify_pictures(path: Path) -> PictureProof:
    """Decode a video and compare every picture with what the emulator draws; its trace's RAM is `episode.verify`'s part.

    Raises:
        TraceError: there is no trace in the file, or it cannot be played here.
        VideoError: the video cannot be decoded.
    """
    mark, untouched = read_embedded_trace(path)
    exact = mark.kind == "plain" and mark.ffmpeg == find_ffmpeg().version
    try:
        steps = _compare_with_drawn(path, mark)
        if exact:
            _compare_with_another(path, mark, steps)
        if not untouched:
            raise _WrongError("the pictures are right, but the file was changed after the video was made")
    except _WrongError as error:
        checked = mark.frames if error.frame is None else error.frame
        return PictureProof(
            ok=False, frames_checked=checked, first_frame=error.frame, step=error.step, exact=False, what=str(error)
        )
    what = f"all {mark.frames} pictures agree"
    return PictureProof(ok=True, frames_checked=mark.frames, first_frame=None, step=None, exact=exact, what=what)


def _compare_with_drawn(path: Path, mark: EmbeddedTrace) -> list[int]:
    """Returns the step that each frame belongs to."""
    emulator = emulator_of(mark.trace)
    canvas = Canvas(mark.width, mark.height)
    box = GAME if mark.kind == "panel" else canvas.box
    if box.x + box.width > mark.width or box.y + box.height > mark.height:
        raise _WrongError(f"a panel is not {mark.width}x{mark.height}")
    view = GameView(canvas, box, emulator.screen_size)
    game = OutlinedView(view, mark.outlines.places if mark.outlines else ())
    steps: list[int] = []
    with Decoder(path) as decoder:
        _check_form(mark, decoder.shown, canvas, emulator)
        pictures = iter(decoder)
        step = 0

        def outline(played: Step) -> None:
            nonlocal step
            if mark.outlines and played.number < mark.trace.length:
                game.outline(mark.outlines.steps[played.number], played.ram)
            step = played.number

        def compare() -> None:
            # The reset's picture is the first, and of step 0.
            at = step + 1 if steps else 0
            game.draw(emulator)
            picture = next(pictures, None)
            if picture is None:
                raise _WrongError("the video ends before it shows what comes", len(steps), at)
            shown = Canvas(mark.width, mark.height, picture=picture)
            if wrong := _difference(shown.within(view.box), canvas.within(view.box)):
                raise _WrongError(wrong, len(steps), at)
            steps.append(at)

        frame_by_frame(mark.trace, emulator, outline, compare)
        if next(pictures, None) is not None:
            raise _WrongError("the video goes on after its episode's end", len(steps), mark.trace.length)
    if len(steps) != mark.frames or view.digest != mark.pictures:
        raise _WrongError("the emulator draws other pictures here than when the video was made")
    return steps


def _check_form(mark: EmbeddedTrace, shown: Shown, canvas: Canvas, emulator: Emulator) -> None:
    pixel = TELEVISION * mark.height / mark.width if mark.kind == "plain" else Fraction(1)
    form = form_of(canvas, emulator, pixel, sound=False)
    if (shown.width, shown.height, shown.pixel) != (form.width, form.height, form.pixel):
        raise _WrongError(f"it is shown at {_size(shown)}, not at {_size(form)}")
    if shown.rate != form.rate:
        raise _WrongError(f"it is shown at {float(shown.rate):.2f} frames a second, not at {float(form.rate):.2f}")


def _size(form: Form | Shown) -> str:
    return f"{form.width}x{form.height} (pixels {form.pixel})"


def _difference(shown: tuple[Plane, Plane], drawn: tuple[Plane, Plane]) -> str:
    """Where pictures are farther apart than encoding explains; nothing if nowhere."""
    for name, one, other in zip(("luma", "color"), shown, drawn, strict=True):
        far = np.maximum(one, other) - np.minimum(one, other)
        if (most := int(far.max())) > TOLERANCE:
            *_, y, x = np.unravel_index(int(far.argmax()), far.shape)
            place = f"{100 * x // far.shape[-1]}% across and {100 * y // far.shape[-2]}% down"
            return f"{name} is {most} of 255 from what the emulator draws, {place},"
    return ""


def _compare_with_another(path: Path, mark: EmbeddedTrace, steps: list[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        again = Path(folder) / "again.mp4"
        height, width = emulator_of(mark.trace).screen_size
        look = partial(Plain, across=mark.width // width, down=mark.height // height)
        video(mark.trace, again, look, sound=False)
        with Decoder(path) as one, Decoder(again) as other:
            for frame, (shown, wanted) in enumerate(zip_longest(one, other)):
                if not np.array_equal(shown, wanted):
                    raise _WrongError(
                        "the picture is not to the bit what encoding the emulator's gives", frame, steps[frame]
                    )
