"""The small videos of a report: made of the traces that were recorded, side by side in processes."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.arcade import report
from tasks.arcade.drawing.mp4_encoder import VideoError
from tasks.arcade.episodes.trace import TraceError, read_trace
from tasks.arcade.report import Findings, VideoView, WantedVideo
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.clip import Clip, clip
from tasks.execution.progress_sink import audience
from tasks.execution.worker_processes import processes
from tasks.store import Store, Video


def with_videos(store: Store, findings: Findings, comparison_id: str) -> Findings:
    """The findings with small videos of its runs, drawn again from the traces that were recorded.

    A trace that the game does not play as it says is no video: the report says so, and has the others.
    """
    comparison = findings.comparison
    videos = {run.run_id: store.videos(run.run_id) for run in comparison.runs}
    evaluated = {run.run_id: {row.step for row in run.checkpoints} for run in comparison.runs}
    recorded = {run_id: sorted(videos[run_id].keys() & evaluated[run_id]) for run_id in videos}
    wanted = report.wanted_videos(findings.groups, recorded)
    if not wanted:
        return findings
    audience().said(f"drawing {len(wanted)} videos for the report")
    reports = _folder(store.artifact_uri(comparison_id, "reports"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ramreel-")))
        pool = stack.enter_context(processes(min(len(wanted), cores()), folder))
        folders = [folder / str(number) for number in range(len(wanted))]
        traces = [
            store.fetch_artifact(one.run_id, videos[one.run_id][one.step].trace, folder)
            for one, folder in zip(wanted, folders, strict=True)
        ]
        jobs = [pool.submit(_draw, trace, one.frames) for trace, one in zip(traces, wanted, strict=True)]
        names = {run.run_id: run.run_name for run in comparison.runs}
        made: dict[str, list[VideoView]] = {}
        left_out = []
        for one, job in zip(wanted, jobs, strict=True):
            video = videos[one.run_id][one.step]
            try:
                drawn = job.result()
            except (VideoError, TraceError) as error:
                left_out.append(f"{names[one.run_id]}, step {one.step:,}: {error}")
            else:
                made.setdefault(one.run_id, []).append(_view(one, video, drawn, _from(store, reports, one, video)))
    runs = tuple(run.model_copy(update={"videos": tuple(made.get(run.run_id, ()))}) for run in comparison.runs)
    return Findings(comparison.model_copy(update={"runs": runs, "not_shown": tuple(left_out)}))


class _Drawn(Settings):
    clip: Clip
    mp4: bytes
    episode_return: float
    episode_frames: int


def _draw(path: Path, frames: int) -> _Drawn:
    trace = read_trace(path)
    mp4 = path.with_suffix(".mp4")
    made = clip(trace, mp4, frames)
    return _Drawn(clip=made, mp4=mp4.read_bytes(), episode_return=trace.episode_return, episode_frames=trace.frames + 1)


def _view(wanted: WantedVideo, video: Video, drawn: _Drawn, whole: str | None) -> VideoView:
    return VideoView(
        step=wanted.step,
        episode_return=drawn.episode_return,
        mp4=drawn.mp4,
        frames=drawn.clip.frames,
        episode_frames=drawn.episode_frames,
        fps=drawn.clip.fps,
        score=drawn.clip.score,
        whole=whole,
        path=video.mp4,
    )


def _from(store: Store, reports: Path | None, wanted: WantedVideo, video: Video) -> str | None:
    """Where the whole video lies, as seen from the report's folder; none where they are not on one disk."""
    whole = _folder(store.artifact_uri(wanted.run_id, video.mp4))
    return os.path.relpath(whole, reports) if whole and reports else None


def _folder(uri: str) -> Path | None:
    """The path that a local artifact's address means."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
