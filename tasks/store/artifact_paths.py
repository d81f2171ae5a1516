"""Artifact paths within a run: their names, and the steps and videos that a listing of them contains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from tasks.store.errors import StoreError
from tasks.store.values import StoredVideo

VIDEOS = "videos"
EVALUATIONS = "evaluations"

_STEP_NAME = re.compile(r"step-(?P<step>\d{9,11})")
_EPISODE_NAME = re.compile(r"episode-\d{2,5}")
_EVALUATION_NAME = re.compile(r"step-(?P<step>\d{9,11})\.json")


def step_name(step: int) -> str:
    """Return `step-000250000`: sorts as text in the order of the steps, up to 10**9."""
    return f"step-{step:09d}"


def training_state_path(step: int) -> str:
    """Return the folder of a checkpoint's training state."""
    return f"checkpoints/{step_name(step)}"


def evaluation_path(step: int) -> str:
    """Return the path of a checkpoint's evaluation."""
    return f"{EVALUATIONS}/{step_name(step)}.json"


def video_at(step: int, episode: str | None = None) -> StoredVideo:
    """Return the paths of a checkpoint's video, or of the video of one of its episodes."""
    path = f"{VIDEOS}/{step_name(step)}" + (f"/{episode}" if episode else "")
    return StoredVideo(step=step, mp4=f"{path}.mp4", trace=f"{path}.trace.json")


def pair_videos(paths: Iterable[str]) -> dict[int, StoredVideo]:
    """Return the videos among artifact paths by step, in ascending order; an MP4 without its trace is skipped."""
    found: dict[int, StoredVideo] = {}
    for name, suffixes in _by_stem(paths).items():
        match = _STEP_NAME.fullmatch(name)
        if match and {"mp4", "trace.json"} <= suffixes.keys():
            step = int(match["step"])
            found[step] = StoredVideo(step=step, mp4=suffixes["mp4"], trace=suffixes["trace.json"])
    return dict(sorted(found.items()))


def pair_episodes(step: int, paths: Iterable[str]) -> list[StoredVideo]:
    """Return the videos of single episodes of a checkpoint among artifact paths, by name."""
    return [
        StoredVideo(step=step, mp4=suffixes["mp4"], trace=suffixes["trace.json"])
        for name, suffixes in sorted(_by_stem(paths).items())
        if _EPISODE_NAME.fullmatch(name) and {"mp4", "trace.json"} <= suffixes.keys()
    ]


def _by_stem(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return `{"step-000250000": {"mp4": path, "trace.json": path}}`."""
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        stem, _, suffix = PurePosixPath(path).name.partition(".")
        found.setdefault(stem, {})[suffix] = safe_path(path)
    return found


def evaluated_steps(paths: Iterable[str]) -> tuple[int, ...]:
    """Return the steps of the evaluations among artifact paths, in ascending order."""
    names = (_EVALUATION_NAME.fullmatch(PurePosixPath(path).name) for path in paths)
    return tuple(sorted(int(match["step"]) for match in names if match))


def safe_path(path: str) -> str:
    """Return an artifact path unchanged if it stays within the run's artifacts.

    Raises:
        StoreError: the path is absolute, is a URI, or has a `..` component.
    """
    parts = path.split("/")
    if "\\" in path or ":" in path or any(part in ("", ".", "..") for part in parts):
        raise StoreError(f"{path!r} is not an artifact path: it must be relative and stay within the run")
    return path
