"""How good a checkpoint is: whole seeded episodes, and the video of the one whose return is the median, or of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tasks.arcade import scores
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.episodes.playing import play
from tasks.arcade.episodes.seeds import action_seeds, chosen_episode, evaluation_seeds
from tasks.arcade.episodes.trace import Ended, Trace
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings


class EpisodeScore(Settings):
    """One evaluation episode."""

    seed: int
    episode_return: float
    length: int = Field(description="steps")
    frames: int
    ram_digest: str = Field(description="of all its RAM; equal digests are the same episode played again")
    ended: Ended
    actions: tuple[int, ...] = Field(default=(), description="how often each was chosen, in the game's order")


class Evaluation(Settings):
    """What a checkpoint's episodes came to, and which of them was recorded."""

    schema_version: int = SCHEMA
    checkpoint: str = Field(description="its digest")
    step: int
    settings: EvaluationSettings
    video: VideoSettings = Field(default=VideoSettings(panel=False), description="as it was asked for")
    episodes: tuple[EpisodeScore, ...] = Field(min_length=1)
    recorded: int = Field(description="index of the episode in the checkpoint's video")
    video_frames: int = Field(description="pictures in the video")

    @property
    def returns(self) -> list[float]:
        return [episode.episode_return for episode in self.episodes]

    @property
    def mean_return(self) -> float:
        return scores.mean(self.returns)

    @property
    def distinct_episodes(self) -> int:
        return scores.distinct(_digests(self.episodes))

    @property
    def choice(self) -> str:
        """Which episode the video shows, e.g. `median of 10 episodes (10 distinct)`."""
        kind = "median" if self.video.episode == "all" else self.video.episode
        return _choice(kind, self.recorded, len(self.episodes), self.distinct_episodes)

    def estimate(self, statistic: scores.Statistic) -> scores.Estimate:
        """A statistic of the episodes' returns, with the interval of the distinct ones."""
        return scores.estimate_over_distinct(self.returns, _digests(self.episodes), statistic)

    def metrics(self) -> dict[str, float]:
        """Under the names that Stable-Baselines3's users know, and a few more.

        `…_low` and `…_high` are the 95% interval over distinct episodes; they are left out where there is none.
        """
        found = {
            "eval/median_reward": self.returns[chosen_episode(self.returns)],
            "eval/mean_ep_length": scores.mean([episode.length for episode in self.episodes]),
            "eval/episodes": len(self.episodes),
            "eval/distinct_episodes": self.distinct_episodes,
        }
        for name, statistic in (("mean", scores.mean), ("iqm", scores.interquartile_mean)):
            estimate = self.estimate(statistic)
            found[f"eval/{name}_reward"] = estimate.value
            if estimate.low is not None and estimate.high is not None:
                found |= {f"eval/{name}_reward_low": estimate.low, f"eval/{name}_reward_high": estimate.high}
        return found


def distinct_returns(episodes: Sequence[EpisodeScore]) -> scores.FloatArray:
    """Of the episodes that are no copy of another one: float64, shape (distinct,)."""
    return scores.without_copies([episode.episode_return for episode in episodes], _digests(episodes))


def _digests(episodes: Sequence[EpisodeScore]) -> list[str]:
    return [episode.ram_digest for episode in episodes]


def play_episodes(checkpoint: Checkpoint, digest: str, settings: EvaluationSettings) -> list[Trace]:
    """Have a checkpoint play its seeded episodes, without drawing."""
    agent, run = checkpoint.agent(), checkpoint.settings
    resets = evaluation_seeds(settings.seed, settings.episodes)
    return [
        play(
            agent,
            run.game,
            seed,
            action_seed=action_seed,
            deterministic=settings.deterministic,
            checkpoint=digest,
            checkpoint_step=checkpoint.step,
        )
        for seed, action_seed in zip(resets, action_seeds(settings.seed, settings.episodes, run.seed), strict=True)
    ]


def _returns(traces: Sequence[Trace]) -> list[float]:
    return [trace.episode_return for trace in traces]


def _choice(episode: str, number: int, episodes: int, distinct: int) -> str:
    if episodes == 1:
        return "the only episode"
    which = f"episode {number + 1}" if episode == "all" else episode
    return f"{which} of {episodes} episodes ({distinct} distinct)"


def score(trace: Trace) -> EpisodeScore:
    """What remains of an episode."""
    return EpisodeScore(
        seed=trace.seed,
        episode_return=trace.episode_return,
        length=trace.length,
        frames=trace.frames,
        ram_digest=trace.ram_digest,
        ended=trace.ended,
        actions=tuple(np.bincount(trace.actions).tolist()),
    )
