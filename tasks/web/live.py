"""The live view: a checkpoint plays in the browser, beside what it observes and decides, and can be taken over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.fields import is_run_id
from tasks.arcade.live.messages import Command
from tasks.store import REPORT, TRAINED, RunSummary, Store, StoredCheckpoint, StoreError, run_page, summary_of
from tasks.web.addresses import artifact_address
from tasks.web.game_names import game_page, game_title
from tasks.web.live_episodes import keep_episode, verify_episode
from tasks.web.live_views import MAX_VIEWS, LiveView, LiveViews, Viewer, ViewKey
from tasks.web.overview import Overview
from tasks.web.pages import GALLERY, Links, NotFoundError, render_page
from tasks.web.settings import WebSettings

MAX_CHOICES = 200
"""Runs to choose from on the page: those that were started last."""
_MAX_SEED = 2**32 - 1
_COMMAND_SECONDS = 1 / 60
"""Time between two commands of a viewer: more often than frames nobody presses a key."""
_KEYS = (("left", "←"), ("up", "↑"), ("down", "↓"), ("right", "→"), ("fire", "Space"))


@dataclass(frozen=True)
class Choice:
    """What an address names, and the other checkpoints of its run."""

    run: RunSummary
    key: ViewKey
    steps: Sequence[int]

    @property
    def live_address(self) -> str:
        """Address of the view's WebSocket, relative to the server's."""
        greedy = "&greedy=1" if self.key.deterministic else ""
        return f"/live/socket?run={self.run.run_id}&step={self.key.checkpoint.step}&seed={self.key.seed}{greedy}"


def live_routes(store: Store, *, maximum: int = MAX_VIEWS) -> list[BaseRoute]:
    """Return the routes of the live view.

    Args:
        store: the store.
        maximum: maximum number of live views at a time.
    """
    handler = _LiveHandler(LiveViews(store, maximum))
    return [
        Route("/live", _page),
        Route("/live/verify", _verify, methods=["POST"]),
        WebSocketRoute("/live/socket", handler.serve),
    ]


def _page(request: Request) -> Response:
    store: Store = request.app.state.store
    overview: Overview = request.app.state.overview
    settings: WebSettings = request.app.state.settings
    choice = _choice(store, request)
    listed = sorted(overview.snapshot().runs.values(), key=lambda run: run.start_ms, reverse=True)
    runs = [run for run in listed if run.kind in TRAINED and run.env_id and run.evaluated][:MAX_CHOICES]
    games: dict[str, list[RunSummary]] = {}
    for run in (choice.run, *(one for one in runs if one.run_id != choice.run.run_id)):
        games.setdefault(run.env_id or "", []).append(run)
    values = {
        "choice": choice,
        "games": dict(sorted(games.items())),
        "keys": _KEYS,
        "max_seed": _MAX_SEED,
        "mlflow": settings.mlflow_page(run_page(choice.run.experiment_id, choice.run.run_id)),
        "prefect": settings.flow_run_page(choice.run.flow_run_id),
        "report": choice.run.report and artifact_address(choice.run.report, REPORT),
    }
    return render_page(request, "live.html.j2", values)


def _choice(store: Store, connection: HTTPConnection) -> Choice:
    """Return what the query of an address names.

    Raises:
        NotFoundError: there is no such run, checkpoint or seed.
    """
    query = connection.query_params
    run = _run(store, query.get("run") or "latest")
    checkpoints = {stored.step: stored for stored in store.list_checkpoints(run.run_id)}
    links = _links(run)
    if not checkpoints:
        raise NotFoundError(f"Run {run.name} has no checkpoint that could play.", links)
    checkpoint = _checkpoint(run, checkpoints, query.get("step"))
    seed = query.get("seed") or "0"
    if not seed.isdecimal() or len(seed) > 10 or int(seed) > _MAX_SEED:
        raise NotFoundError(f"{seed[:32]!r} is not a seed: use a whole number from 0 to {_MAX_SEED:,}.", links)
    key = ViewKey(checkpoint, int(seed), deterministic=query.get("greedy") == "1")
    return Choice(run, key, tuple(checkpoints))


def _run(store: Store, reference: str) -> RunSummary:
    run_id = reference
    if not is_run_id(reference):
        try:
            run_id = store.resolve_run(reference)
        except StoreError as error:
            raise NotFoundError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    run = summary_of(store, run_id)
    if run is None:
        raise NotFoundError(f"There is no run {run_id}, or it was deleted.")
    return run


def _checkpoint(run: RunSummary, checkpoints: dict[int, StoredCheckpoint], step: str | None) -> StoredCheckpoint:
    if not step:
        return checkpoints[max(checkpoints)]
    stored = checkpoints.get(int(step)) if step.isdecimal() and len(step) < 12 else None
    if stored is None:
        available = ", ".join(f"{one:,}" for one in list(checkpoints)[:20])
        raise NotFoundError(
            f"Run {run.name} has no checkpoint at step {step[:32]!r}; available: {available}.", _links(run)
        )
    return stored


def _links(run: RunSummary) -> Links:
    watch = [("Its last checkpoint", f"/live?run={run.run_id}")]
    game = [(game_title(run.env_id), game_page(run.env_id, run.run_id))] if run.env_id else []
    return [*watch, *game, *GALLERY]


async def _verify(request: Request) -> Response:
    store: Store = request.app.state.store
    run_id, path = request.query_params.get("run", ""), request.query_params.get("path", "")
    if not is_run_id(run_id):
        return JSONResponse({"ok": False, "line": f"{run_id[:64]!r} is not a run id."}, 404)
    try:
        proof = await run_in_threadpool(verify_episode, store, run_id, path)
    except RamreelError as error:
        return JSONResponse({"ok": False, "line": str(error)}, 404)
    return JSONResponse({"ok": proof.ok, "line": proof.line})


class _LiveHandler:
    """Serves the WebSockets of all viewers."""

    def __init__(self, views: LiveViews) -> None:
        self._views = views
        self._keeping, self._tasks = False, set[asyncio.Task[None]]()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one viewer until either side closes."""
        await websocket.accept()
        try:
            choice = await run_in_threadpool(_choice, self._views.store, websocket)
            async with self._views.join(choice.key) as (view, viewer):
                await self._exchange(websocket, view, viewer)
        except (NotFoundError, RamreelError) as error:
            logging.getLogger("ramreel").warning("live view: %s", error)
            with suppress(WebSocketDisconnect, RuntimeError):
                await websocket.send_json({"type": "failure", "message": str(error)})
                await websocket.close()

    async def _exchange(self, websocket: WebSocket, view: LiveView, viewer: Viewer) -> None:
        sending = asyncio.create_task(_send(websocket, viewer))
        receiving = asyncio.create_task(self._receive(websocket, view, viewer))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _receive(self, websocket: WebSocket, view: LiveView, viewer: Viewer) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                text = await websocket.receive_text()
                try:
                    command = Command.model_validate_json(text)
                except ValidationError as error:
                    viewer.put_text("notice", message=f"Not a command: {error.errors()[0]['msg']}")
                    continue
                if command.do == "keep":
                    self._keep(view)
                else:
                    view.send(command)
                await asyncio.sleep(_COMMAND_SECONDS)

    def _keep(self, view: LiveView) -> None:
        if self._keeping:
            view.broadcast("notice", message="An episode is being saved: try again in a moment")
            return
        self._keeping = True
        task = asyncio.create_task(self._keep_episode(view))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_episode(self, view: LiveView) -> None:
        checkpoint = view.key.checkpoint
        try:
            raw = await view.trace()
            view.broadcast("keeping")
            video, trace = await run_in_threadpool(keep_episode, self._views.store, checkpoint, view.atlas, raw)
            view.broadcast(
                "kept",
                run=checkpoint.run_id,
                path=video.mp4,
                steps=trace.length,
                humanSteps=len(trace.human_steps),
                episodeReturn=trace.episode_return,
                digest=trace.ram_digest,
            )
        except RamreelError as error:
            view.broadcast("notice", message=str(error))
        except Exception as error:
            # Nobody else learns that the process that renders the video was killed.
            logging.getLogger("ramreel").warning("live view: an episode was not kept: %s", error)
            view.broadcast("notice", message="The episode could not be saved: the log of the server says why")
        finally:
            self._keeping = False


async def _send(websocket: WebSocket, viewer: Viewer) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        async for message in viewer.messages():
            await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
        await websocket.close()
