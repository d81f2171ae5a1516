"""Head-to-head evaluation: two checkpoints on the same fresh seeds, or one against its own former returns.

Policies are fixed, so the unit of variation, and of the permutation test, is the episode; identical episodes count
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.arcade import scores
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation, distinct_returns, episode_result
from tasks.arcade.episodes.playing import play
from tasks.arcade.settings.base import Settings

DROP_SIGNIFICANCE = 0.01
"""Significance level of a drop in return; a significant drop is investigated, which exposes false alarms."""
COLLAPSE_SHARE = 0.5
"""Share of a run's gain in return whose significant loss by its last checkpoint is a collapse."""


class EpisodeSample(Settings):
    """Evaluation episodes of one checkpoint."""

    checkpoint: str = Field(description="Digest of the checkpoint")
    episodes: tuple[EpisodeResult, ...] = Field(min_length=1)

    @property
    def returns(self) -> scores.FloatArray:
        """Returns of the distinct episodes: float64 of shape (distinct,)."""
        return distinct_returns(self.episodes)

    @property
    def mean(self) -> float:
        return scores.mean(self.returns)


def evaluate_seeds(
    directory: Path, digest: str, seeds: Sequence[int], deterministic: bool
) -> tuple[EpisodeResult, ...]:
    """Play one episode per seed with a checkpoint, without rendering.

    Raises:
        CheckpointError: The checkpoint is damaged, or its ROM is not installed.
    """
    checkpoint = files.read_checkpoint(directory, digest)
    agent, game = checkpoint.agent(), checkpoint.settings.game
    with threadpool_limits(1):
        return tuple(
            episode_result(play(agent, game, seed, action_seed=seed, deterministic=deterministic)) for seed in seeds
        )


def sample_of(evaluation: Evaluation) -> EpisodeSample:
    """Return the episodes of a checkpoint's evaluation."""
    return EpisodeSample(checkpoint=evaluation.checkpoint, episodes=evaluation.episodes)


def improvement_p_value(better: EpisodeSample, worse: EpisodeSample, level: float = 1 - scores.CONFIDENCE) -> float:
    """Return the p-value of `better` having higher returns than `worse`; 1 if it does not.

    Args:
        better: The sample tested for higher returns.
        worse: The other sample.
        level: Significance level the p-value will be compared with; it is resolved to a tenth of it.
    """
    ours, theirs = _one_group_per_episode(better), _one_group_per_episode(worse)
    if better.mean <= worse.mean or scores.probability_of_improvement(ours, theirs).value <= 0.5:
        return 1.0
    return scores.permutation_p_value(ours, theirs, level=level)


def _one_group_per_episode(sample: EpisodeSample) -> list[list[float]]:
    """Return the returns as the statistics expect them: an episode takes the place of a training seed."""
    return [[value] for value in sample.returns.tolist()]


class HeadToHead(Settings):
    """Result of a challenger against the champion on the same seeds; it wins if no champion can play."""

    challenger: EpisodeSample
    champion: EpisodeSample | None
    won: bool
    summary: str


def compare_head_to_head(
    challenger: EpisodeSample, champion: EpisodeSample | None, no_champion_reason: str = ""
) -> HeadToHead:
    """Test whether the challenger's returns are significantly higher than the champion's.

    Args:
        challenger: Episodes of the challenger.
        champion: Episodes of the champion on the same seeds, or None if it did not play.
        no_champion_reason: Why the champion did not play, for the summary.
    """
    if champion is None:
        summary = f"{no_champion_reason or 'the first of its game'}: mean return {challenger.mean:.1f}"
        return HeadToHead(challenger=challenger, champion=None, won=True, summary=summary)
    p_value = improvement_p_value(challenger, champion)
    won = p_value <= 1 - scores.CONFIDENCE
    means = f"mean return {challenger.mean:.1f} against {champion.mean:.1f}, {len(champion.episodes)} episodes each"
    summary = f"beats the champion: {means}, p = {p_value:.2g}" if won else f"does not beat the champion: {means}"
    return HeadToHead(challenger=challenger, champion=champion, won=won, summary=summary)


def has_dropped(now: EpisodeSample, before: EpisodeSample) -> bool:
    """Return whether a checkpoint's returns are significantly lower than before."""
    return improvement_p_value(before, now, DROP_SIGNIFICANCE) <= DROP_SIGNIFICANCE


def describe_collapse(evaluations: Sequence[Evaluation]) -> str:
    """Return a description of a run's collapse at its last checkpoint; empty if it has not collapsed.

    No test detects a collapse from few episodes: the more checkpoints, the higher the best of them by chance.
    The test has power for up to 900 earlier checkpoints of 10 distinct episodes each, or 4 of 6; with 5 episodes, two
    are too many.

    Args:
        evaluations: Evaluations of the run's checkpoints, by step.
    """
    if len(evaluations) < 3:
        return ""
    *earlier, last = map(sample_of, evaluations)
    best = max(range(len(earlier)), key=lambda at: earlier[at].mean)
    gained = earlier[best].mean - min(one.mean for one in earlier[: best + 1])
    lost = earlier[best].mean - last.mean
    # Bonferroni correction: the best of many checkpoints looks better than it is.
    level = DROP_SIGNIFICANCE / len(earlier)
    if lost <= COLLAPSE_SHARE * gained or improvement_p_value(earlier[best], last, level) > level:
        return ""
    return f"mean return {last.mean:.1f} at its end, after {earlier[best].mean:.1f} at step {evaluations[best].step:,}"
