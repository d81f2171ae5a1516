"""Panel video: the game at the left; the observation, the policy's outputs, value and score at the right.

For a policy on pixels, the RAM is replaced by the frames it observes. The game's screen is drawn every frame; of the
panel, what changed is redrawn once per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.canvas import Box, Canvas
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.drawing.stacked_frames import StackedFrames
from tasks.arcade.drawing.text import text_coverage, with_minus_sign
from tasks.arcade.drawing.widgets import (
    BACKGROUND,
    BRIGHT,
    CHANGED,
    FAINT,
    SALIENT,
    SOFT,
    VALUE,
    ActionBars,
    Label,
    RamGrid,
    ScaledChart,
)
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.frame_stack import Observation, ObservationBuilder
from tasks.arcade.episodes.playing import Step
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.video.outlines import Outliner, Outlines
from tasks.arcade.video.policy_view import PolicyView

WIDTH, HEIGHT = 1280, 720
GAME = Box(20, 20, 840, 630)
"""Box of the game: 4:3, and for the usual 210 lines three of the video's per line of the game."""
_LEFT, _WIDTH = 884, 376
"""Left edge and width of the panel."""
_HEADING_WIDTH = 216
ENDING_SECONDS = 2.0
"""How long the end of an episode stands with its result."""
_GLOW = (1.0, 0.5, 0.5, 0.5)
"""Glow of a byte that changed in this step, one step before, two steps before, ..."""
_HEADINGS = {"probabilities": "ACTION PROBABILITIES", "q-values": "Q-VALUES"}


@dataclass(frozen=True)
class Caption:
    """Caption under the game: which checkpoint plays, and which of its episodes the video shows.

    Attributes:
        title: First line.
        details: Second line during the episode.
        result: Second line after the episode: what came of it.
    """

    title: str
    details: str
    result: str = ""


class PanelRenderer:
    """Draws the game beside a panel, 1280 x 720.

    During a step's frames the panel shows the RAM before the step, the decision made on it, and the score so far. After
    the last step the result stands for two seconds. Text that matters is legible at the 582 pixels of MLflow's page.

    Args:
        emulator: Emulator that replays the trace.
        checkpoint: Checkpoint that played the episode.
        caption: Caption under the game.
        atlas: Atlas of the game, for outlines (default: no outlines).
    """

    kind: Literal["plain", "panel"] = "panel"
    sample_aspect_ratio = Fraction(1)
    ending_seconds: float = ENDING_SECONDS
    coarse_region: tuple[int, int, int, int] | None = (_LEFT - 16, 0, WIDTH - _LEFT + 16, HEIGHT)

    def __init__(
        self, emulator: Emulator, checkpoint: Checkpoint, caption: Caption, atlas: Atlas | None = None
    ) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT, BACKGROUND)
        self.view = GameView(self.canvas, GAME, emulator.screen_size)
        self._fps = emulator.screen_fps
        self._policy = PolicyView(checkpoint)
        self._observe = ObservationBuilder(self._policy.agent, emulator)
        uses_pixels = self._policy.agent.uses_pixels
        usable_atlas = None if uses_pixels else atlas
        self._outliner = Outliner(self.view, usable_atlas)
        self._score = 0
        self._draw_texts(caption)
        view_class = _PixelsView if uses_pixels else _RamView
        self._observation: _ObservationView = view_class(self.canvas, usable_atlas is not None)
        self._bars = ActionBars(self.canvas, Box(_LEFT, 274, _WIDTH, 198), emulator.action_names)
        self._value_chart = ScaledChart(self.canvas, Box(_LEFT, 512, _WIDTH, 72), VALUE, 0.2, _format_value)
        self._score_chart = ScaledChart(self.canvas, Box(_LEFT, 628, _WIDTH, 72), BRIGHT, 1.0, _format_score)

    def _draw_texts(self, caption: Caption) -> None:
        canvas, details = self.canvas, Box(20, 686, 840, 28)
        Label(canvas, Box(20, 656, 610, 30), "Inter-SemiBold", 22, BRIGHT).set(caption.title)
        Label(canvas, details, "Inter-Medium", 18, SOFT).set(caption.details)
        self._result, self._result_label = caption.result, Label(canvas, details, "Inter-SemiBold", 20, BRIGHT)
        self._clock = Label(canvas, Box(630, 656, 230, 30), "JetBrainsMono-Medium", 18, SOFT, align="right")
        for y, text in ((246, _HEADINGS[self._policy.outputs]), (480, "VALUE ESTIMATE"), (596, "SCORE")):
            _draw_heading(canvas, y, text)
        x, width = _LEFT + _HEADING_WIDTH, _WIDTH - _HEADING_WIDTH
        self._action_label = Label(canvas, Box(x, 246, width, 24), "JetBrainsMono-Bold", 18, SALIENT, "right")
        self._value_label = Label(canvas, Box(x, 476, width, 32), "JetBrainsMono-Bold", 24, VALUE, "right")
        self._score_label = Label(canvas, Box(x, 592, width, 32), "JetBrainsMono-Bold", 24, BRIGHT, "right")

    @property
    def outlines(self) -> Outlines | None:
        """Outlines drawn over the game so far; None without an atlas."""
        return self._outliner.outlines

    def draw(self, emulator: Emulator) -> None:
        """Draw the current screen of the game and the outlines."""
        self._outliner.draw(emulator)

    def update(self, step: Step, trace: Trace) -> None:
        """Draw the observation after a step and the decision made on it, or after the last step the result."""
        self._score += step.reward
        self._score_chart.append(float(self._score))
        self._score_label.set(_format_score(self._score))
        seconds = int(step.frame / self._fps)
        number = min(step.number + 1, trace.length)
        self._clock.set(f"step {number:,}  {seconds // 60}:{seconds % 60:02d}")
        if step.number == trace.length:
            self._result_label.set(self._result)
            return
        action = trace.actions[step.number]
        observation, previous = self._observe(step.ram, episode_start=step.number == 0)
        readout = self._policy(observation, previous, action)
        self._observation.draw(observation, previous, readout.saliency)
        self._outliner.update(step.ram, readout.saliency)
        self._bars.draw(readout.bar_lengths, readout.bar_labels, action)
        self._action_label.set(self._bars.names[action])
        self._value_chart.append(readout.value)
        self._value_label.set(_format_value(readout.value))


