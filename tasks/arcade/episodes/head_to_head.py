"""Who plays better: two checkpoints on the same fresh seeds, or one against what it could before.

Both are fixed policies, so what varies, and what the tests deal out anew, is the episode; copies of an episode count
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.arcade import scores
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.episodes.evaluation import EpisodeScore, Evaluation, distinct_returns, score
from tasks.arcade.episodes.playing import play
from tasks.arcade.settings.base import Settings

SUSPICION = 0.01
"""A drop must be less likely than this by chance, so that it is looked into; chance alone is found out then."""
COLLAPSE = 0.5
"""A training has collapsed when so much of what it had gained is lost at its end, by more than chance."""


class Played(Settings):
    """Episodes that a checkpoint played."""

    checkpoint: str = Field(description="its digest")
    episodes: tuple[EpisodeScore, ...] = Field(min_length=1)

    @property
    def returns(self) -> scores.FloatArray:
        """Of the distinct episodes: float64, shape (distinct,)."""
        return distinct_returns(self.episodes)

    @property
    def mean(self) -> float:
        return scores.mean(self.returns)


def play_seeds(directory: Path, digest: str, seeds: Sequence[int], deterministic: bool) -> tuple[EpisodeScore, ...]:
    """Have a checkpoint play one episode a seed, without drawing.

    Raises:
        CheckpointError: the checkpoint is damaged, or of a game that is not installed.
    """
    checkpoint = files.read(directory, digest)
    agent, game = checkpoint.agent(), checkpoint.settings.game
    with threadpool_limits(1):
        return tuple(score(play(agent, game, seed, action_seed=seed, deterministic=deterministic)) for seed in seeds)


def played(evaluation: Evaluation) -> Played:
    """What a checkpoint's own evaluation holds."""
    return Played(checkpoint=evaluation.checkpoint, episodes=evaluation.episodes)


def chance(better: Played, worse: Played, level: float = 1 - scores.CONFIDENCE) -> float:
    """How likely chance alone parts two equal ones this far, in this direction: 1 where `better` is not better.

    Args:
        better: what one played.
        worse: what the other played.
        level: what the likelihood is held against; it can be told from a tenth of that.
    """
    ours, theirs = _each_alone(better), _each_alone(worse)
    if better.mean <= worse.mean or scores.probability_of_improvement(ours, theirs).value <= 0.5:
        return 1.0
    return scores.permutation_p_value(ours, theirs, level=level)


def _each_alone(played: Played) -> list[list[float]]:
    """An episode is to a fixed policy what a seed is to a way of training."""
    return [[value] for value in played.returns.tolist()]


class Contest(Settings):
    """A challenger against the champion, on the same seeds; it wins where no champion can play."""

    challenger: Played
    champion: Played | None
    won: bool
    words: str


def decide(challenger: Played, champion: Played | None, why_alone: str = "") -> Contest:
    """Whether the challenger plays better than the champion by more than chance.

    Args:
        challenger: what it played.
        champion: what the champion played on the same seeds; none if it did not.
        why_alone: why it did not, in words.
    """
    if champion is None:
        words = f"{why_alone or 'the first of its game'}: mean return {challenger.mean:.1f}"
        return Contest(challenger=challenger, champion=None, won=True, words=words)
    likely = chance(challenger, champion)
    won = likely <= 1 - scores.CONFIDENCE
    means = f"mean return {challenger.mean:.1f} against {champion.mean:.1f}, {len(champion.episodes)} episodes each"
    words = f"beats the champion: {means}, p = {likely:.2g}" if won else f"does not beat the champion: {means}"
    return Contest(challenger=challenger, champion=champion, won=won, words=words)


def suspicious(now: Played, before: Played) -> bool:
    """Whether a checkpoint plays worse than it did, by more than chance."""
    return chance(before, now, SUSPICION) <= SUSPICION


def collapsed(evaluations: Sequence[Evaluation]) -> str:
    """What a training's last checkpoint has lost, in words; empty if it has not collapsed.

    Few episodes show no collapse, whatever the test: the more checkpoints there are, the better the best of them looks
    by chance. Before the last one there may be 900 checkpoints of 10 distinct episodes each, or 4 of 6; of 5 episodes
    two checkpoints are too many.

    Args:
        evaluations: of its checkpoints, by step.
    """
    if len(evaluations) < 3:
        return ""
    *earlier, last = map(played, evaluations)
    best = max(range(len(earlier)), key=lambda at: earlier[at].mean)
    gained = earlier[best].mean - min(one.mean for one in earlier[: best + 1])
    lost = earlier[best].mean - last.mean
    # The best of many looks better than it is.
    level = SUSPICION / len(earlier)
    if lost <= COLLAPSE * gained or chance(earlier[best], last, level) > level:
        return ""
    return f"mean return {last.mean:.1f} at its end, after {earlier[best].mean:.1f} at step {evaluations[best].step:,}"
