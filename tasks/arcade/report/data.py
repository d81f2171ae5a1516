"""The data of a report: runs with their evaluated checkpoints, and the videos of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tasks.arcade import scores
from tasks.arcade.scores.pixels_returns import RamSource
from tasks.arcade.settings.base import Settings

WINDOW_EPISODES = 100
"""Training episodes that each point of `rollout/ep_rew_mean` averages over: Stable-Baselines3's default."""


class VideoView(Settings):
    """A video of one checkpoint, small enough to be embedded in a page, that starts at the episode's reset."""

    step: int = Field(ge=0, description="Step of the checkpoint")
    episode_return: float = Field(description="Return of the whole episode")
    mp4: bytes = Field(min_length=1, repr=False, description="H.264 file")
    frames: int = Field(ge=1, description="Frames of this video")
    episode_frames: int = Field(ge=1, description="Frames of the whole episode, including the reset frame")
    fps: float = Field(gt=0, description="Frames per second")
    score: tuple[tuple[int, float], ...] = Field(
        default=(), description="(frame, score from that frame on), one entry per change of the score"
    )
    full_video: str | None = Field(default=None, description="Path of the full video, relative to the report's folder")
    full_video_url: str | None = Field(default=None, description="URL of the full video, if it is on a server")
    path: str = Field(default="", description="Artifact path of the full video within the run")
    poster: bytes = Field(default=b"", repr=False, description="PNG shown until the video is played")

    @property
    def complete(self) -> bool:
        return self.frames >= self.episode_frames


class CheckpointRow(Settings):
    """Evaluation results of a checkpoint; built by `checkpoint_row`."""

    step: int = Field(ge=0)
    episodes: int = Field(ge=1)
    distinct_episodes: int = Field(ge=1, description="Episodes with distinct RAM digests")
    mean: float
    iqm: float
    median: float
    std: float = Field(ge=0, description="Standard deviation over episodes")
    low: float | None = Field(description="Lower end of the mean's 95% interval over distinct episodes")
    high: float | None = Field(description="Upper end of the mean's 95% interval")
    returns: tuple[float, ...] = Field(description="Return of each episode")
    lengths: tuple[int, ...] = Field(default=(), description="Steps of each episode (default: unknown)")
    digests: tuple[str, ...] = Field(
        description="RAM digest of each episode; within an imported run anything that identifies its episodes"
    )

    @model_validator(mode="after")
    def _one_return_and_digest_per_episode(self) -> CheckpointRow:
        if len(self.returns) != self.episodes:
            raise ValueError(f"expected {self.episodes} returns, one per episode: got {len(self.returns)}")
        if len(self.digests) != self.episodes:
            raise ValueError(f"expected {self.episodes} digests, one per episode: got {len(self.digests)}")
        return self


class PixelsRow(Settings):
    """Returns of a checkpoint on RAM that played from pictures."""

    step: int = Field(ge=0)
    returns: dict[RamSource, tuple[float, ...]] = Field(
        description="Returns, one per episode, by the RAM that the policy observed; the same seeds each"
    )

    @property
    def episodes(self) -> int:
        return max(map(len, self.returns.values()), default=0)


class BestCheckpoint(Settings):
    """The checkpoint that was selected on half of the evaluation seeds, with its returns on the other half."""

    step: int
    returns: tuple[float, ...] = Field(min_length=1)

    @property
    def mean(self) -> float:
        return scores.mean(self.returns)


class Cost(Settings):
    """Compute that a training run used, or None where it is unknown."""

    wall_seconds: float | None = None
    cpu_seconds: float | None = Field(default=None, description="CPU time of all processes")
    steps_per_second: float | None = None


