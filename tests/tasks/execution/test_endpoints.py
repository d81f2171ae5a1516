from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.serving import serving

from tasks.execution.endpoints import ServerAddresses, published, running_servers
from tasks.store import Store, open_store


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def servers() -> Iterator[ServerAddresses]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Healthy)) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        yield ServerAddresses(prefect=address, mlflow=address)


def test_servers_of_a_store_are_not_those_of_its_copy(home: Path, store: Store, servers: ServerAddresses) -> None:
    (home / "linked").symlink_to("mlruns")
    with published(store.address, servers):
        shutil.copytree(home / "mlruns", home / "copy")
        assert running_servers(open_store(f"sqlite:///{home}/copy/mlflow.db").address) is None
        assert running_servers(open_store(f"sqlite:///{home}/linked/mlflow.db").address) == servers
        assert running_servers(store.address) == servers
    assert running_servers(store.address) is None
