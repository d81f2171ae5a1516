"""The application: routes, middleware, and what they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from tasks.store import Store, StoreError
from tasks.web.artifact_files import ArtifactFiles
from tasks.web.artifacts import artifact_routes
from tasks.web.gallery import gallery
from tasks.web.game_pages import game, run
from tasks.web.guard import Guard
from tasks.web.live_data import RunningRuns, live_data_routes
from tasks.web.overview import Overview
from tasks.web.pages import NotFoundError, not_found, store_failed
from tasks.web.settings import WebSettings


def create_app(store: Store, settings: WebSettings, further: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application.

    Args:
        store: the store that all pages read.
        settings: addresses and protection.
        further: routes of further pages.
    """
    files, overview = ArtifactFiles(store), Overview(store)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        overview.read_ahead()
        try:
            yield
        finally:
            files.close()

    app = Starlette(
        routes=[
            Route("/", gallery),
            Route("/games/{env_id:path}", game),
            Route("/runs/{run_id}", run),
            *artifact_routes(),
            *live_data_routes(),
            *further,
            Route("/health", _health),
            Mount("/static", StaticFiles(directory=Path(__file__).with_name("static"))),
        ],
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers={404: not_found, NotFoundError: not_found, StoreError: store_failed},
        lifespan=lifespan,
    )
    app.state.store, app.state.settings, app.state.files = store, settings, files
    app.state.overview, app.state.running = overview, RunningRuns(store)
    return app


def _health(_: Request) -> Response:
    return PlainTextResponse("OK")
