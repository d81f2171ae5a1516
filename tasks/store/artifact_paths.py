"""Artifact paths within a run: their names, and the steps and videos that a listing of them contains."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tasks.arcade.settings.evaluation import PixelMethod
from tasks.store.errors import StoreError
from tasks.store.values import StoredVideo

VIDEOS = "videos"
EVALUATIONS = "evaluations"
PIXELS_EVALUATIONS = "evaluations-from-pixels"
REPORT = "reports/report.html"
"""Artifact path of the HTML report of a comparison or a sweep."""

_STEP_NAME = re.compile(r"step-(?P<step>\d{9,11})")
_EPISODE_NAME = re.compile(r"episode-\d{2,5}")
_LIVE_NAME = re.compile(r"live-(\d{1,10})-[0-9a-f]{8}")
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


def highlight_path(step: int) -> str:
    """Return the artifact path of the highlight of a checkpoint's video."""
    return f"{VIDEOS}/{step_name(step)}.highlight.mp4"


def pair_videos(paths: Iterable[str]) -> dict[int, StoredVideo]:
    """Return the videos among artifact paths by step, in ascending order.

    An MP4 without its trace is skipped; of several at one step the last one counts.
    """
    found: dict[int, StoredVideo] = {}
    for stem, mp4, trace in _pairs(paths):
        if match := _STEP_NAME.fullmatch(stem):
            step = int(match["step"])
            found[step] = StoredVideo(step=step, mp4=mp4, trace=trace)
    return dict(sorted(found.items()))


def pair_episodes(step: int, paths: Iterable[str]) -> list[StoredVideo]:
    """Return the videos of single episodes of a checkpoint among artifact paths, by name; likewise."""
    return _pair_named(_EPISODE_NAME, step, paths)


def live_name(seed: int, digest: str) -> str:
    """Return the name of an episode that was kept from a live view; the digest is that of its RAM."""
    return f"live-{seed}-{digest[:8]}"


def pair_live_episodes(step: int, paths: Iterable[str]) -> list[StoredVideo]:
    """Return the videos of a checkpoint that were kept from live views among artifact paths, by name; likewise."""
    return _pair_named(_LIVE_NAME, step, paths)


def pixels_name(method: PixelMethod, episode: str | None = None) -> str:
    """Return the name of a checkpoint's video from pixels, or of the video of one of its episodes from pixels."""
    return f"from-pixels-{method}" + (f"-{episode}" if episode else "")


def pixels_evaluation_path(step: int, method: PixelMethod) -> str:
    """Return the path of a checkpoint's evaluation from pixels."""
    return f"{PIXELS_EVALUATIONS}/{method}/{step_name(step)}.json"


def pair_pixels_episodes(step: int, method: PixelMethod, paths: Iterable[str]) -> list[StoredVideo]:
    """Return the videos of a checkpoint from pixels among artifact paths, by name; likewise."""
    name = re.compile(rf"{pixels_name(method)}(-{_EPISODE_NAME.pattern})?")
    return _pair_named(name, step, paths)


def steps_in(folders: Iterable[str]) -> tuple[int, ...]:
    """Return the steps that artifact folders are named by, in ascending order."""
    names = (_STEP_NAME.fullmatch(PurePosixPath(folder).name) for folder in folders)
    return tuple(sorted({int(match["step"]) for match in names if match}))


def _pair_named(name: re.Pattern[str], step: int, paths: Iterable[str]) -> list[StoredVideo]:
    found = {
        stem: StoredVideo(step=step, mp4=mp4, trace=trace) for stem, mp4, trace in _pairs(paths) if name.fullmatch(stem)
    }
    return [found[stem] for stem in sorted(found)]


def _pairs(paths: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (stem, MP4, trace) of each MP4 that has its trace in the same folder."""
    found: dict[tuple[PurePosixPath, str], dict[str, str]] = {}
    for path in paths:
        stem, _, suffix = PurePosixPath(path).name.partition(".")
        found.setdefault((PurePosixPath(path).parent, stem), {})[suffix] = safe_path(path)
    for (_, stem), suffixes in found.items():
        if {"mp4", "trace.json"} <= suffixes.keys():
            yield stem, suffixes["mp4"], suffixes["trace.json"]


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
