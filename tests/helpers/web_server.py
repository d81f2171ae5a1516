"""The web pages, served by uvicorn in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from starlette.applications import Starlette

from helpers.processes import wait_until
from tasks.web.server import listen, make_server


@contextmanager
def web_address(app: Starlette) -> Iterator[str]:
    """Serve an application on loopback, and yield host and port."""
    server = make_server(app)
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            assert wait_until(lambda: server.started or not thread.is_alive())
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def web_server(app: Starlette) -> Iterator[httpx.Client]:
    """Serve an application on loopback, and yield a client of it that follows redirects."""
    with (
        web_address(app) as address,
        httpx.Client(base_url=f"http://{address}", trust_env=False, follow_redirects=True, timeout=60) as client,
    ):
        yield client
