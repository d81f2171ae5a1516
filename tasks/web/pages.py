"""Renders the templates of this package; pages of errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tasks.arcade import scores
from tasks.arcade.plural_forms import pluralize
from tasks.store import StoreError
from tasks.web.game_names import game_page, game_title
from tasks.web.settings import WebSettings

Links = Sequence[tuple[str, str]]
GALLERY: Links = (("All games", "/"),)


class NotFoundError(Exception):
    """What an address names is not there.

    Args:
        sentence: what is not there, and what would be right.
        links: where to go from here, as (text, address).
    """

    def __init__(self, sentence: str, links: Links = GALLERY) -> None:
        super().__init__(sentence)
        self.sentence, self.links = sentence, links


def render_page(request: Request, template: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """Return a page; the template extends `base.html.j2`, and values in it are escaped.

    Args:
        request: the request, whose application holds the settings.
        template: file name in `templates/`.
        values: variables of the template.
        status: HTTP status.
    """
    site: WebSettings = request.app.state.settings
    html = _environment().get_template(template).render(site=site, **values)
    return HTMLResponse(html, status)


def not_found(request: Request, error: Exception) -> Response:
    """Return the answer to a request for something that is not there."""
    if isinstance(error, NotFoundError):
        return _error(request, HTTPStatus.NOT_FOUND, "Not found", error.sentence, error.links)
    return _error(request, HTTPStatus.NOT_FOUND, "Not found", f"There is no page {request.url.path}.", GALLERY)


def store_failed(request: Request, error: Exception) -> Response:
    """Return the answer to a request that MLflow could not serve, and log why: the reason may hold a path."""
    assert isinstance(error, StoreError)
    logging.getLogger("ramreel").warning("%s: %s", request.url.path, error)
    sentence = "The results cannot be read at the moment: the log of this server says why."
    return _error(request, HTTPStatus.SERVICE_UNAVAILABLE, "MLflow does not answer", sentence, GALLERY)


def _error(request: Request, status: HTTPStatus, title: str, sentence: str, links: Links) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": sentence}, status)
    return render_page(request, "error.html.j2", {"title": title, "sentence": sentence, "links": links}, status)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tasks.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment


_FILTERS: dict[str, Callable[..., Any]] = {
    "number": scores.format_number,
    "score": scores.format_score,
    "game_title": game_title,
    "game_page": game_page,
    "pluralize": pluralize,
}
