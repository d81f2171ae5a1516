"""Recorded checkpoints of a run, and those that are not recorded yet; read without Prefect."""

from __future__ import annotations

from pydantic import Field

from tasks.arcade.decoding.pixels_evaluation import PixelsEvaluation
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.scores.pixels_returns import RamSource
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import PixelMethod
from tasks.store import Store, StoredCheckpoint, StoredVideo, highlight_path


class RecordedCheckpoint(Settings):
    """A video in the store and its evaluation.

    Attributes:
        path: artifact path of the video.
        trace: artifact path of the trace.
        highlight: artifact path of its highlight; None without one.
        choice: which episode was recorded, e.g. the median one.
        returns: of a video from pixels the returns, one per episode, by the RAM that the policy observed; empty of
            others.
    """

    step: int
    path: str
    trace: str
    highlight: str | None
    choice: str
    episode: int
    frames: int
    episode_return: float
    mean_return: float
    episodes: int
    distinct_episodes: int
    returns: dict[RamSource, tuple[float, ...]] = Field(default={})


def unrecorded(
    store: Store,
    run_id: str,
    steps: tuple[int, ...] | None,
    again: bool,
    last: bool,
    pixels: PixelMethod | None = None,
) -> tuple[StoredCheckpoint, ...]:
    """Return the run's checkpoints without a video or an evaluation, or all of them with `again`.

    Args:
        store: the store.
        run_id: the run.
        steps: only the checkpoints at these steps (default: all).
        again: also those that are recorded.
        last: only the last one.
        pixels: those without a video from pixels by this method (default: without a video from RAM).

    Raises:
        StoreError: the run has no checkpoint, or not the requested one.
    """
    requested = store.checkpoints_at(run_id, steps)[-1 if last else 0 :]
    recorded = {} if again else _complete_videos(store, run_id, pixels)
    return tuple(checkpoint for checkpoint in requested if checkpoint.step not in recorded)


def recorded_checkpoint(evaluation: Evaluation, path: str, trace: str) -> RecordedCheckpoint:
    """Combine a checkpoint's evaluation with the paths of its video and trace."""
    return RecordedCheckpoint(
        step=evaluation.step,
        path=path,
        trace=trace,
        highlight=None if evaluation.video.highlight is None else highlight_path(evaluation.step),
        choice=evaluation.episode_label,
        episode=evaluation.recorded,
        frames=evaluation.video_frames,
        episode_return=evaluation.episodes[evaluation.recorded].episode_return,
        mean_return=evaluation.mean_return,
        episodes=len(evaluation.episodes),
        distinct_episodes=evaluation.distinct_episodes,
    )


def recorded_from_pixels(evaluation: PixelsEvaluation, path: str, trace: str) -> RecordedCheckpoint:
    """Combine a checkpoint's evaluation from pixels with the paths of its video and trace."""
    recorded = recorded_checkpoint(evaluation.evaluation, path, trace)
    return recorded.model_copy(update={"returns": evaluation.returns})


def recorded_checkpoints(
    store: Store, run_id: str, pixels: PixelMethod | None = None
) -> tuple[RecordedCheckpoint, ...]:
    """Return the run's videos by step: those from RAM, or those from pixels by a method."""
    videos = _complete_videos(store, run_id, pixels)
    if pixels is None:
        evaluations = {evaluation.step: evaluation for evaluation in store.fetch_evaluations(run_id)}
        return tuple(recorded_checkpoint(evaluations[step], video.mp4, video.trace) for step, video in videos.items())
    return tuple(
        recorded_from_pixels(store.fetch_pixels_evaluation(run_id, step, pixels), video.mp4, video.trace)
        for step, video in videos.items()
    )


def _complete_videos(store: Store, run_id: str, pixels: PixelMethod | None) -> dict[int, StoredVideo]:
    return store.complete_videos(run_id) if pixels is None else store.complete_pixels_videos(run_id, pixels)
