"""The web pages, served by uvicorn in a thread of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette

from helpers.processes import wait_until


@contextmanager
def web_server(app: Starlette) -> Iterator[httpx.Client]:
    """Serve an application on loopback, and yield a client of it that follows redirects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            assert wait_until(lambda: server.started)
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with httpx.Client(base_url=address, trust_env=False, follow_redirects=True, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
