"""Addresses of artifacts, by run id and artifact path: files, clips of videos, what a run has to show."""

from __future__ import annotations

import mimetypes
import re
from pathlib import PurePosixPath
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tasks.store import Store, StoreError, evaluation_curve, highlight_path, summary_of
from tasks.web.addresses import artifact_address
from tasks.web.artifact_files import ArtifactFiles
from tasks.web.game_names import game_page
from tasks.web.pages import GALLERY, NotFoundError

_SANDBOX = (
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads; "
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "media-src data: blob: http: https:"
)
"""Content-Security-Policy of artifacts: a page that a run stores cannot reach our own pages."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_TYPES = {".md": "text/plain", ".toml": "text/plain", ".js": "text/plain", ".log": "text/plain"}
_REEL = {"video": "reels/reel.mp4", "grid": "reels/grid.mp4", "animation": "reels/reel.webp"}


def artifact_routes() -> list[BaseRoute]:
    """Return the routes of artifacts."""
    return [
        Route("/runs/{run_id}/artifacts/{path:path}", _artifact),
        Route("/runs/{run_id}/clip", _clip),
        Route("/api/runs/{run_id}/media", _media),
    ]


def run_id_of(request: Request) -> str:
    """Return the run id in an address.

    Raises:
        NotFoundError: it is not one.
    """
    run_id: str = request.path_params["run_id"]
    if not _RUN_ID.fullmatch(run_id):
        raise NotFoundError(f"{run_id[:64]!r} is not a run id, which has 32 characters from 0-9 and a-f.")
    return run_id


def _artifact(request: Request) -> Response:
    run_id, path = run_id_of(request), str(request.path_params["path"])
    files: ArtifactFiles = request.app.state.files
    try:
        file = files.file(run_id, path) if path.isprintable() else None
    except StoreError as error:
        _raise_if_missing(request.app.state.store, run_id, path, error)
        raise
    if file is None or not file.is_file():
        raise _missing(run_id, path)
    suffix = PurePosixPath(path).suffix
    kind = _TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return FileResponse(file, media_type=kind, headers={"content-security-policy": _SANDBOX})


def _raise_if_missing(store: Store, run_id: str, path: str, error: StoreError) -> None:
    """Raise NotFoundError unless the artifact is on a server, and could not be read for another reason."""
    run = summary_of(store, run_id)
    if run is None:
        raise NotFoundError(f"There is no run {run_id}, or it was deleted.") from error
    folder = str(PurePosixPath(path).parent)
    try:
        listed = path in store.files_in(run_id, folder) if folder not in (".", "/") else False
    except StoreError:
        listed = False
    if store.address.database is not None or not listed:
        raise _missing(run_id, path, run.env_id) from error


def _missing(run_id: str, path: str, env_id: str | None = None) -> NotFoundError:
    links = [(f"Run {run_id[:8]}", game_page(env_id, run_id)), *GALLERY] if env_id else GALLERY
    return NotFoundError(f"Run {run_id[:8]} has no artifact {path[:200]!r}.", links)


def _clip(request: Request) -> Response:
    """Redirect to the highlight of a checkpoint's video, or to the video; answer without content if there is none.

    A card of the gallery asks before it knows, and a browser reports an error of the page for every 404.
    """
    run_id, step = run_id_of(request), request.query_params.get("step", "")
    store: Store = request.app.state.store
    if not (step.isdecimal() and len(step) < 12):
        raise NotFoundError(f"{step[:20]!r} is not the step of a checkpoint.")
    if summary_of(store, run_id) is None:
        raise NotFoundError(f"There is no run {run_id}, or it was deleted.")
    path = _clip_path(store, run_id, int(step))
    return Response(status_code=204) if path is None else RedirectResponse(artifact_address(run_id, path), 302)


def _clip_path(store: Store, run_id: str, step: int) -> str | None:
    highlight = highlight_path(step)
    if highlight in store.files_in(run_id, "videos"):
        return highlight
    video = store.videos(run_id).get(step)
    return video.mp4 if video else None


def _media(request: Request) -> Response:
    """Return the videos of a run's checkpoints with their returns, and its reel, as JSON."""
    run_id = run_id_of(request)
    store: Store = request.app.state.store
    if summary_of(store, run_id) is None:
        raise NotFoundError(f"There is no run {run_id}, or it was deleted.")
    evaluated = {one.step: one for one in evaluation_curve(store, run_id)}
    videos: list[dict[str, Any]] = []
    for step, video in store.videos(run_id).items():
        found = evaluated.get(step)
        videos.append({
            "step": step,
            "src": artifact_address(run_id, video.mp4),
            "mean": found and found.mean,
            "low": found and found.low,
            "high": found and found.high,
        })  # fmt: skip
    reels = store.files_in(run_id, "reels")
    reel = {part: artifact_address(run_id, path) for part, path in _REEL.items() if path in reels}
    return JSONResponse({"videos": videos, "reel": reel})
