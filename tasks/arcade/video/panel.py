"""Panel video: the game at the left; the observation, the policy's outputs, value and score at the right.

For a policy on pixels, the RAM is replaced by the frames it observes. The game's screen is drawn every frame; of the
panel, what changed is redrawn once per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.canvas import Box, Canvas
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.drawing.text import with_minus_sign
from tasks.arcade.drawing.widgets import (
    BACKGROUND,
    BRIGHT,
    SALIENT,
    SOFT,
    VALUE,
    ActionBars,
    Label,
    ScaledChart,
)
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.episodes.observed_ram import ObservedRam, ReadRam
from tasks.arcade.episodes.playing import Step
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.video.observation_views import (
    HEADING_WIDTH,
    LEFT,
    ObservationView,
    PixelsView,
    RamView,
    ReadRamView,
    draw_heading,
)
from tasks.arcade.video.observation_views import WIDTH as PANEL_WIDTH
from tasks.arcade.video.outlines import Outliner, Outlines
from tasks.arcade.video.policy_view import PolicyView

WIDTH, HEIGHT = 1280, 720
GAME = Box(20, 20, 840, 630)
"""Box of the game: 4:3, and for the usual 210 lines three of the video's per line of the game."""
ENDING_SECONDS = 2.0
"""How long the end of an episode stands with its result."""
_HEADINGS = {"probabilities": "ACTION PROBABILITIES", "q-values": "Q-VALUES"}


@dataclass(frozen=True)
class _Layout:
    """Where a panel shows what is below the observation.

    Attributes:
        actions: Top of the policy's outputs.
        bars: Height of their bars.
        value: Top of the value estimate.
        score: Top of the score.
        charts: Whether there is a chart below value and score.
    """

    actions: int
    bars: int
    value: int
    score: int
    charts: bool


_WITH_CHARTS = _Layout(actions=246, bars=198, value=480, score=596, charts=True)
_BELOW_TWO_GRIDS = _Layout(actions=452, bars=150, value=640, score=674, charts=False)


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
        read_ram: Reads the RAM that the policy observed from the screens, which is shown beside the emulator's; without
            the charts of value and score (default: the policy observed the emulator's).
    """

    kind: Literal["plain", "panel"] = "panel"
    sample_aspect_ratio = Fraction(1)
    ending_seconds: float = ENDING_SECONDS
    coarse_region: tuple[int, int, int, int] | None = (LEFT - 16, 0, WIDTH - LEFT + 16, HEIGHT)

    def __init__(
        self,
        emulator: Emulator,
        checkpoint: Checkpoint,
        caption: Caption,
        atlas: Atlas | None = None,
        read_ram: ReadRam | None = None,
    ) -> None:
        self.canvas = Canvas(WIDTH, HEIGHT, BACKGROUND)
        self.view = GameView(self.canvas, GAME, emulator.screen_size)
        self._fps = emulator.screen_fps
        self._policy = PolicyView(checkpoint)
        self._observed_ram = ObservedRam(emulator, read_ram)
        self._observe = ObservationBuilder(self._policy.agent, emulator)
        uses_pixels = self._policy.agent.uses_pixels
        usable_atlas = None if uses_pixels else atlas
        self._outliner = Outliner(self.view, usable_atlas)
        self._score = 0
        layout = _BELOW_TWO_GRIDS if read_ram else _WITH_CHARTS
        self._draw_caption(caption)
        self._draw_headings(layout)
        self._observation: ObservationView
        if uses_pixels:
            self._observation = PixelsView(self.canvas)
        elif read_ram:
            self._observation = ReadRamView(self.canvas)
        else:
            self._observation = RamView(self.canvas, usable_atlas is not None)
        bars = Box(LEFT, layout.actions + 28, PANEL_WIDTH, layout.bars)
        self._bars = ActionBars(self.canvas, bars, emulator.action_names)
        self._charts: tuple[ScaledChart, ScaledChart] | None = None
        if layout.charts:
            value, score = (Box(LEFT, y + 32, PANEL_WIDTH, 72) for y in (layout.value, layout.score))
            self._charts = (
                ScaledChart(self.canvas, value, VALUE, 0.2, _format_value),
                ScaledChart(self.canvas, score, BRIGHT, 1.0, _format_score),
            )

    def _draw_caption(self, caption: Caption) -> None:
        canvas, details = self.canvas, Box(20, 686, 840, 28)
        Label(canvas, Box(20, 656, 610, 30), "Inter-SemiBold", 22, BRIGHT).set(caption.title)
        Label(canvas, details, "Inter-Medium", 18, SOFT).set(caption.details)
        self._result, self._result_label = caption.result, Label(canvas, details, "Inter-SemiBold", 20, BRIGHT)
        self._clock = Label(canvas, Box(630, 656, 230, 30), "JetBrainsMono-Medium", 18, SOFT, align="right")

    def _draw_headings(self, layout: _Layout) -> None:
        canvas = self.canvas
        headings = ((layout.actions, _HEADINGS[self._policy.outputs]), (layout.value, "VALUE ESTIMATE"))
        for y, text in (*headings, (layout.score, "SCORE")):
            draw_heading(canvas, y, text)
        x, width = LEFT + HEADING_WIDTH, PANEL_WIDTH - HEADING_WIDTH
        self._action_label = Label(
            canvas, Box(x, layout.actions, width, 24), "JetBrainsMono-Bold", 18, SALIENT, "right"
        )
        self._value_label = Label(canvas, Box(x, layout.value - 4, width, 32), "JetBrainsMono-Bold", 24, VALUE, "right")
        self._score_label = Label(
            canvas, Box(x, layout.score - 4, width, 32), "JetBrainsMono-Bold", 24, BRIGHT, "right"
        )

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
        if self._charts:
            self._charts[1].append(float(self._score))
        self._score_label.set(_format_score(self._score))
        seconds = int(step.frame / self._fps)
        number = min(step.number + 1, trace.length)
        self._clock.set(f"step {number:,}  {seconds // 60}:{seconds % 60:02d}")
        if step.number == trace.length:
            self._result_label.set(self._result)
            return
        action = trace.actions[step.number]
        ram = self._observed_ram(step, trace)
        observation, previous = self._observe(ram, episode_start=step.number == 0)
        readout = self._policy(observation, previous, action)
        self._observation.draw(step.ram, observation, previous, readout.saliency)
        self._outliner.update(step.ram, readout.saliency)
        self._bars.draw(readout.bar_lengths, readout.bar_labels, action)
        self._action_label.set(self._bars.names[action])
        if self._charts:
            self._charts[0].append(readout.value)
        self._value_label.set(_format_value(readout.value))


def _format_value(value: float) -> str:
    """Return a value estimate in at most five characters, where it is below 10,000."""
    return with_minus_sign(f"{value:+.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}")


def _format_score(score: float) -> str:
    return with_minus_sign(f"{score:,.0f}")
