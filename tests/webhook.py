"""A real web server on loopback, to send messages to."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Webhook(HTTPServer):
    """A web server that keeps the messages it is sent, as JSON, and answers with a status."""

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def at(self) -> str:
        """Its address, without `http://`."""
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
