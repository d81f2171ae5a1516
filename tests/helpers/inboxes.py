"""A web server and a mail server on loopback that receive notifications."""

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
    """A web server that keeps the JSON messages posted to it and responds with a configurable status."""

    def __init__(self) -> None:
        self.received: list[dict[str, str]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def netloc(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Mailbox(handlers.Message):
    """The messages that a mail server has received."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Message] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def handle_message(self, message: Message) -> None:
        self.received.append(message)

    @property
    def address(self) -> str:
        """Apprise URL of a receiver."""
        return f"mailto://127.0.0.1:{self.port}?mode=insecure&from=ramreel@example.org&to=me@example.org"


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    server = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    server.start()
    try:
        yield mailbox
    finally:
        server.stop()
