"""Command lines of MLflow's server and of the migration of its database."""

from __future__ import annotations

import sys

_MLFLOW = (sys.executable, "-m", "mlflow")


def server_command(host: str, port: int, processes: int, database: str, artifacts: str) -> list[str]:
    """Return the command line of a tracking server, with its UI, which serves the artifacts too.

    Args:
        host: address that it listens on.
        port: port that it listens on.
        processes: number of its processes.
        database: URI of its database, without a password: every user of a machine can read command lines.
        artifacts: URI or path of the artifacts.
    """
    files = ["--backend-store-uri", database, "--artifacts-destination", artifacts]
    return [*_MLFLOW, "server", "--host", host, "--port", str(port), "--workers", str(processes), *files]


def migration_command(database: str) -> list[str]:
    """Return the command line that creates MLflow's tables in a database, or migrates them to this version's."""
    return [*_MLFLOW, "db", "upgrade", database]
