"""A proxy in front of a real server: it counts requests, answers some of them with an error, and can be slow."""

from __future__ import annotations

import http.client
import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from helpers.serving import serving

_HOP_BY_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "content-length"}


class Proxy(ThreadingHTTPServer):
    """A proxy of one server.

    Attributes:
        address: base URL of the proxy.
        requests: method and path of every request so far.
        failing: end of the path of a request that is answered with 500 once, before it reaches the server.
        answering: while it is cleared, requests wait.
        headers: headers of all answers, instead of the server's.
        bodies: end of a path → the body of its answers, instead of the server's.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[str] = []
        self.failing: str | None = None
        self.answering = threading.Event()
        self.answering.set()
        self.headers: dict[str, str] = {}
        self.bodies: dict[str, bytes] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"{self.command} {self.path}")
        self.server.answering.wait()
        if self.server.failing and self.path.endswith(self.server.failing):
            self.server.failing = None
            self._answer(500, {}, b"")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            body = response.read()
            for path, other in self.server.bodies.items():
                body = other if self.path.endswith(path) else body
            self._answer(response.status, dict(response.getheaders()) | self.server.headers, body)
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        # Without `send_response`'s own headers Server and Date.
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._forward)


def proxied(target: str) -> AbstractContextManager[Proxy]:
    """Run a proxy of a server while the block runs."""
    return serving(Proxy(target))
