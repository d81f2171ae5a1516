"""Progress of training and of recording, shared by the core, the terminal and Prefect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a training run.

    Attributes:
        step: environment steps completed.
        steps: total environment steps of the run.
        steps_per_second: average since the start or resume, training included.
        mean_return: mean unclipped return of the last 100 training episodes; None before the first one ends.
    """

    step: int
    steps: int
    steps_per_second: float
    mean_return: float | None

    @property
    def share(self) -> float:
        """Completed share, between 0 and 1."""
        return min(self.step / self.steps, 1.0)

    @property
    def seconds_left(self) -> float:
        """Estimated seconds left, at the average speed so far."""
        return max(self.steps - self.step, 0) / max(self.steps_per_second, 1e-9)

    def __str__(self) -> str:
        mean = "no episode finished yet" if self.mean_return is None else f"mean return {self.mean_return:.1f}"
        return f"{self.step:,} of {self.steps:,} steps, {self.steps_per_second:,.0f} steps/s, {mean}"


@dataclass(frozen=True)
class RecordingProgress:
    """Progress of the evaluation and the videos of one checkpoint.

    Attributes:
        episodes: evaluation episodes played so far.
        total_episodes: number of evaluation episodes.
        frames: frames rendered so far.
        total_frames: number of frames of all videos; 0 before the episodes are played.
        frames_per_second: rendering speed.
    """

    episodes: int
    total_episodes: int
    frames: int = 0
    total_frames: int = 0
    frames_per_second: float = 0.0

    @property
    def share(self) -> float:
        """Completed share, between 0 and 1; rendering takes about as long as playing."""
        rendered = min(self.frames / self.total_frames, 1.0) if self.total_frames else 0.0
        return (self.episodes / self.total_episodes + rendered) / 2

    def __str__(self) -> str:
        if not self.total_frames:
            return f"episode {min(self.episodes + 1, self.total_episodes)} of {self.total_episodes}"
        return f"frame {self.frames:,} of {self.total_frames:,}, {self.frames_per_second:,.0f} frames/s"


@dataclass(frozen=True)
class CheckpointProgress:
    """Progress of one checkpoint among those that a run records.

    Attributes:
        number: which of them it is, from 1.
        total: how many they are.
        recording: its progress; None when it is finished.
    """

    number: int
    total: int
    recording: RecordingProgress | None

    @property
    def share(self) -> float:
        """Completed share, between 0 and 1."""
        return 1.0 if self.recording is None else self.recording.share

    def __str__(self) -> str:
        return f"checkpoint {self.number} of {self.total}, {self.recording or 'recorded'}"


OnRecording = Callable[[RecordingProgress], object]
