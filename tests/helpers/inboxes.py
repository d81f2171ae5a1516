"""A real web server and a real mail server on loopback, to send messages to."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

from aiosmtpd import handlers
from aiosmtpd.controller import Controller


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


class Postbox(handlers.Message):
    """What a mail server has been given."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Message] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def handle_message(self, message: Message) -> None:
        self.got.append(message)

    @property
    def address(self) -> str:
        """As Apprise takes it."""
        return f"mailto://127.0.0.1:{self.port}?mode=insecure&from=ramreel@example.org&to=me@example.org"


@contextmanager
def mail_server() -> Iterator[Postbox]:
    box = Postbox()
    server = Controller(box, hostname="127.0.0.1", port=box.port)
    server.start()
    try:
        yield box
    finally:
        server.stop()
