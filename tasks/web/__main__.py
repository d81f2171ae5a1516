"""The web server as a process of its own: `python -m tasks.web --host ADDRESS --port PORT`."""

from __future__ import annotations

import argparse
import os

from tasks.store import store_in_use
from tasks.web.app import create_app
from tasks.web.live import live_routes
from tasks.web.server import listen, make_server
from tasks.web.settings import from_environment

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""By default MLflow's client retries for minutes, while somebody waits for a page."""


def main() -> None:
    """Serve the web pages of the store of `MLFLOW_TRACKING_URI` until a signal."""
    parser = argparse.ArgumentParser(prog="tasks.web")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--prefect", help="Address of Prefect's UI")
    parser.add_argument("--mlflow", help="Address of MLflow's UI")
    parser.add_argument("--name", action="append", default=[], help="Name under which the server may be asked")
    given = parser.parse_args()
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    settings = from_environment(given.prefect, given.mlflow, given.name)
    store = store_in_use()
    app = create_app(store, settings, live_routes(store))
    with listen(given.host, given.port) as listening:
        make_server(app, shutdown_seconds=2).run(sockets=[listening])


if __name__ == "__main__":
    main()
