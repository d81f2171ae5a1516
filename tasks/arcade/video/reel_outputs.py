"""Outputs of a reel: its episodes, two videos, an animation. Each runs in a separate process."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.drawing.images import write_animation
from tasks.arcade.episodes.evaluation import play_episodes
from tasks.arcade.episodes.trace import Trace, write_trace
from tasks.arcade.inputs.forms import ReelSettings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.video.reel import RenderedReel, evenly_spaced, grid_frames, render_grid, render_sequence
from tasks.arcade.video.reel_cells import ReelEpisode

_MAX_ANIMATION_BYTES = 3_000_000
_MAX_ANIMATION_SECONDS = 10.0
_ANIMATION_FRAME_SKIP = 3
"""Frames of the game per frame of the animation: 20 frames per second."""
_ANIMATION_FRAME_MILLISECONDS = 50

PartName = Literal["reel.mp4", "grid.mp4", "reel.webp"]
PART_NAMES: tuple[PartName, ...] = ("reel.mp4", "grid.mp4", "reel.webp")


def play_reel_episode(directory: Path, digest: str, settings: ReelSettings, path: Path) -> Trace:
    """Play a checkpoint's seeded episode to its end, write its trace and return it.

    Args:
        directory: Folder of the checkpoint.
        digest: Digest of the checkpoint.
        settings: Reel settings: seed, deterministic actions.
        path: Path of the trace.

    Raises:
        CheckpointError: The checkpoint is damaged.
    """
    checkpoint = files.read_checkpoint(directory, digest)
    evaluation = EvaluationSettings(episodes=1, seed=settings.seed, deterministic=settings.deterministic)
    (trace,) = play_episodes(checkpoint, digest, evaluation)
    write_trace(trace, path)
    return trace


def render_part(part: PartName, sides: list[list[ReelEpisode]], path: Path, seconds: float) -> RenderedReel | None:
    """Render one part of a reel.

    Args:
        part: Name of the part.
        sides: Episodes of one run or two, the same number for each run.
        path: Path of the file.
        seconds: Maximum duration of each episode.

    Returns:
        The contents of a video, frame by frame; None for the animation.

    Raises:
        VideoError: A replay differs from its trace, or ffmpeg failed.
    """
    if part == "reel.mp4":
        return render_sequence(list(zip(*sides, strict=True)), path, seconds)
    if part == "grid.mp4":
        return render_grid(sides, path, seconds)
    _render_animation(sides, path, min(seconds, _MAX_ANIMATION_SECONDS))
    return None


def _render_animation(sides: list[list[ReelEpisode]], path: Path, seconds: float) -> None:
    """Render four episodes side by side, shortened until the file is small enough for a README."""
    selected = [[side[at] for at in evenly_spaced(len(side), 4 // len(sides))] for side in sides]
    while True:
        write_animation(grid_frames(selected, seconds, _ANIMATION_FRAME_SKIP), path, _ANIMATION_FRAME_MILLISECONDS)
        if path.stat().st_size <= _MAX_ANIMATION_BYTES or seconds < 1:
            return
        seconds /= 2
