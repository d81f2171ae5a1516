"""A PostgreSQL server of a test session, on loopback, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from helpers.servers import free_port

_ACCESS = """\
host all ramreel 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a server and yield the URI of its database `postgres`; skip the test where PostgreSQL is not installed."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed")
    # Its server does not run as root, and a folder of pytest's cannot be read by another user.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="ramreel-postgresql-"))
    if user:
        shutil.chown(folder, user)
    port, data = free_port(), folder / "data"

    def call(program: str, *arguments: str) -> None:
        command = [programs / program, "--pgdata", data, *arguments]
        # Not a pipe: the server would inherit it.
        with (folder / "output").open("a") as output:
            subprocess.run(command, user=user, cwd=folder, stdout=output, stderr=output, check=True)

    try:
        call("initdb", "--username", "ramreel", "--auth", "trust", "--no-sync")
        (data / "pg_hba.conf").write_text(_ACCESS)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        call("pg_ctl", "start", "--wait", "--log", str(folder / "log"), "--options", options)
        try:
            yield f"postgresql+psycopg2://ramreel@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "stop", "--mode", "immediate")
    finally:
        shutil.rmtree(folder)


@cache
def server_programs() -> Path | None:
    """Return the folder of the newest server's programs, which Debian keeps out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None
