"""Which videos a report holds: so many that it stays small, of as many approaches and checkpoints as there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.arcade.report.data import RunView, VideoView
from tasks.arcade.report.groups import Group
from tasks.arcade.settings.base import Settings

VIDEO_BYTES = 6_500_000
"""Of MP4 in one report, which are 8.7 MB of text in it; with plotly.js it is a page below 15 MB."""
MOST_VIDEOS = 24
_ALL_FRAMES, _FEWEST, _MOST = 60_000, 1_500, 10_800
"""Of all videos in a report together; of each: at least 25 seconds of play, at most three minutes."""


class WantedVideo(Settings):
    """A video to make for a report."""

    run_id: str
    step: int
    frames: int


def wanted_videos(ranked: Sequence[Group], recorded: Mapping[str, Sequence[int]]) -> tuple[WantedVideo, ...]:
    """The videos to make for a report, of runs and checkpoints that have a trace.

    Of each approach the run whose last interquartile mean is the median one; then, while there is room, the others.
    Of each run checkpoints evenly spread over its training, the last one always.

    Args:
        ranked: the approaches.
        recorded: steps of the checkpoints with a trace, by run id.
    """
    runs = _shown_runs(ranked, recorded)
    if not runs:
        return ()
    each = max(1, MOST_VIDEOS // len(runs))
    chosen = [(run.run_id, step) for run in runs for step in _spread(sorted(recorded[run.run_id]), each)]
    frames = int(np.clip(_ALL_FRAMES // len(chosen), _FEWEST, _MOST))
    return tuple(WantedVideo(run_id=run_id, step=step, frames=frames) for run_id, step in chosen)


def _shown_runs(ranked: Sequence[Group], recorded: Mapping[str, Sequence[int]]) -> list[RunView]:
    """The median run of each approach, then others while all videos of all of them are few enough."""
    able = [[run for run in group.runs if recorded.get(run.run_id)] for group in ranked]
    first = [_median(runs) for runs in able if runs][:MOST_VIDEOS]
    others = [run for runs in able for run in runs if run not in first]
    total = sum(len(recorded[run.run_id]) for run in first)
    for run in others:
        if total + len(recorded[run.run_id]) > MOST_VIDEOS:
            break
        total += len(recorded[run.run_id])
        first.append(run)
    # Runs of one approach stand side by side.
    return [run for group in ranked for run in group.runs if run in first]


def _median(runs: Sequence[RunView]) -> RunView:
    ordered = sorted(runs, key=lambda run: run.last.iqm if run.last else -np.inf)
    return ordered[(len(ordered) - 1) // 2]


def _spread(steps: Sequence[int], most: int) -> list[int]:
    if len(steps) <= most:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, most) if most > 1 else [len(steps) - 1]
    return [steps[round(float(place))] for place in places]


def within_budget(runs: Sequence[RunView], limit: int = VIDEO_BYTES) -> dict[str, tuple[VideoView, ...]]:
    """The videos that a report holds, by run id, in rising order of steps.

    While they are more than `limit` bytes together, every run gives up the video that it needs least: the last one and
    the first are kept longest.
    """
    held = {run.run_id: _by_worth(run.videos) for run in runs}
    while sum(len(video.mp4) for videos in held.values() for video in videos) > limit:
        longest = max(held.values(), key=len)
        longest.pop()
    return {run_id: tuple(sorted(videos, key=lambda video: video.step)) for run_id, videos in held.items()}


def _by_worth(videos: Sequence[VideoView]) -> list[VideoView]:
    """The last video, the first, the middle one, and so on, halving what lies between."""
    ordered = sorted(videos, key=lambda video: video.step)
    ranks = sorted(range(len(ordered)), key=lambda place: (_level(place, len(ordered)), -place))
    return [ordered[place] for place in ranks]


def _level(place: int, count: int) -> int:
    """How often a row of videos has to be halved until this one is at an end of a part."""
    if place in (0, count - 1):
        return 0
    low, high, level = 0, count - 1, 0
    while place not in (low, high):
        middle, level = (low + high) // 2, level + 1
        low, high = (low, middle) if place <= middle else (middle, high)
    return level
