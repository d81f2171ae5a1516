"""MLflow's and Prefect's servers on loopback, killed and started again over the same data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from helpers.processes import TIMEOUT_SECONDS, wait_until
from tasks.store import open_store

# Prefect's server answers 503 while its database is busy, and its own clients retry; `ramreel up` may start it again.
_RETRIES = Retry(TIMEOUT_SECONDS, allowed_methods=None, status_forcelist=[503], backoff_factor=0.1, backoff_max=1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def request(method: str, url: str, body: object = None) -> Any:
    """Return a server's JSON response, None for an empty one; wait while the server is busy or does not respond."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", HTTPAdapter(max_retries=_RETRIES))
        response = session.request(method, url, json=body, timeout=60)
    response.raise_for_status()
    return response.json() if response.content else None


@dataclass
class Server:
    """A server in a process group of its own; it can be started and killed repeatedly."""

    command: list[str]
    folder: Path
    address: str
    health: str
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert wait_until(self.is_healthy, every=0.2), (self.folder / "log").read_text()[-2000:]

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(self.address + self.health, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def post(self, path: str, body: object) -> Any:
        """Return the server's JSON response."""
        return request("POST", self.address + path, body)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        if server.process is not None:
            server.kill()


def mlflow_server(folder: Path, migrated: Path) -> Server:
    """Return MLflow's server, which proxies artifacts."""
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(migrated.read_bytes())
    port = free_port()
    command = open_store(f"sqlite:///{folder}/mlflow.db").server_command("127.0.0.1", port)
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return Server(command, folder, f"http://127.0.0.1:{port}", "/health", environment)


def prefect_server(folder: Path, auth_string: str = "") -> Server:
    """Return Prefect's server; requests need the user and the password in `auth_string`, if there is one."""
    folder.mkdir()
    port = free_port()
    environment = {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **({"PREFECT_SERVER_API_AUTH_STRING": auth_string} if auth_string else {}),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    return Server([*command, "--no-ui"], folder, f"http://127.0.0.1:{port}/api", "/health", environment)
