from __future__ import annotations

import http.server
import os
import re
import socket
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from helpers.serving import serving
from mlflow import MlflowClient

from tasks.arcade.settings.run import RunSettings
from tasks.store import Store, StoreError, find_home, mlflow_internals, open_store


def message_of(error: pytest.ExceptionInfo[StoreError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_ramreel_home_holds_the_embedded_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("RAMREEL_HOME", str(tmp_path / "home"))
    store = open_store()
    assert store.address.uri == f"sqlite:///{tmp_path}/home/mlruns/mlflow.db"
    assert store.address.artifacts == tmp_path / "home/mlruns/artifacts"


@pytest.mark.parametrize("marker", ["mlruns", "pyproject.toml"])
def test_home_is_the_closest_project_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, marker: str) -> None:
    monkeypatch.delenv("RAMREEL_HOME", raising=False)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "another"\n')
    if marker == "mlruns":
        (tmp_path / "mlruns").mkdir()
    else:
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "ramreel"\n')
    monkeypatch.chdir(inner)
    assert find_home() == tmp_path


def test_home_defaults_to_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAMREEL_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_home() == tmp_path


def test_argument_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/from_env.db")
    assert open_store().address.database == tmp_path / "from_env.db"
    assert open_store(f"sqlite:///{tmp_path}/given.db").address.database == tmp_path / "given.db"


def test_reading_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/new/mlruns/mlflow.db")
    with pytest.raises(StoreError) as error:
        store.resolve_run("latest")
    assert "ramreel train" in message_of(error)
    with pytest.raises(StoreError, match="no run 'abcd'"):
        store.resolve_run("abcd")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/nowhere/mlflow.db", "{tmp}/file/mlflow.db"])
def test_unwritable_folder_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as error:
        open_store("sqlite:///" + place.format(tmp=tmp_path))
    assert re.match(r"cannot write to (/proc|.*/file) \(.+\): set RAMREEL_HOME or --tracking-uri", message_of(error))


@pytest.mark.parametrize("name", ["what?", "100%41"])
def test_folder_name_with_uri_syntax_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match=r"cannot keep databases in .* another folder") as error:
        open_store(f"sqlite:///{tmp_path / name}/mlflow.db")
    message_of(error)
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database at all, but long enough to look like one" * 100)
    with pytest.raises(StoreError) as error:
        open_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert "file is not a database" in message_of(error)


@pytest.mark.parametrize("uri", ["{tmp}/mlruns", "localhost:5000", "gopher://host"])
def test_invalid_uri_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StoreError) as error:
        open_store(uri.format(tmp=tmp_path))
    assert "use a URI such as http://localhost:5000 or sqlite:///" in message_of(error)
    assert list(tmp_path.iterdir()) == []


def test_missing_server_fails_within_seconds_without_its_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://someone:secret@127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(StoreError) as error:
            open_store(uri)
    assert time.monotonic() - began < 5
    message = message_of(error)
    assert f"no MLflow tracking server responds at {uri.replace('someone:secret@', '')}" in message
    assert "secret" not in "".join(traceback.format_exception(error.value)), "Prefect logs the traceback"


def test_server_that_never_responds_fails_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.store.connection._ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(StoreError, match="no MLflow tracking server responds"):
            open_store(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - began < 5


def test_server_that_is_not_mlflow_is_refused() -> None:
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    with serving(other) as server, pytest.raises(StoreError, match="no MLflow tracking server responds"):
        open_store(f"http://127.0.0.1:{server.server_port}")


class OneRequestPerConnection(http.server.BaseHTTPRequestHandler):
    """Keeps a connection open after the response and resets it at the next request, like a server at its timeout.

    Where a client asks for a connection of its own, it says that it closes it, as uvicorn does.
    """

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        if self.__dict__.setdefault("answered", False):
            self.rfile.peek(1)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        else:
            super().handle_one_request()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.answered = True
        self.send_response(200)
        self.send_header("Content-Length", "2")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *message: object) -> None:
        pass


def test_server_that_resets_idle_connections_is_reached_again() -> None:
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneRequestPerConnection)) as server:
        uri = f"http://127.0.0.1:{server.server_port}"
        for _ in range(3):
            mlflow_internals.ping_server(uri, (5, 5))
            assert mlflow_internals.server_version(uri, (5, 5)) == "{}"


IMPORT_AND_OPEN = """
import os, sys
before = dict(os.environ)
from tasks.store import open_store
# Gymnasium and SDL set some of their own.
assert not [name for name in os.environ.keys() - before.keys() if name.startswith(("MLFLOW", "DO_NOT_TRACK"))]
assert "mlflow" not in sys.modules
store = open_store(sys.argv[1])
store.server_command("127.0.0.1", 5000)
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
print(sorted(os.environ.keys() - before.keys()), os.environ["MLFLOW_LOGGING_LEVEL"])
"""


def test_environment_is_configured_when_connecting_not_when_importing(tmp_path: Path) -> None:
    environment = {"MLFLOW_LOGGING_LEVEL": "ERROR", "PATH": os.defpath, "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_OPEN, f"sqlite:///{tmp_path}/mlflow.db"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    names = [
        "DO_NOT_TRACK",
        "MLFLOW_DISABLE_TELEMETRY",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
    ]
    assert set(names) <= set(re.findall(r"'(\w+)'", done.stdout))
    assert done.stdout.endswith(" ERROR\n"), "a variable that is set is kept"


def test_experiment_whose_files_are_on_another_machine_is_refused(server_store: Store, settings: RunSettings) -> None:
    client = MlflowClient(server_store.address.uri)
    experiment = client.create_experiment("elsewhere", artifact_location="file:///srv/elsewhere/mlruns/artifacts/pong")
    with pytest.raises(StoreError, match=r"'elsewhere' .* /srv/elsewhere/mlruns/artifacts/pong .*--experiment"):
        server_store.start_run(settings, name="a", command="c", versions={}, commit=None, experiment="elsewhere")
    assert client.search_runs([experiment]) == []
