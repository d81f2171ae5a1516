"""Highlight of an episode: its liveliest stretch as a small video for sharing, the game alone with square pixels.

A stretch is lively where the score changes and where the value estimate swings: each counts by its share of the whole
episode's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.canvas import Canvas
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.drawing.mp4_encoder import Mp4Encoder
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.episodes.playing import emulator_for_trace, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.policy_view import PolicyView
from tasks.arcade.video.render import DISPLAY_ASPECT_RATIO, check_step, video_format

_SCALE = 2
"""Rows of the video per row of the game."""


class Highlight(Settings):
    """A highlight that was written."""

    first_frame: int = Field(ge=0, description="Frame of the episode that it starts with, 0 being the reset's")
    frames: int = Field(ge=1)
    width: int
    height: int


def render_highlight(checkpoint: Checkpoint, trace: Trace, path: Path, seconds: float) -> Highlight:
    """Write the liveliest stretch of an episode with its sound as an MP4.

    Args:
        checkpoint: Checkpoint that played the episode.
        trace: Trace of the episode; every step is compared with it.
        path: Path of the file, in a folder that exists.
        seconds: Length of the stretch; a shorter episode is shown as a whole.

    Raises:
        TraceError: The trace cannot be replayed with the installed ale-py.
        VideoError: The replay differs from the trace, or ffmpeg failed.
    """
    emulator = emulator_for_trace(trace, sound=True)
    rows, columns = emulator.screen_size
    canvas = Canvas(round(rows * DISPLAY_ASPECT_RATIO * _SCALE / 2) * 2, rows * _SCALE)
    view = GameView(canvas, canvas.box, (rows, columns))
    target = replace(video_format(canvas, emulator, sound=True), compact=True)
    length = max(1, round(seconds * target.frame_rate))
    frames, values = _value_estimates(checkpoint, trace)
    first = liveliest_stretch(frames, trace.rewards, values, length)
    shown = 0
    metadata = {
        "title": f"{trace.game.env_id}, highlight",
        "comment": f"ramreel: seed {trace.seed}, RAM digest {trace.ram_digest}, from frame {first}",
    }
    with Mp4Encoder(path, target, metadata) as encoder:

        def draw() -> None:
            nonlocal shown
            if first <= shown < first + length:
                view.draw(emulator)
                encoder.write(canvas.frame, emulator.sound())
            shown += 1

        for step in replay(trace, emulator=emulator, on_frame=draw):
            check_step(step, trace, path.name)
            if shown >= first + length:
                break
    return Highlight(first_frame=first, frames=encoder.frames, width=canvas.box.width, height=canvas.box.height)


def _value_estimates(checkpoint: Checkpoint, trace: Trace) -> tuple[list[int], list[float]]:
    """Return the frame at which each step ends, and the value estimate before each step."""
    emulator, view = emulator_for_trace(trace), PolicyView(checkpoint)
    observe = ObservationBuilder(view.agent, emulator)
    frames, values = list[int](), list[float]()
    for step in replay(trace, emulator=emulator):
        if step.number:
            frames.append(step.frame)
        if step.number < trace.length:
            observation, previous = observe(step.ram, episode_start=step.number == 0)
            values.append(view(observation, previous, trace.actions[step.number]).value)
    return frames, values


def liveliest_stretch(frames: Sequence[int], rewards: Sequence[int], values: Sequence[float], length: int) -> int:
    """Return the first frame of the liveliest stretch of a length in frames.

    Among equally lively stretches the middle one is chosen, so that an event has something before and after it.

    Args:
        frames: Frame at which each step ends, in ascending order; of shape (steps,).
        rewards: Reward of each step.
        values: Value estimate before each step.
        length: Length of the stretch in frames.
    """
    changes = (np.asarray(rewards) != 0).astype(np.float64)
    swings = np.abs(np.diff(np.asarray(values, np.float64), prepend=values[0]))
    activity = sum(one / one.sum() for one in (changes, swings) if one.sum() > 0)
    per_frame = np.zeros(frames[-1] + 1)
    np.add.at(per_frame, np.asarray(frames), activity)
    if length >= len(per_frame):
        return 0
    cumulative = np.concatenate([[0.0], np.cumsum(per_frame)])
    totals = cumulative[length:] - cumulative[:-length]
    best = np.flatnonzero(totals >= totals.max() - 1e-9)
    # The first run of adjacent stretches, not ones elsewhere that happen to be as lively.
    end = int(np.argmax(np.diff(best, append=best[-1] + 2) > 1))
    return int(best[end // 2])
