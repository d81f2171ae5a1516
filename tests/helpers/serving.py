"""Servers of the standard library, served by a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer
from typing import TypeVar

TServer = TypeVar("TServer", bound=TCPServer)


@contextmanager
def serving(server: TServer) -> Iterator[TServer]:
    """Answer a server's requests while the block runs, and close it afterwards."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
