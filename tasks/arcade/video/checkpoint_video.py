"""Evaluation of a checkpoint with videos of its episodes, and their captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from tasks.arcade import scores
from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.decoding.play_from_pixels import PixelSource, play_from_pixels
from tasks.arcade.drawing.ffmpeg import find_ffmpeg
from tasks.arcade.drawing.text import with_minus_sign
from tasks.arcade.episodes.evaluation import Evaluation, episode_label, episode_result, play_episodes
from tasks.arcade.episodes.playing import play
from tasks.arcade.episodes.seeds import select_episode
from tasks.arcade.episodes.trace import Trace, write_trace
from tasks.arcade.progress import OnRecording
from tasks.arcade.scores.pixels_returns import SOURCE_OF
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.video.highlight import render_highlight
from tasks.arcade.video.panel import Caption, PanelRenderer
from tasks.arcade.video.recording_meter import RecordingMeter
from tasks.arcade.video.render import PlainRenderer, render_video


@dataclass(frozen=True)
class VideoFiles:
    """Paths of a video and its trace."""

    mp4: Path
    trace: Path

    @property
    def highlight(self) -> Path:
        """Path of the video's highlight."""
        return self.mp4.with_suffix(".highlight.mp4")

    @classmethod
    def in_folder(cls, folder: Path, stem: str = "video") -> VideoFiles:
        """Return the paths of the files with this stem in a folder."""
        return cls(folder / f"{stem}.mp4", folder / f"{stem}.trace.json")


def episode_stem(index: int) -> str:
    """Return the stem of an episode's files; the first episode's is `episode-01`."""
    return f"episode-{index + 1:02d}"


def evaluate_and_record(
    directory: Path,
    digest: str,
    settings: EvaluationSettings,
    video: VideoSettings,
    folder: Path,
    atlas: Atlas | None = None,
    pixels: PixelSource | None = None,
    on_progress: OnRecording | None = None,
) -> Evaluation:
    """Play a checkpoint's evaluation episodes without rendering, and record the selected one.

    Args:
        directory: Folder of the checkpoint.
        digest: Digest of the checkpoint.
        settings: Evaluation settings.
        video: Video settings: which episode is recorded, or all, and whether the video has a panel.
        folder: Folder for the files `VideoFiles.in_folder(folder)`, whose highlight is made on request only, and, if
            all episodes are recorded, for those of each episode's `episode_stem`.
        atlas: Atlas of the game, for outlines in panel videos (default: no outlines).
        pixels: How the RAM that the policy observes is read from pictures (default: it is the emulator's).
        on_progress: Called about twice per second.

    Raises:
        CheckpointError: The checkpoint is damaged or belongs to another game.
        DecoderError: The decoder of `pixels` is damaged or belongs to another game.
        VideoError: A video could not be rendered; no file of it is left behind.
    """
    find_ffmpeg()
    checkpoint = files.read_checkpoint(directory, digest)
    meter = RecordingMeter(settings.episodes, on_progress)
    play_episode = partial(play_from_pixels, source=pixels) if pixels else play
    # The policy computes one row at a time: more threads slow it down.
    with threadpool_limits(1):
        traces = play_episodes(checkpoint, digest, settings, meter.episode, play_episode)
        selection = "median" if video.episode == "all" else video.episode
        selected = select_episode([trace.episode_return for trace in traces], selection)
        rendered = [*traces, traces[selected]] if video.episode == "all" else [traces[selected]]
        meter.start_videos(sum(trace.frames for trace in rendered))
        if video.episode == "all":
            for index in range(len(traces)):
                episode_files = VideoFiles.in_folder(folder, episode_stem(index))
                _record_episode(checkpoint, traces, index, video, episode_files, atlas, pixels, meter)
        main_video = video.model_copy(update={"episode": selection})
        main_files = VideoFiles.in_folder(folder)
        frames = _record_episode(checkpoint, traces, selected, main_video, main_files, atlas, pixels, meter)
        if video.highlight is not None:
            render_highlight(checkpoint, traces[selected], main_files.highlight, video.highlight)
    return Evaluation(
        checkpoint=digest,
        step=checkpoint.step,
        settings=settings,
        video=video,
        episodes=tuple(map(episode_result, traces)),
        recorded=selected,
        video_frames=frames,
    )


def _record_episode(
    checkpoint: Checkpoint,
    traces: Sequence[Trace],
    index: int,
    video: VideoSettings,
    paths: VideoFiles,
    atlas: Atlas | None,
    pixels: PixelSource | None,
    meter: RecordingMeter,
) -> int:
    """Render an episode's video, write its trace, and return the number of frames."""
    trace = traces[index]
    distinct = scores.count_distinct(trace.ram_digest for trace in traces)
    caption = caption_of(checkpoint, trace, episode_label(video.episode, index, len(traces), distinct))
    read_ram = pixels.reader(checkpoint.settings.game).read if pixels else None
    panel = partial(PanelRenderer, checkpoint=checkpoint, caption=caption, atlas=atlas, read_ram=read_ram)
    renderer = panel if video.panel else PlainRenderer
    rendered = render_video(trace, paths.mp4, renderer, on_frame=meter.frame)
    write_trace(trace, paths.trace)
    return rendered.frames


def caption_of(checkpoint: Checkpoint, trace: Trace, label: str) -> Caption:
    """Return the caption of a checkpoint's video.

    Args:
        checkpoint: Checkpoint that played the episode.
        trace: Trace of the episode.
        label: Label of the episode among the evaluation episodes.
    """
    settings = checkpoint.settings
    ended = {
        "terminated": "game over",
        "truncated": f"truncated at {settings.game.max_episode_frames:,} frames",
        "limit": f"stopped after {trace.length:,} steps",
    }[trace.ended]
    return Caption(
        title="  ·  ".join((settings.game.env_id, settings.approach.name, f"step {checkpoint.step:,}")),
        details="  ·  ".join((label, f"seed {trace.seed}", *_observed(trace))),
        result="  ·  ".join((f"return {with_minus_sign(f'{trace.episode_return:,}')}", ended)),
    )


def _observed(trace: Trace) -> tuple[str, ...]:
    return () if trace.from_pixels is None else (f"RAM {SOURCE_OF[trace.from_pixels.method]} from pixels",)