def _format_value(value: float) -> str:
    """Return a value estimate in at most five characters, where it is below 10,000."""
    return with_minus_sign(f"{value:+.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}")


def _format_score(score: float) -> str:
    return with_minus_sign(f"{score:,.0f}")


def _draw_heading(canvas: Canvas, y: int, text: str) -> None:
    Label(canvas, Box(_LEFT, y, _HEADING_WIDTH, 24), "Inter-SemiBold", 16, SOFT).set(text)


class _ObservationView(Protocol):
    """Draws the policy's observation."""

    def draw(self, observation: Observation, previous: Observation, saliency: npt.NDArray[np.float64]) -> None:
        """Draw an observation, its change since the previous one, and the saliency of each byte."""
        ...


class _RamView:
    """Draws the RAM, byte by byte."""

    def __init__(self, canvas: Canvas, outlined: bool) -> None:
        _draw_heading(canvas, 16, "RAM")
        self._draw_legend(canvas, "salient, outlined" if outlined else "salient")
        for column in range(16):
            box = Box(_LEFT + 24 + 22 * column, 42, 22, 14)
            Label(canvas, box, "JetBrainsMono-Medium", 10, FAINT, "center").set(f"{column:X}")
        for row in range(8):
            box = Box(_LEFT, 62 + 22 * row, 20, 14)
            Label(canvas, box, "JetBrainsMono-Medium", 10, FAINT).set(f"{row:X}0")
        self._grid = RamGrid(canvas, Box(_LEFT + 24, 58, 352, 176))
        self._steps_since_change = np.full(128, len(_GLOW))

    def _draw_legend(self, canvas: Canvas, salient: str) -> None:
        x = _LEFT + _WIDTH
        for text, color in ((salient, SALIENT), ("changed", CHANGED)):
            width = text_coverage(text, "Inter-Medium", 16).shape[1] // 2 * 2 + 2
            Label(canvas, Box(x - width, 16, width, 24), "Inter-Medium", 16, SOFT, "right").set(text)
            x -= width + 18
            canvas.fill(Box(x, 22, 12, 12), color)
            if color == SALIENT:
                canvas.fill(Box(x + 2, 24, 8, 8), BACKGROUND)
            x -= 14

    def draw(self, observation: Observation, previous: Observation, saliency: npt.NDArray[np.float64]) -> None:
        self._steps_since_change = np.where(observation != previous, 0, self._steps_since_change + 1)
        glow = np.array([*_GLOW, 0.0])[np.minimum(self._steps_since_change, len(_GLOW))]
        self._grid.draw(observation, glow, saliency)


class _PixelsView:
    """Draws the stacked frames of a policy on pixels."""

    def __init__(self, canvas: Canvas, outlined: bool) -> None:
        _draw_heading(canvas, 16, "FRAME STACK")
        box = Box(_LEFT + _HEADING_WIDTH, 16, _WIDTH - _HEADING_WIDTH, 24)
        Label(canvas, box, "Inter-Medium", 16, SOFT, "right").set("newest, last four")
        self._frames = StackedFrames(canvas, _LEFT, 54)

    def draw(self, observation: Observation, previous: Observation, saliency: npt.NDArray[np.float64]) -> None:
        self._frames.draw(observation)
