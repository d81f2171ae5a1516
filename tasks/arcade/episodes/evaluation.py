"""Evaluation of a checkpoint: returns of seeded episodes, their metrics, and which episode is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import Field

from tasks.arcade import scores
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.episodes.playing import play
from tasks.arcade.episodes.seeds import action_seeds, evaluation_seeds, select_episode
from tasks.arcade.episodes.trace import EpisodeEnd, Trace
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings


class EpisodeResult(Settings):
    """Result of one evaluation episode."""

    seed: int
    episode_return: float
    length: int = Field(description="Steps")
    frames: int = Field(description="Emulated frames")
    ram_digest: str = Field(description="Digest of all its RAM; equal digests mean identical episodes")
    ended: EpisodeEnd
    actions: tuple[int, ...] = Field(
        default=(), description="Number of times each action was chosen, in the game's order"
    )


class Evaluation(Settings):
    """Results of a checkpoint's evaluation episodes, and which of them was recorded."""

    schema_version: int = SCHEMA
    checkpoint: str = Field(description="Digest of the checkpoint")
    step: int = Field(description="Training step of the checkpoint")
    settings: EvaluationSettings
    video: VideoSettings = Field(default=VideoSettings(panel=False), description="Video settings")
    episodes: tuple[EpisodeResult, ...] = Field(min_length=1)
    recorded: int = Field(description="Index of the recorded episode")
    video_frames: int = Field(description="Frames of the video")

    @property
    def returns(self) -> list[float]:
        return [episode.episode_return for episode in self.episodes]

    @property
    def mean_return(self) -> float:
        return scores.mean(self.returns)

    @property
    def distinct_episodes(self) -> int:
        return scores.count_distinct(_digests(self.episodes))

    @property
    def episode_label(self) -> str:
        """Label of the recorded episode, e.g. `median of 10 episodes (10 distinct)`."""
        selection = "median" if self.video.episode == "all" else self.video.episode
        return episode_label(selection, self.recorded, len(self.episodes), self.distinct_episodes)

    def estimate(self, statistic: scores.Statistic) -> scores.Estimate:
        """Return a statistic of the returns, with the confidence interval over the distinct episodes."""
        return scores.estimate_over_distinct(self.returns, _digests(self.episodes), statistic)

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log, named as in Stable-Baselines3 where it has them.

        `…_low` and `…_high` are the 95% confidence interval over the distinct episodes, left out if undefined.
        """
        metrics = {
            "eval/median_reward": self.returns[select_episode(self.returns)],
            "eval/mean_ep_length": scores.mean([episode.length for episode in self.episodes]),
            "eval/episodes": len(self.episodes),
            "eval/distinct_episodes": self.distinct_episodes,
        }
        for name, statistic in (("mean", scores.mean), ("iqm", scores.interquartile_mean)):
            estimate = self.estimate(statistic)
            metrics[f"eval/{name}_reward"] = estimate.value
            if estimate.low is not None and estimate.high is not None:
                metrics |= {f"eval/{name}_reward_low": estimate.low, f"eval/{name}_reward_high": estimate.high}
        return metrics


def distinct_returns(episodes: Sequence[EpisodeResult]) -> scores.FloatArray:
    """Return the returns of the distinct episodes: float64 of shape (distinct,)."""
    return scores.drop_duplicates([episode.episode_return for episode in episodes], _digests(episodes))


def _digests(episodes: Sequence[EpisodeResult]) -> list[str]:
    return [episode.ram_digest for episode in episodes]


def play_episodes(
    checkpoint: Checkpoint,
    digest: str | None,
    settings: EvaluationSettings,
    on_episode: Callable[[], object] = lambda: None,
    play_episode: Callable[..., Trace] = play,
) -> list[Trace]:
    """Play a checkpoint's seeded evaluation episodes without rendering.

    Args:
        checkpoint: The checkpoint.
        digest: Its digest, for the traces.
        settings: Evaluation settings.
        on_episode: Called after each episode.
        play_episode: Plays an episode; called like `play` (default: `play` itself).
    """
    agent, run = checkpoint.agent(), checkpoint.settings
    resets = evaluation_seeds(settings.seed, settings.episodes)
    traces = []
    for seed, action_seed in zip(resets, action_seeds(settings.seed, settings.episodes, run.seed), strict=True):
        trace = play_episode(
            agent,
            run.game,
            seed,
            action_seed=action_seed,
            deterministic=settings.deterministic,
            checkpoint=digest,
            checkpoint_step=checkpoint.step,
        )
        traces.append(trace)
        on_episode()
    return traces


def episode_label(selection: str, index: int, episodes: int, distinct: int) -> str:
    """Return the label of an evaluation episode, e.g. `median of 10 episodes (10 distinct)`.

    Args:
        selection: How it was selected: `median`, `best`, `worst`, or `all` for its number.
        index: Its index.
        episodes: Number of evaluation episodes.
        distinct: Number of distinct ones among them.
    """
    if episodes == 1:
        return "the only episode"
    name = f"episode {index + 1}" if selection == "all" else selection
    return f"{name} of {episodes} episodes ({distinct} distinct)"


def episode_result(trace: Trace) -> EpisodeResult:
    """Return the result of the episode in a trace."""
    return EpisodeResult(
        seed=trace.seed,
        episode_return=trace.episode_return,
        length=trace.length,
        frames=trace.frames,
        ram_digest=trace.ram_digest,
        ended=trace.ended,
        actions=tuple(np.bincount(trace.actions).tolist()),
    )
