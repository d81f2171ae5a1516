"""Evaluation of a checkpoint with videos of its episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from tasks.arcade import scores
from tasks.arcade.atlas.model import Atlas
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.mp4_encoder import find_ffmpeg
from tasks.arcade.drawing.text import signed
from tasks.arcade.episodes.evaluation import Evaluation, _choice, _returns, play_episodes, score
from tasks.arcade.episodes.seeds import chosen_episode
from tasks.arcade.episodes.trace import Trace, write_trace
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.video.panel import Caption, Panel
from tasks.arcade.video.render import Plain, video


@dataclass(frozen=True)
class VideoFiles:
    """Where a video and its trace are written."""

    mp4: Path
    trace: Path

    @classmethod
    def within(cls, folder: Path, name: str = "video") -> VideoFiles:
        """In a folder that exists."""
        return cls(*(folder / f"{name}{ending}" for ending in (".mp4", ".trace.json")))


def episode_name(number: int) -> str:
    """Of the files of one episode among all, the first being `episode-01`."""
    return f"episode-{number + 1:02d}"


def evaluate_and_record(
    directory: Path,
    digest: str,
    settings: EvaluationSettings,
    wanted: VideoSettings,
    folder: Path,
    atlas: Atlas | None = None,
) -> Evaluation:
    """Play a checkpoint's episodes, without drawing, and video the one that is wanted.

    Args:
        directory: the checkpoint's files.
        digest: the checkpoint's.
        settings: how many episodes, from which seed.
        wanted: which of them is recorded, and what the video shows.
        folder: where the files `VideoFiles.within(folder)` are written, and if all are wanted those of every
            episode's `episode_name`.
        atlas: of the game, for the outlines in a video with a panel; none: there are none.

    Raises:
        CheckpointError: the checkpoint is damaged or of another game's making.
        VideoError: a video could not be made; none is left of it.
    """
    find_ffmpeg()
    checkpoint = files.read(directory, digest)
    # One row at a time: more threads than one only get in each other's way.
    with threadpool_limits(1):
        traces = play_episodes(checkpoint, digest, settings)
        chosen = chosen_episode(_returns(traces), "median" if wanted.episode == "all" else wanted.episode)
        if wanted.episode == "all":
            for number in range(len(traces)):
                _record_video_of(
                    checkpoint, traces, number, wanted, VideoFiles.within(folder, episode_name(number)), atlas
                )
        kind = wanted if wanted.episode != "all" else wanted.model_copy(update={"episode": "median"})
        frames = _record_video_of(checkpoint, traces, chosen, kind, VideoFiles.within(folder), atlas)
    return Evaluation(
        checkpoint=digest,
        step=checkpoint.step,
        settings=settings,
        video=wanted,
        episodes=tuple(map(score, traces)),
        recorded=chosen,
        video_frames=frames,
    )


def _record_video_of(
    checkpoint: Checkpoint,
    traces: Sequence[Trace],
    number: int,
    wanted: VideoSettings,
    to: VideoFiles,
    atlas: Atlas | None,
) -> int:
    """Video an episode; returns the number of its pictures."""
    trace = traces[number]
    distinct = scores.distinct(trace.ram_digest for trace in traces)
    caption = caption_of(checkpoint, trace, _choice(wanted.episode, number, len(traces), distinct))
    look = partial(Panel, checkpoint=checkpoint, caption=caption, atlas=atlas) if wanted.panel else Plain

    made = video(trace, to.mp4, look)
    write_trace(trace, to.trace)
    return made.frames


def caption_of(checkpoint: Checkpoint, trace: Trace, choice: str) -> Caption:
    """The words under a video of a checkpoint.

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
