"""Prefect's temporary API server, which it starts where no server is configured.

Uses private parts of Prefect, tried with Prefect 3.9.1: `SubprocessASGIServer`, whose instance flows reuse, with its
method `_run_uvicorn_command`, and the environment variables `PREFECT__SERVER_EPHEMERAL` and `PREFECT__SERVER_FINAL`.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tasks.services.child_processes import STOP_SECONDS, ended_with_parent
from tasks.services.orphans import mark_killed_runs_crashed, monitored_command, tracked_command

_HOST = "127.0.0.1"
_UVICORN = """
import gc
gc.set_threshold(100_000, 50, 100)
import prefect.server.api.server
gc.freeze()
import uvicorn
uvicorn.main()
"""
"""Garbage collection takes a fifth of the server's start, and most of its end: nothing of its imports is garbage."""


def uses_temporary_server() -> bool:
    """Return whether Prefect starts a temporary server: neither environment nor profile configures another one."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    return not settings.api.url and settings.server.ephemeral.enabled


@contextmanager
def temporary_prefect_server(meanwhile: Callable[[], object]) -> Iterator[None]:
    """Start Prefect's temporary server for a command's flow runs, unless another server is configured.

    Prefect itself would start it with the first flow, and would leave it running if this process is killed.

    Args:
        meanwhile: called while the server starts.
    """
    if not uses_temporary_server():
        with monitored_command():
            yield
        return
    from prefect.client.orchestration import get_client
    from prefect.server.api.server import SubprocessASGIServer

    watching = ExitStack()
    # Registered first, called last: Prefect sends its last messages, then stops its server.
    atexit.register(watching.close)

    class WatchedServer(SubprocessASGIServer):
        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            process = _start_uvicorn(self.port)
            watching.enter_context(ended_with_parent(process.pid, STOP_SECONDS))
            meanwhile()
            return process

    # A singleton of this process: flows reuse it.
    WatchedServer().start()
    with get_client(sync_client=True) as client:
        mark_killed_runs_crashed(client)
    with tracked_command():
        yield


def _start_uvicorn(port: int | None) -> subprocess.Popen[bytes]:
    """Start the server as Prefect does, but in a process group of its own.

    Ctrl-C and `timeout` signal a command's whole process group. Without a server Prefect would retry for minutes to
    report how the flow run ended.
    """
    import prefect
    from prefect.settings import get_current_settings

    # Without --app-dir the server would import from the working directory first.
    command = ["--app-dir", str(prefect.__module_path__.parent), "--host", _HOST, "--port", str(port)]
    options = ["--log-level", "error", "--lifespan", "on", "--factory", "prefect.server.api.server:create_app"]
    flags = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _UVICORN, *command, *options],
        env=os.environ | flags | get_current_settings().to_environment_variables(exclude_unset=True),
        start_new_session=True,
    )