class RunView(Settings):
    """A run, as the report shows it."""

    run_id: str
    run_name: str
    approach: str
    learned: bool = Field(default=True, description="Whether the policy was trained; False for random and noop")
    seed: int
    env_id: str
    rom: str = Field(default="", description="ALE's ROM name, the key of published scores")
    frame_skip: str = Field(default="", description="Frames per step, e.g. 4 or 2 to 4")
    repeat_action_probability: float | None = Field(default=None, description="Probability of sticky actions")
    steps: int = Field(ge=0, description="Environment steps trained")
    checkpoints: tuple[CheckpointRow, ...] = Field(default=(), description="Evaluated checkpoints")
    from_pixels: PixelsRow | None = Field(
        default=None, description="Last checkpoint that was recorded from pixels (null: none)"
    )
    curve: tuple[tuple[int, float], ...] = Field(default=(), description="(step, rollout/ep_rew_mean) during training")
    episode_length: float | None = Field(
        default=None, gt=0, description="Mean steps of the last training episodes: rollout/ep_len_mean"
    )
    actions: tuple[tuple[str, int], ...] = Field(
        default=(), description="(action, count) in the episodes of the last checkpoint"
    )
    parameters: dict[str, str | int | float | bool | None] = Field(default={}, description="MLflow parameters")
    cost: Cost = Cost()
    command: str = Field(default="", description="Command that started the run")
    versions: dict[str, str] = Field(default={}, description="Library versions")
    commit: str | None = None
    origin: str = Field(default="", description="Source files of an imported run")
    notes: tuple[str, ...] = Field(
        default=(), description="Assumptions of an import, and contradictions between sources of the same fact"
    )
    evaluated_here: bool = Field(
        default=True, description="Whether ramreel evaluated it; False if the evaluations were imported with the run"
    )
    deterministic: bool | None = Field(
        default=None, description="Whether evaluations used the most likely actions (default: unknown)"
    )
    returns_from: Literal["evaluation", "training episodes"] = "evaluation"
    side: Literal["candidate", "baseline"] = Field(
        default="candidate", description="Baseline: the side that candidates are compared with"
    )

    @property
    def last(self) -> CheckpointRow | None:
        return max(self.checkpoints, key=lambda row: row.step, default=None)

    @property
    def window(self) -> int | None:
        """Steps that the last point of the training curve averages over; None if unknown."""
        if self.episode_length is None or not self.curve:
            return None
        return min(round(WINDOW_EPISODES * self.episode_length), self.curve[-1][0])


class Comparison(Settings):
    """Runs to compare.

    Attributes:
        normalized: compare human-normalized scores, e.g. of runs on several games.
        baseline: name of the baseline's runs, `champion` or another one; None if there is no baseline.
    """

    title: str
    env_id: str
    runs: tuple[RunView, ...] = Field(min_length=1)
    normalized: bool = False
    baseline: str | None = None
    command: str = Field(default="", description="Command that created the report")
    created: str = Field(default="", description="Time of creation in UTC")
    versions: dict[str, str] = Field(default={}, description="Library versions")
    commit: str | None = None


def checkpoint_row(
    step: int, returns: Sequence[float], digests: Sequence[str], seed: int = 0, lengths: Sequence[int] = ()
) -> CheckpointRow:
    """Compute a checkpoint's statistics from its episodes; the interval is that of `scores.estimate_over_distinct`.

    Args:
        step: step of the checkpoint.
        returns: return of each episode, shape (episodes,).
        digests: RAM digest of each episode; equal digests mark duplicates.
        seed: seed of the bootstrap.
        lengths: steps of each episode.

    Raises:
        ValueError: `returns` is empty or not finite, or the number of digests differs.
    """
    mean = scores.estimate_over_distinct(returns, digests, scores.mean, seed)
    return CheckpointRow(
        step=step,
        episodes=len(returns),
        distinct_episodes=mean.n,
        mean=mean.value,
        iqm=scores.interquartile_mean(returns),
        median=float(np.median(returns)),
        std=float(np.std(returns)),
        low=mean.low,
        high=mean.high,
        returns=tuple(returns),
        lengths=tuple(lengths),
        digests=tuple(digests),
    )


def best_checkpoint(run: RunView) -> BestCheckpoint | None:
    """Select the run's best checkpoint, and report it on other seeds than it was selected on.

    All checkpoints are evaluated on the same seeds. The 1st, 3rd, 5th, … episode select by their mean (the earlier
    checkpoint wins ties); the 2nd, 4th, 6th, … are reported. Reporting the selecting episodes would overestimate the
    best of many checkpoints (maximization bias).

    Returns:
        None if fewer than two checkpoints have been evaluated with at least two episodes.
    """
    candidates = [row for row in sorted(run.checkpoints, key=lambda row: row.step) if row.episodes > 1]
    if len(candidates) < 2 or run.returns_from != "evaluation":
        return None
    best = max(candidates, key=lambda row: scores.mean(row.returns[::2]))
    return BestCheckpoint(step=best.step, returns=best.returns[1::2])
