"""The web server: uvicorn on a socket that keeps little of what a slow viewer has not received yet."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette

_MAX_UNSENT_BYTES = 16 * 1024
"""By default the kernel keeps megabytes of frames for a slow viewer, who would see what was played long ago."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address of this machine; port 0 is a free one.

    Raises:
        OSError: the address is not one of this machine, or the port is in use.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.create_server(address[:2], family=family)
    if option := getattr(socket, "TCP_NOTSENT_LOWAT", None):
        # Connections that it accepts inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, option, _MAX_UNSENT_BYTES)
    return listening


def make_server(app: Starlette, *, shutdown_seconds: int = 1) -> uvicorn.Server:
    """Return the server of an application, to run on the socket of `listen`.

    Args:
        app: the application.
        shutdown_seconds: how long requests may take once it has to end.
    """
    # A frame of a live view is compressed once, not by the WebSocket of each viewer.
    return uvicorn.Server(
        uvicorn.Config(app, log_level="error", ws_per_message_deflate=False, timeout_graceful_shutdown=shutdown_seconds)
    )
