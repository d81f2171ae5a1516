"""What a report is made of: runs as they were read, and nothing worked out beyond a checkpoint's own figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tasks.arcade import scores
from tasks.arcade.settings.base import Settings


class VideoView(Settings):
    """A video of one checkpoint, small enough to be inside a page, that begins at the episode's reset."""

    step: int = Field(ge=0, description="the checkpoint's")
    episode_return: float = Field(description="of the whole episode")
    mp4: bytes = Field(min_length=1, repr=False, description="the file, H.264")
    frames: int = Field(ge=1, description="in this video")
    episode_frames: int = Field(ge=1, description="in the whole episode, its reset included")
    fps: float = Field(gt=0)
    score: tuple[tuple[int, float], ...] = Field(
        default=(), description="(frame, score from there on), wherever it changes"
    )
    whole: str | None = Field(default=None, description="where the whole video lies, from the report's own folder")
    path: str = Field(default="", description="the whole video's artifact path within the run")

    @property
    def complete(self) -> bool:
        return self.frames >= self.episode_frames


class CheckpointRow(Settings):
    """What a checkpoint's seeded episodes came to; `checkpoint_row` works it out."""

    step: int = Field(ge=0)
    episodes: int = Field(ge=1)
    distinct_episodes: int = Field(ge=1, description="by their RAM digests")
    mean: float
    iqm: float
    median: float
    std: float = Field(ge=0, description="between the episodes")
    low: float | None = Field(description="of the mean's 95% interval over distinct episodes; none: there is none")
    high: float | None
    returns: tuple[float, ...] = Field(description="of every episode")
    lengths: tuple[int, ...] = Field(default=(), description="steps of every episode; empty: unknown")
    digests: tuple[str, ...] = Field(description="of every episode's RAM, or what stands for it within the run")

    @model_validator(mode="after")
    def _one_return_and_digest_an_episode(self) -> CheckpointRow:
        if len(self.returns) != self.episodes:
            raise ValueError(f"{self.episodes} episodes have {self.episodes} returns: got {len(self.returns)}")
        if len(self.digests) != self.episodes:
            raise ValueError(f"{self.episodes} episodes have {self.episodes} digests: got {len(self.digests)}")
        return self


class BestCheckpoint(Settings):
    """The checkpoint that was best on one half of the episodes' seeds, and its returns on the other half."""

    step: int
    returns: tuple[float, ...] = Field(min_length=1)

    @property
    def mean(self) -> float:
        return scores.mean(self.returns)


class Cost(Settings):
    """What a training took; none where it is not known."""

    wall_seconds: float | None = None
    cpu_seconds: float | None = Field(default=None, description="of all processes together")
    steps_per_second: float | None = None


class RunView(Settings):
    """A run, as the report shows it."""

    run_id: str
    run_name: str
    approach: str
    seed: int
    env_id: str
    rom: str = Field(default="", description="ale-py's name of the game, by which published figures are found")
    frame_skip: str = Field(default="", description="frames a step, in words")
    sticky: float | None = Field(default=None, description="repeat_action_probability")
    steps: int = Field(ge=0, description="trained")
    checkpoints: tuple[CheckpointRow, ...] = Field(default=(), description="those that are evaluated")
    curve: tuple[tuple[int, float], ...] = Field(default=(), description="(step, rollout/ep_rew_mean) in training")
    videos: tuple[VideoView, ...] = ()
    actions: tuple[tuple[str, int], ...] = Field(
        default=(), description="(action, how often) in the last checkpoint's episodes"
    )
    parameters: dict[str, str | int | float | bool | None] = Field(default={}, description="as MLflow has them")
    cost: Cost = Cost()
    command: str = Field(default="", description="that started it")
    versions: dict[str, str] = Field(default={}, description="library: version")
    commit: str | None = None
    origin: str = Field(default="", description="where an imported run came from")
    played_here: bool = Field(default=True, description="its episodes; not those that came with an imported run")
    deterministic: bool | None = Field(default=None, description="the likeliest actions when judged; none: unknown")
    judged_by: Literal["evaluation", "training episodes"] = "evaluation"
    side: Literal["candidate", "baseline"] = Field(default="candidate", description="baseline: what it is held against")

    @property
    def last(self) -> CheckpointRow | None:
        return max(self.checkpoints, key=lambda row: row.step, default=None)


class Comparison(Settings):
    """Runs to set side by side.

    Attributes:
        normalized: runs of several games, or settings, in human-normalized scores.
        baseline: what the baseline's runs are called, `champion` or another name; none: nothing is held against
            anything.
        not_shown: videos that the report should hold and does not, each with the reason.
    """

    title: str
    env_id: str
    runs: tuple[RunView, ...] = Field(min_length=1)
    normalized: bool = False
    baseline: str | None = None
    not_shown: tuple[str, ...] = ()
    command: str = Field(default="", description="that made the report")
    made: str = Field(default="", description="when, in UTC")
    versions: dict[str, str] = Field(default={})
    commit: str | None = None


def checkpoint_row(
    step: int, returns: Sequence[float], digests: Sequence[str], seed: int = 0, lengths: Sequence[int] = ()
) -> CheckpointRow:
    """A checkpoint's row from its episodes: statistics of all of them, the interval as `estimate_over_distinct` has it.

    Args:
        step: the checkpoint's.
        returns: of the episodes, shape (episodes,).
        digests: of their RAM, one an episode, by which copies are known.
        seed: of the bootstrap's generator.
        lengths: of the episodes, in steps.

    Raises:
        ValueError: no return, one that is not finite, or not as many digests.
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
    """The run's best checkpoint, chosen on other seeds than it is reported on.

    Every checkpoint plays the same seeds. The 1st, 3rd, 5th, … episode choose, by their mean and the earlier
    checkpoint of equals; the 2nd, 4th, 6th, … are reported. Without that, the luckiest of ten equal checkpoints would
    be reported by the luck it was chosen for.

    Returns:
        None where fewer than two checkpoints have been evaluated with two episodes or more.
    """
    able = [row for row in sorted(run.checkpoints, key=lambda row: row.step) if row.episodes > 1]
    if len(able) < 2 or run.judged_by != "evaluation":
        return None
    best = max(able, key=lambda row: scores.mean(row.returns[::2]))
    return BestCheckpoint(step=best.step, returns=best.returns[1::2])
