"""How good a checkpoint is: whole seeded episodes, and the film of the one whose return is the median, or of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.arcade import scores
from tasks.arcade.atlas.model import Atlas
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.mp4_encoder import find_ffmpeg
from tasks.arcade.drawing.text import signed
from tasks.arcade.episodes.playing import play
from tasks.arcade.episodes.seeds import action_seeds, chosen_episode, evaluation_seeds
from tasks.arcade.episodes.trace import Ended, Trace, write_trace
from tasks.arcade.inputs.forms import EvaluationSettings, FilmSettings
from tasks.arcade.settings.algorithms import SCHEMA, Settings
from tasks.arcade.video.panel import Caption, Panel
from tasks.arcade.video.render import Plain, film


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
    """What a checkpoint's episodes came to, and which of them was filmed."""

    schema_version: int = SCHEMA
    checkpoint: str = Field(description="its digest")
    step: int
    settings: EvaluationSettings
    film: FilmSettings = Field(default=FilmSettings(panel=False), description="as it was asked for")
    episodes: tuple[EpisodeScore, ...] = Field(min_length=1)
    filmed: int = Field(description="index of the episode in the checkpoint's film")
    film_frames: int = Field(description="pictures in the film")

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
        """Which episode the film shows, e.g. `median of 10 episodes (10 distinct)`."""
        kind = "median" if self.film.episode == "all" else self.film.episode
        return _choice(kind, self.filmed, len(self.episodes), self.distinct_episodes)

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


@dataclass(frozen=True)
class FilmFiles:
    """Where a film and its trace are written."""

    mp4: Path
    trace: Path

    @classmethod
    def within(cls, folder: Path, name: str = "film") -> FilmFiles:
        """In a folder that exists."""
        return cls(*(folder / f"{name}{ending}" for ending in (".mp4", ".trace.json")))


def episode_name(number: int) -> str:
    """Of the files of one episode among all, the first being `episode-01`."""
    return f"episode-{number + 1:02d}"


def evaluate_and_film(
    directory: Path,
    digest: str,
    settings: EvaluationSettings,
    wanted: FilmSettings,
    folder: Path,
    atlas: Atlas | None = None,
) -> Evaluation:
    """Play a checkpoint's episodes, without drawing, and film the one that is wanted.

    Args:
        directory: the checkpoint's files.
        digest: the checkpoint's.
        settings: how many episodes, from which seed.
        wanted: which of them is filmed, and what the film shows.
        folder: where the files `FilmFiles.within(folder)` are written, and if all are wanted those of every
            episode's `episode_name`.
        atlas: of the game, for the outlines in a film with a panel; none: there are none.

    Raises:
        CheckpointError: the checkpoint is damaged or of another game's making.
        FilmError: a film could not be made; none is left of it.
    """
    find_ffmpeg()
    checkpoint = files.read(directory, digest)
    # One row at a time: more threads than one only get in each other's way.
    with threadpool_limits(1):
        traces = play_episodes(checkpoint, digest, settings)
        chosen = chosen_episode(_returns(traces), "median" if wanted.episode == "all" else wanted.episode)
        if wanted.episode == "all":
            for number in range(len(traces)):
                _film(checkpoint, traces, number, wanted, FilmFiles.within(folder, episode_name(number)), atlas)
        kind = wanted if wanted.episode != "all" else wanted.model_copy(update={"episode": "median"})
        frames = _film(checkpoint, traces, chosen, kind, FilmFiles.within(folder), atlas)
    return Evaluation(
        checkpoint=digest,
        step=checkpoint.step,
        settings=settings,
        film=wanted,
        episodes=tuple(map(score, traces)),
        filmed=chosen,
        film_frames=frames,
    )


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


def _film(
    checkpoint: Checkpoint,
    traces: Sequence[Trace],
    number: int,
    wanted: FilmSettings,
    to: FilmFiles,
    atlas: Atlas | None,
) -> int:
    """Film an episode; returns the number of its pictures."""
    trace = traces[number]
    distinct = scores.distinct(trace.ram_digest for trace in traces)
    caption = caption_of(checkpoint, trace, _choice(wanted.episode, number, len(traces), distinct))
    look = partial(Panel, checkpoint=checkpoint, caption=caption, atlas=atlas) if wanted.panel else Plain

    made = film(trace, to.mp4, look)
    write_trace(trace, to.trace)
    return made.frames


def caption_of(checkpoint: Checkpoint, trace: Trace, choice: str) -> Caption:
    """The words under a film of a checkpoint.

    Args:
        checkpoint: what plays.
        trace: what it plays.
        choice: which of its episodes that is.
    """
    settings = checkpoint.settings
    ended = {
        "terminated": "game over",
        "truncated": f"stopped at the limit of {settings.game.max_episode_frames:,} frames",
        "limit": f"stopped after {trace.length:,} steps",
    }[trace.ended]
    parts = (choice, f"return {signed(f'{trace.episode_return:,}')}", f"seed {trace.seed}", ended)
    return Caption(
        title="  ·  ".join((settings.game.env_id, settings.approach.name, f"step {checkpoint.step:,}")),
        details="  ·  ".join(parts),
    )


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
