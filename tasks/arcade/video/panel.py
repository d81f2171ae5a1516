"""What lies beside the game: the RAM that the policy sees, what it decides and why, and how the game stands.

Of a policy on pixels no byte can be said to decide: in the RAM's place are the pictures that it sees.

Drawn once a step, and of it only what changed; the game's picture is drawn every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.model import Atlas
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.canvas import Box, Canvas, GameView
from tasks.arcade.drawing.stacked_frames import Pictures
from tasks.arcade.drawing.text import letters, signed
from tasks.arcade.drawing.widgets import (
    BACKGROUND,
    BRIGHT,
    CHANGED,
    DECIDING,
    FAINT,
    SOFT,
    VALUE,
    ActionBars,
    Chart,
    Label,
    RamGrid,
)
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.frame_stack import Observation, ObservationBuilder
from tasks.arcade.episodes.playing import Step
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.video.outlines import Outliner, Outlines
from tasks.arcade.video.policy_view import PolicyView

WIDTH, HEIGHT = 1280, 720
GAME = Box(20, 20, 840, 630)
"""4:3, and for the usual 210 lines three of the video's to one of the game's."""
_LEFT, _ACROSS = 884, 376
_GLOW = (1.0, 0.5, 0.5, 0.5)
"""Light of a byte that changed in this step, in the one before, and so on."""


@dataclass(frozen=True)
class Caption:
    """The words under the game: which checkpoint plays, and which of its episodes this is."""

    title: str
    details: str


class Panel:
    """A look for `video.video`: the game at the left, what the policy sees and decides at the right, 1280 x 720.

    While a step's frames are shown, so are the RAM before it, what was decided on that, and the score until then.

    Args:
        emulator: whose frames are shown.
        checkpoint: what plays.
        caption: the words under the game.
        atlas: tells what of the game's picture to outline; none: nothing is.
    """

    kind: Literal["plain", "panel"] = "panel"
    pixel = Fraction(1)

    def __init__(
        self, emulator: Emulator, checkpoint: Checkpoint, caption: Caption, atlas: Atlas | None = None
    ) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT, BACKGROUND)
        self.view = GameView(self.canvas, GAME, emulator.screen_size)
        self._fps = emulator.screen_fps
        self._mind = PolicyView(checkpoint)
        self._senses = ObservationBuilder(self._mind.agent, emulator)
        uses_pixels = self._mind.agent.uses_pixels
        outlining = None if uses_pixels else atlas
        self._outliner = Outliner(self.view, outlining)
        self._score = 0
        self._words(caption)
        self._seen: _Seen = (_Pixels if uses_pixels else _Bytes)(self.canvas, outlining is not None)
        self._bars = ActionBars(self.canvas, Box(_LEFT, 274, _ACROSS, 198), emulator.action_names)
        self._value = Chart(self.canvas, Box(_LEFT, 512, _ACROSS, 72), VALUE, span=0.2)
        self._points = Chart(self.canvas, Box(_LEFT, 628, _ACROSS, 72), BRIGHT, span=1.0)

    def _words(self, caption: Caption) -> None:
        canvas = self.canvas
        Label(canvas, Box(20, 658, 660, 26), "Inter-SemiBold", 18, BRIGHT).set(caption.title)
        Label(canvas, Box(20, 684, 840, 22), "Inter-Medium", 14, SOFT).set(caption.details)
        self._clock = Label(canvas, Box(680, 658, 180, 26), "JetBrainsMono-Medium", 14, SOFT, align="right")
        for y, words in ((250, "DECISION"), (484, "VALUE"), (600, "SCORE")):
            _head(canvas, y, words)
        self._chosen = Label(canvas, Box(_LEFT + 120, 250, 256, 20), "JetBrainsMono-Bold", 12, DECIDING, "right")
        self._value_now = Label(canvas, Box(_LEFT + 120, 480, 256, 28), "JetBrainsMono-Bold", 18, VALUE, "right")
        self._score_now = Label(canvas, Box(_LEFT + 120, 596, 256, 28), "JetBrainsMono-Bold", 18, BRIGHT, "right")

    @property
    def outlines(self) -> Outlines | None:
        """What was outlined on the game's picture so far."""
        return self._outliner.outlines

    def draw(self, emulator: Emulator) -> None:
        """Draw the last frame of the game, and what is outlined in it."""
        self._outliner.draw(emulator)

    def show(self, step: Step, trace: Trace) -> None:
        """Draw what is decided after a step."""
        if step.number == trace.length:
            return
        action = trace.actions[step.number]
        seen, previous = self._senses(step.ram, starts=step.number == 0)
        thought = self._mind(seen, previous, action)
        self._score += step.reward
        self._seen.draw(seen, previous, thought.weights)
        self._outliner.show(step.ram, thought.weights)
        self._bars.draw(thought.lengths, thought.words, action)
        self._chosen.set(self._bars.names[action])
        self._value.add(thought.value)
        self._points.add(float(self._score))
        self._value_now.set(signed(f"{thought.value:+.2f}"))
        self._score_now.set(signed(f"{self._score:,}"))
        seconds = int(step.frame / self._fps)
        self._clock.set(f"step {step.number + 1:,}  {seconds // 60}:{seconds % 60:02d}")


