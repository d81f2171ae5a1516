"""What a reel is made of: episodes played for it, two videos, an animation. Each is work for a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.drawing.text import save_animation
from tasks.arcade.episodes.evaluation import play_episodes
from tasks.arcade.episodes.trace import Trace, write_trace
from tasks.arcade.inputs.forms import ReelSettings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.video.reel import Clip, Reel, evenly, grid, pictures, sequence

_ANIMATION_BYTES = 3_000_000
_ANIMATION_SECONDS = 10.0
_EVERY = 3
"""Frames of the game for one of the animation: 20 a second."""
_MILLISECONDS = 50

Part = Literal["reel.mp4", "grid.mp4", "reel.webp"]
PARTS: tuple[Part, ...] = ("reel.mp4", "grid.mp4", "reel.webp")


def play_for_reel(directory: Path, digest: str, settings: ReelSettings, path: Path) -> Trace:
    """Have a checkpoint play the seeded episode to its end, and write its trace.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    checkpoint = files.read(directory, digest)
    one = EvaluationSettings(episodes=1, seed=settings.seed, deterministic=settings.deterministic)
    (trace,) = play_episodes(checkpoint, digest, one)
    write_trace(trace, path)
    return trace


def make(part: Part, sides: list[list[Clip]], path: Path, seconds: float) -> Reel | None:
    """Draw one part of a reel.

    Args:
        part: which.
        sides: the episodes of one run, or of two, as many of each.
        path: where it is written.
        seconds: of each episode at most.

    Returns:
        What is in a video, frame by frame; of the animation nothing.

    Raises:
        VideoError: a game plays otherwise than its trace says, or ffmpeg failed.
    """
    if part == "reel.mp4":
        return sequence(list(zip(*sides, strict=True)), path, seconds)
    if part == "grid.mp4":
        return grid(sides, path, seconds)
    _animate(sides, path, min(seconds, _ANIMATION_SECONDS))
    return None


def _animate(sides: list[list[Clip]], path: Path, seconds: float) -> None:
    """Four episodes side by side, small enough for a README: shorter, if need be."""
    few = [[side[at] for at in evenly(len(side), 4 // len(sides))] for side in sides]
    while True:
        save_animation(pictures(few, seconds, _EVERY), path, _MILLISECONDS)
        if path.stat().st_size <= _ANIMATION_BYTES or seconds < 1:
            return
        seconds /= 2
