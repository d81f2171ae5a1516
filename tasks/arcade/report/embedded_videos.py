"""Selects the videos that a report embeds, within a limit on its size, from all approaches and their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.arcade.report.data import RunView, VideoView
from tasks.arcade.report.groups import Group
from tasks.arcade.settings.base import Settings

MAX_VIDEO_BYTES = 6_500_000
"""MP4 bytes per report: 8.7 MB as base64, which with plotly.js makes a page of less than 15 MB."""
MAX_VIDEOS = 24
_TOTAL_FRAMES, _MIN_FRAMES, _MAX_FRAMES = 60_000, 1_500, 10_800
"""Frames of all videos together, and of a single one: between 25 seconds and three minutes of play."""


class VideoRequest(Settings):
    """A video to render for a report."""

    run_id: str
    step: int
    frames: int


def select_videos(ranked: Sequence[Group], recorded: Mapping[str, Sequence[int]]) -> tuple[VideoRequest, ...]:
    """Select the videos of a report among the checkpoints that have a trace.

    Of each approach, the run with the median final interquartile mean; then other runs while there is room. Of each
    run, evenly spaced checkpoints including the last one.

    Args:
        ranked: the approaches.
        recorded: steps of the checkpoints with a trace, by run id.
    """
    runs = _select_runs(ranked, recorded)
    if not runs:
        return ()
    per_run = max(1, MAX_VIDEOS // len(runs))
    selected = [(run.run_id, step) for run in runs for step in _evenly_spaced(sorted(recorded[run.run_id]), per_run)]
    frames = int(np.clip(_TOTAL_FRAMES // len(selected), _MIN_FRAMES, _MAX_FRAMES))
    return tuple(VideoRequest(run_id=run_id, step=step, frames=frames) for run_id, step in selected)


def _select_runs(ranked: Sequence[Group], recorded: Mapping[str, Sequence[int]]) -> list[RunView]:
    candidates = [[run for run in group.runs if recorded.get(run.run_id)] for group in ranked]
    selected = [_median_run(runs) for runs in candidates if runs][:MAX_VIDEOS]
    others = [run for runs in candidates for run in runs if run not in selected]
    total = sum(len(recorded[run.run_id]) for run in selected)
    for run in others:
        if total + len(recorded[run.run_id]) > MAX_VIDEOS:
            break
        total += len(recorded[run.run_id])
        selected.append(run)
    # Ordered so that the runs of one approach are adjacent.
    return [run for group in ranked for run in group.runs if run in selected]


def _median_run(runs: Sequence[RunView]) -> RunView:
    ordered = sorted(runs, key=lambda run: run.last.iqm if run.last else -np.inf)
    return ordered[(len(ordered) - 1) // 2]


def _evenly_spaced(steps: Sequence[int], count: int) -> list[int]:
    if len(steps) <= count:
        return list(steps)
    indices = np.linspace(0, len(steps) - 1, count) if count > 1 else [len(steps) - 1]
    return [steps[round(float(index))] for index in indices]


def fit_video_budget(
    videos: Mapping[str, Sequence[VideoView]], max_bytes: int = MAX_VIDEO_BYTES
) -> dict[str, tuple[VideoView, ...]]:
    """Return the videos that a report embeds, by run id and in ascending order of steps.

    While all videos exceed `max_bytes`, the run with the most videos drops its least important one; the last and the
    first are kept longest.
    """
    kept = {run_id: _by_importance(of_run) for run_id, of_run in videos.items()}
    while sum(len(video.mp4) for of_run in kept.values() for video in of_run) > max_bytes:
        longest = max(kept.values(), key=len)
        longest.pop()
    return {run_id: tuple(sorted(of_run, key=lambda video: video.step)) for run_id, of_run in kept.items()}


def _by_importance(videos: Sequence[VideoView]) -> list[VideoView]:
    """Order videos: the last, the first, the middle one, and so on by repeated halving."""
    ordered = sorted(videos, key=lambda video: video.step)
    ranks = sorted(range(len(ordered)), key=lambda index: (_bisection_depth(index, len(ordered)), -index))
    return [ordered[index] for index in ranks]


def _bisection_depth(index: int, count: int) -> int:
    """Return the number of halvings of a sequence after which `index` is an end of a part."""
    if index in (0, count - 1):
        return 0
    low, high, depth = 0, count - 1, 0
    while index not in (low, high):
        middle, depth = (low + high) // 2, depth + 1
        low, high = (low, middle) if index <= middle else (middle, high)
    return depth
