"""The live view of one checkpoint, served on loopback until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from tasks.execution.endpoints import running_servers
from tasks.store import Store, StoredCheckpoint
from tasks.web.app import create_app
from tasks.web.live import live_routes
from tasks.web.server import listen, make_server
from tasks.web.settings import from_environment

_HOST = "127.0.0.1"


def serve_live(
    store: Store, checkpoint: StoredCheckpoint, seed: int, *, deterministic: bool, on_start: Callable[[str], object]
) -> None:
    """Serve the live view of a checkpoint, on a free port.

    Args:
        store: the store.
        checkpoint: the checkpoint.
        seed: seed of the episode.
        deterministic: whether the agent plays the most probable action instead of sampling.
        on_start: called with the address of the page, at which the server listens.
    """
    servers = running_servers(store.address)
    settings = from_environment(
        servers.prefect if servers else None, servers.mlflow if servers else None, (_HOST, "localhost")
    )
    app = create_app(store, settings, live_routes(store))
    query = {"run": checkpoint.run_id, "step": checkpoint.step, "seed": seed} | ({"greedy": 1} if deterministic else {})
    with listen(_HOST, 0) as listening:
        on_start(f"http://{_HOST}:{listening.getsockname()[1]}/live?{urlencode(query)}")
        make_server(app).run(sockets=[listening])
