"""Clips in reports: rendered from the traces of recorded videos, in worker processes."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.arcade import report
from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.episodes.trace import TraceError, read_trace
from tasks.arcade.report import Findings, VideoRequest, VideoView
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.clip import RenderedClip, render_clip
from tasks.execution.links import mlflow_url
from tasks.execution.progress_sink import current_sink
from tasks.execution.worker_processes import process_pool
from tasks.store import Store, StoredVideo


def with_clips(store: Store, findings: Findings, comparison_id: str) -> Findings:
    """Return the findings with clips of the runs, rendered from their traces; the statistics are shared.

    A trace that does not replay in its game gives no clip: the report names it and has the others.
    """
    comparison = findings.comparison
    videos = {run.run_id: store.videos(run.run_id) for run in comparison.runs}
    evaluated = {run.run_id: {row.step for row in run.checkpoints} for run in comparison.runs}
    recorded = {run_id: sorted(videos[run_id].keys() & evaluated[run_id]) for run_id in videos}
    requests = report.select_videos(findings.groups, recorded)
    if not requests:
        return findings
    current_sink().log(f"rendering {len(requests)} clips for the report")
    reports = _local_path(store.artifact_uri(comparison_id, "reports"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ramreel-")))
        pool = stack.enter_context(process_pool(min(len(requests), cores()), folder))
        folders = [folder / str(number) for number in range(len(requests))]
        traces = [
            store.fetch_artifact(request.run_id, videos[request.run_id][request.step].trace, folder)
            for request, folder in zip(requests, folders, strict=True)
        ]
        jobs = [pool.submit(_render, trace, request.frames) for trace, request in zip(traces, requests, strict=True)]
        names = {run.run_id: run.run_name for run in comparison.runs}
        views: dict[str, list[VideoView]] = {}
        omitted = []
        for request, job in zip(requests, jobs, strict=True):
            video = videos[request.run_id][request.step]
            try:
                rendered = job.result()
            except (VideoError, TraceError) as error:
                omitted.append(f"{names[request.run_id]}, step {request.step:,}: {error}")
            else:
                link = _link(store, reports, request, video)
                views.setdefault(request.run_id, []).append(_view(request, video, rendered, link))
    clips = {run_id: tuple(of_run) for run_id, of_run in views.items()}
    return dataclasses.replace(findings, videos=clips, omitted_videos=tuple(omitted))


class _Rendered(Settings):
    clip: RenderedClip
    mp4: bytes
    episode_return: float
    episode_frames: int


def _render(path: Path, frames: int) -> _Rendered:
    trace = read_trace(path)
    mp4 = path.with_suffix(".mp4")
    clip = render_clip(trace, mp4, frames)
    return _Rendered(
        clip=clip, mp4=mp4.read_bytes(), episode_return=trace.episode_return, episode_frames=trace.frames + 1
    )


def _view(request: VideoRequest, video: StoredVideo, rendered: _Rendered, link: Mapping[str, str]) -> VideoView:
    return VideoView(
        step=request.step,
        episode_return=rendered.episode_return,
        mp4=rendered.mp4,
        frames=rendered.clip.frames,
        episode_frames=rendered.episode_frames,
        fps=rendered.clip.fps,
        score=rendered.clip.score,
        poster=rendered.clip.poster,
        path=video.mp4,
        **link,
    )


def _link(store: Store, reports: Path | None, request: VideoRequest, video: StoredVideo) -> dict[str, str]:
    """Return the links to the full video: its path relative to the report's folder if both are local files, its URL.

    A page opened as a file uses the path, others the URL, and MLflow's frame neither: see `templates/videos.js.j2`.
    """
    links = {}
    full_video = _local_path(store.artifact_uri(request.run_id, video.mp4))
    if full_video and reports:
        links["full_video"] = os.path.relpath(full_video, reports)
    url = mlflow_url(store, request.run_id, video.mp4)
    return links | ({"full_video_url": url} if url.startswith(("http://", "https://")) else {})


def _local_path(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
