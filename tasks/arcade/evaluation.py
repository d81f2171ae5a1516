"""How good a checkpoint is: whole seeded episodes, and the film of the one whose return is the median."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.arcade import checkpoint as files
from tasks.arcade import scores
from tasks.arcade.episode import Ended, Trace, evaluation_seeds, median_episode, play, write_trace
from tasks.arcade.film import film
from tasks.arcade.settings import SCHEMA, EvaluationSettings, Settings


class EpisodeScore(Settings):
    """One evaluation episode."""

    seed: int
    episode_return: float
    length: int = Field(description="steps")
    frames: int
    ram_digest: str = Field(description="of all its RAM; equal digests are the same episode played again")
    ended: Ended


class Evaluation(Settings):
    """What a checkpoint's episodes came to, and which of them was filmed."""

    schema_version: int = SCHEMA
    checkpoint: str = Field(description="its digest")
    step: int
    settings: EvaluationSettings
    episodes: tuple[EpisodeScore, ...] = Field(min_length=1)
    filmed: int = Field(description="index of the episode in the film")
    film_frames: int = Field(description="pictures in the film")

    @property
    def returns(self) -> list[float]:
        return [episode.episode_return for episode in self.episodes]

    def metrics(self) -> dict[str, float]:
        """Under the names that Stable-Baselines3's users know, and a few more."""
        return {
            "eval/mean_reward": scores.mean(self.returns),
            "eval/iqm_reward": scores.interquartile_mean(self.returns),
            "eval/median_reward": self.episodes[self.filmed].episode_return,
            "eval/mean_ep_length": scores.mean([episode.length for episode in self.episodes]),
            "eval/episodes": len(self.episodes),
            "eval/distinct_episodes": scores.distinct(episode.ram_digest for episode in self.episodes),
        }


def evaluate_and_film(
    directory: Path, digest: str, settings: EvaluationSettings, mp4: Path, trace_path: Path
) -> Evaluation:
    """Play a checkpoint's episodes, film the median one and write its trace.

    Args:
        directory: the checkpoint's files.
        digest: the checkpoint's.
        settings: how many episodes, from which seed.
        mp4: the film to write.
        trace_path: the trace to write.

    Raises:
        CheckpointError: the checkpoint is damaged or of another game's making.
        FilmError: the film could not be made; no file is left.
    """
    checkpoint = files.read(directory, digest)
    agent = checkpoint.agent()
    # Threads gain nothing on networks this small, and cost ten times the time where other processes want the cores.
    with threadpool_limits(1):
        traces = [
            play(
                agent,
                checkpoint.settings.game,
                seed,
                action_seed=seed,
                deterministic=settings.deterministic,
                checkpoint=digest,
                checkpoint_step=checkpoint.step,
            )
            for seed in evaluation_seeds(settings.seed, settings.episodes)
        ]
    chosen = median_episode(traces)
    made = film(traces[chosen], mp4)
    write_trace(traces[chosen], trace_path)
    return Evaluation(
        checkpoint=digest,
        step=checkpoint.step,
        settings=settings,
        episodes=tuple(map(score, traces)),
        filmed=chosen,
        film_frames=made.frames,
    )


def score(trace: Trace) -> EpisodeScore:
    """What remains of an episode."""
    return EpisodeScore(
        seed=trace.seed,
        episode_return=trace.episode_return,
        length=trace.length,
        frames=trace.frames,
        ram_digest=trace.ram_digest,
        ended=trace.ended,
    )