def _head(canvas: Canvas, y: int, words: str) -> None:
    Label(canvas, Box(_LEFT, y, 120, 20), "Inter-SemiBold", 12, SOFT).set(words)


class _Seen(Protocol):
    """What shows what the policy sees."""

    def draw(self, seen: Observation, previous: Observation, weights: npt.NDArray[np.float64]) -> None:
        """Draw what is seen at a step, after what was seen at the step before, and how much each byte decides."""
        ...


class _Bytes:
    """The RAM, byte by byte."""

    def __init__(self, canvas: Canvas, outlined: bool) -> None:
        _head(canvas, 20, "RAM")
        self._legend(canvas, "decides, outlined in the game too" if outlined else "decides")
        for column in range(16):
            Label(canvas, Box(_LEFT + 24 + 22 * column, 42, 22, 14), "JetBrainsMono-Medium", 10, FAINT, "center").set(
                f"{column:X}"
            )
        for row in range(8):
            Label(canvas, Box(_LEFT, 62 + 22 * row, 20, 14), "JetBrainsMono-Medium", 10, FAINT).set(f"{row:X}0")
        self._grid = RamGrid(canvas, Box(_LEFT + 24, 58, 352, 176))
        self._since = np.full(128, len(_GLOW))

    def _legend(self, canvas: Canvas, decides: str) -> None:
        x = _LEFT + _ACROSS
        for words, color in ((decides, DECIDING), ("changed", CHANGED)):
            width = letters(words, "Inter-Medium", 12).shape[1] // 2 * 2 + 2
            Label(canvas, Box(x - width, 20, width, 20), "Inter-Medium", 12, SOFT, "right").set(words)
            x -= width + 16
            canvas.fill(Box(x, 26, 10, 10), color)
            if color == DECIDING:
                canvas.fill(Box(x + 2, 28, 6, 6), BACKGROUND)
            x -= 16

    def draw(self, seen: Observation, previous: Observation, weights: npt.NDArray[np.float64]) -> None:
        self._since = np.where(seen != previous, 0, self._since + 1)
        self._grid.draw(seen, np.array([*_GLOW, 0.0])[np.minimum(self._since, len(_GLOW))], weights)


class _Pixels:
    """The pictures of a policy that sees no RAM."""

    def __init__(self, canvas: Canvas, outlined: bool) -> None:
        _head(canvas, 20, "PICTURES")
        words = Label(canvas, Box(_LEFT + 120, 20, _ACROSS - 120, 20), "Inter-Medium", 12, SOFT, "right")
        words.set("the newest, and the last four")
        self._pictures = Pictures(canvas, _LEFT, 54)

    def draw(self, seen: Observation, previous: Observation, weights: npt.NDArray[np.float64]) -> None:
        self._pictures.draw(seen)
