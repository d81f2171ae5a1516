"""Prefect's temporary API server, which Prefect itself would start where no server is configured.

Prefect's class for it would import the whole server into this process, which takes as long as the server's own start.
Uses private parts of Prefect, tried with Prefect 3.9.1: the environment variables `PREFECT__SERVER_EPHEMERAL` and
`PREFECT__SERVER_FINAL`.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress

from filelock import FileLock

from tasks.execution.endpoints import embedded_prefect_database, is_healthy
from tasks.services.child_processes import STOP_SECONDS, ServerError, ended_with_parent, free_port
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

_servers: list[str] = []
"""URL of the API of the server that this process has started, if any; it runs until the process ends."""


def uses_temporary_server() -> bool:
    """Return whether flow runs use a temporary server: neither environment nor profile configures another one."""
    if _servers:
        return True
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    return not settings.api.url and settings.server.ephemeral.enabled


@contextmanager
def temporary_prefect_server(meanwhile: Callable[[], object]) -> Iterator[None]:
    """Start a temporary server for a command's flow runs, unless another server is configured.

    Prefect would leave it running if this process is killed.

    Args:
        meanwhile: called while the server starts.

    Raises:
        ServerError: the server did not start.
    """
    if not uses_temporary_server():
        with monitored_command():
            yield
        return
    if not _servers:
        _servers.append(_start(meanwhile))
    api = _servers[0]
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    # The settings of this context, and the environment for threads and processes without one.
    os.environ["PREFECT_API_URL"] = api
    with temporary_settings({PREFECT_API_URL: api}):
        with get_client(sync_client=True) as client:
            mark_killed_runs_crashed(client)
        with tracked_command():
            yield


def _start(meanwhile: Callable[[], object]) -> str:
    """Start the server, wait until it responds, and return the URL of its API."""
    from prefect.settings import get_current_settings

    stopping = ExitStack()
    # Registered before Prefect's own, called after them: Prefect sends its last messages first.
    atexit.register(stopping.close)
    with _one_at_a_time():
        port = free_port(_HOST)
        process = _start_uvicorn(port)
        stopping.enter_context(ended_with_parent(process.pid, STOP_SECONDS))
        stopping.callback(_stop, process)
        meanwhile()
        api = f"http://{_HOST}:{port}/api"
        deadline = time.monotonic() + get_current_settings().server.ephemeral.startup_timeout_seconds
        while not is_healthy(f"{api}/health"):
            if process.poll() is not None:
                raise ServerError(f"Prefect's temporary server ended with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise ServerError("Prefect's temporary server did not answer: set PREFECT_API_URL to one that runs")
            time.sleep(0.05)
    return api


def _one_at_a_time() -> AbstractContextManager[object]:
    """Return a lock under which the commands of one home start their servers.

    A starting server writes to its database for seconds; of several, some would find it locked for too long and end.
    """
    database = embedded_prefect_database()
    return FileLock(f"{database}.lock") if database else nullcontext()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    process.kill()
    process.wait()


def _start_uvicorn(port: int) -> subprocess.Popen[bytes]:
    """Start the server as Prefect does, but in a process group of its own.

    Ctrl-C and `timeout` signal a command's whole process group. Without a server Prefect would retry for minutes to
    report how the flow run ended.
    """
    import prefect
    from prefect.settings import get_current_settings

    # Without --app-dir the server would import from the working directory first.
    command = ["--app-dir", str(prefect.__module_path__.parent), "--host", _HOST, "--port", str(port)]
    options = ["--log-level", "error", "--lifespan", "on", "--factory", "prefect.server.api.server:create_app"]
    flags = {
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        # A fifth of the start; the server on which someone creates a block registers their types itself.
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _UVICORN, *command, *options],
        env=os.environ | flags | get_current_settings().to_environment_variables(exclude_unset=True),
        start_new_session=True,
    )
