"""Who may ask: names of the server, login, origin of what changes something; and headers against foreign content."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from tasks.web.settings import WebSettings

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy of our own pages: nothing from another host, no inline script or style."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_COOKIE = "ramreel"


class Guard:
    """Middleware that refuses requests and WebSockets from strangers.

    Without a password the server answers only under names of its own, so that a page of another host cannot reach it
    by a name that resolves to this machine (DNS rebinding). With one the browser logs in by HTTP Basic; a cookie then
    stands for the login, because some browsers do not send it when they open a WebSocket. A WebSocket, and a request
    that may change something, must come from a page of this server.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app, self._settings = app, settings
        self._token = secrets.token_urlsafe()
        self._basic = settings.login and "Basic " + base64.b64encode(settings.login.encode()).decode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if refusal := self._refusal(scope, headers):
            await (WebSocketClose(1008) if scope["type"] == "websocket" else refusal)(scope, receive, send)
            return

        logs_in = self._basic is not None and "authorization" in headers and self._is_logged_in(headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message))
                if logs_in:
                    cookie = f"{_COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                    MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        if self._basic is None and not self._is_own_name(headers.get("host", "")):
            return PlainTextResponse("This server has another name: ask for it by that of its machine.", 403)
        if self._basic is not None and scope["path"] != "/health" and not self._is_logged_in(headers):
            return PlainTextResponse("Log in.", 401, {"WWW-Authenticate": 'Basic realm="ramreel", charset="UTF-8"'})
        if (scope["type"] == "websocket" or scope["method"] not in _SAFE) and not _is_own_origin(headers):
            return PlainTextResponse("Only pages of this server may ask for this.", 403)
        return None

    def _is_own_name(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return not self._settings.hosts or name in self._settings.hosts or _is_ip_address(name)

    def _is_logged_in(self, headers: Headers) -> bool:
        assert self._basic is not None
        if hmac.compare_digest(headers.get("authorization", "").encode(), self._basic.encode()):
            return True
        cookie = cookie_parser(headers.get("cookie", "")).get(_COOKIE, "")
        return hmac.compare_digest(cookie.encode(), self._token.encode())


def _add_headers(headers: MutableHeaders) -> None:
    headers.setdefault("content-security-policy", PAGE_POLICY)
    headers.setdefault("cache-control", "no-cache")
    headers["x-content-type-options"] = "nosniff"
    headers["referrer-policy"] = "same-origin"


def _is_ip_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _is_own_origin(headers: Headers) -> bool:
    origin, host = headers.get("origin", ""), headers.get("host", "")
    return origin in (f"http://{host}", f"https://{host}")
