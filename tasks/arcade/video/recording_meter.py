"""Progress of a checkpoint's evaluation and videos, reported at most twice per second."""

from __future__ import annotations

import time

from tasks.arcade.progress import OnRecording, RecordingProgress

_SECONDS = 0.5


class RecordingMeter:
    """Counts episodes and frames, and reports them.

    Args:
        total_episodes: Number of evaluation episodes.
        on_progress: Receives the progress; None: nobody does.
    """

    def __init__(self, total_episodes: int, on_progress: OnRecording | None) -> None:
        self._total_episodes, self._on_progress = total_episodes, on_progress
        self._episodes = self._frames = self._total_frames = 0
        self._reported = self._started = time.monotonic()

    def episode(self) -> None:
        """Count an episode that was played."""
        self._episodes += 1
        self._report()

    def start_videos(self, frames: int) -> None:
        """Start to count frames.

        Args:
            frames: Number of frames of all videos.
        """
        self._total_frames, self._started = frames, time.monotonic()

    def frame(self, _: int = 0) -> None:
        """Count a frame that was rendered."""
        self._frames += 1
        self._report()

    def _report(self) -> None:
        if self._on_progress is None or (now := time.monotonic()) - self._reported < _SECONDS:
            return
        self._reported = now
        speed = self._frames / max(now - self._started, 1e-9)
        frames = min(self._frames, self._total_frames)
        self._on_progress(RecordingProgress(self._episodes, self._total_episodes, frames, self._total_frames, speed))
