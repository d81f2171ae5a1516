"""A machine that does not fit a server is refused in one line, before it takes work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from helpers.processes import error_lines, started
from helpers.proxy import Proxy, proxied
from helpers.servers import Server, mlflow_server, prefect_server, running
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.variables import Variable

from tasks.arcade.errors import RamreelError
from tasks.services.joining import find_setup
from tasks.services.prefect_server import prefect_api
from tasks.services.server_record import publish_record

LOGIN = "lab:correct-horse-battery-staple"
RECORD = "ramreel_server"


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(prefect_server(tmp_path_factory.mktemp("servers") / "prefect", LOGIN)) as server:
        yield server


@pytest.fixture(scope="module")
def mlflow(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(mlflow_server(tmp_path_factory.mktemp("servers") / "mlflow", migrated)) as server:
        yield server


@pytest.fixture
def server(prefect: Server, mlflow: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Proxy]:
    """A Prefect server with a record and two pools, behind a proxy that can change its answers."""
    monkeypatch.setenv("RAMREEL_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.address)
    settings = {PREFECT_API_URL: prefect.address, PREFECT_API_AUTH_STRING: LOGIN}
    with temporary_settings(settings), get_client(sync_client=True) as client, proxied(prefect.address) as proxy:
        publish_record(prefect.address)
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        if not client.read_work_pools():
            for name, kind in (("ramreel", "process"), ("cloud", "kubernetes")):
                client.create_work_pool(WorkPoolCreate(name=name, type=kind))
            for queue in ("training", "evaluation"):
                client.create_work_queue(name=queue, work_pool_name="ramreel")
        yield proxy


def refusal(server: Proxy, pool: str = "ramreel") -> str:
    with pytest.raises(RamreelError) as caught:
        find_setup(f"{server.address}/api", pool, 1)
    message = str(caught.value)
    assert "\n" not in message
    assert "correct-horse" not in message
    return message


def test_machine_that_fits_gets_the_queues_and_the_address_of_mlflow(server: Proxy, mlflow: Server) -> None:
    setup = find_setup(f"{server.address}/api", "ramreel", 2)
    assert setup.pool == "ramreel"
    assert setup.limits == {"evaluation": 2, "training": 2}
    assert setup.environment["MLFLOW_TRACKING_URI"] == mlflow.address


def test_mlflow_of_ramreel_up_is_at_the_host_by_which_the_machine_reaches_prefect(
    server: Proxy, mlflow: Server
) -> None:
    port = int(mlflow.address.rpartition(":")[2])
    publish_record(f"{server.address}/api", mlflow_port=port)
    setup = find_setup(f"{server.address}/api".replace("127.0.0.1", "localhost"), "ramreel", 1)
    assert setup.environment["MLFLOW_TRACKING_URI"] == f"http://localhost:{port}"


def test_wrong_or_missing_credentials_are_refused(server: Proxy) -> None:
    for login in ("lab:wrong", None):
        with temporary_settings({PREFECT_API_AUTH_STRING: login}):
            assert "refuses the credentials: set PREFECT_API_AUTH_STRING" in refusal(server)


def test_other_versions_and_roms_are_refused(server: Proxy) -> None:
    record = Variable.get(RECORD)
    assert isinstance(record, dict)
    Variable.set(RECORD, record | {"versions": {**record["versions"], "ramreel": "0.1.0"}}, overwrite=True)
    message = refusal(server)
    assert "this machine differs from 127.0.0.1" in message
    assert "ramreel " in message
    assert "(server: 0.1.0); install the same version of ramreel on both" in message
    Variable.set(RECORD, record | {"roms": "0" * 64}, overwrite=True)
    assert "this machine has other ROMs than 127.0.0.1" in refusal(server)


def test_servers_of_older_versions_are_refused(server: Proxy, mlflow: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.bodies["/admin/version"] = b'"3.2.1"'
    message = refusal(server)
    assert "the Prefect server 127.0.0.1" in message
    assert "has version 3.2.1, older than this machine's 3." in message
    server.bodies.clear()
    with proxied(mlflow.address) as old:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", old.address)
        old.bodies["/version"] = b"2.9.0"
        assert f"the MLflow server at {old.address} has version 2.9.0, older than this machine's 3." in refusal(server)


@pytest.mark.parametrize(("seconds", "direction"), [(-100, "ahead of"), (100, "behind")])
def test_clock_that_differs_is_refused(server: Proxy, seconds: int, direction: str) -> None:
    server.headers["date"] = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    message = refusal(server)
    assert f" s {direction} that of 127.0.0.1" in message
    assert "synchronize both" in message


def test_pools_that_a_machine_cannot_serve_are_refused(server: Proxy) -> None:
    message = refusal(server, "ramrel")
    assert "no work pool 'ramrel' at 127.0.0.1" in message
    assert "choose another with --pool (available: " in message
    assert "ramreel" in message
    assert "is of type kubernetes, not process" in refusal(server, "cloud")


def test_server_without_a_record_or_without_mlflow_is_refused(server: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_record(f"{server.address}/api")
    assert "does not know where MLflow is: set MLFLOW_TRACKING_URI" in refusal(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "no MLflow tracking server responds at http://127.0.0.1:9" in refusal(server)
    Variable.unset(RECORD)
    assert "does not have the deployments of this version of ramreel: run `ramreel up`" in refusal(server)


@pytest.mark.parametrize(
    ("address", "api"),
    [
        ("lab-server", "http://lab-server:4200/api"),
        ("10.0.0.7:80", "http://10.0.0.7:80/api"),
        ("[fd00::7]", "http://[fd00::7]:4200/api"),
        ("http://lab-server:4200/api/", "http://lab-server:4200/api"),
        ("https://lab.example.org/prefect", "https://lab.example.org/prefect/api"),
    ],
)
def test_server_is_a_host_or_a_url(address: str, api: str) -> None:
    assert prefect_api(address) == api


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "Missing --server"),
        (["--server", "lab server:x"], "'lab server:x' is not an address"),
        (["--server", "ftp://lab-server"], "'ftp://lab-server' is not an address"),
        (["--server", f"http://{LOGIN}@lab-server"], "--server must not hold a password"),
        (["--server", "127.0.0.1:9"], "no Prefect server responds at http://127.0.0.1:9/api"),
        (["--server", "127.0.0.1:9", "--limit", "0"], "--limit"),
    ],
)
def test_invalid_input_of_worker_is_one_line(arguments: list[str], hint: str, tmp_path: Path) -> None:
    with started(["worker", *arguments], tmp_path / "home") as command:
        code, out, errors = command.wait()
    assert (code, out) == (2, "")
    assert len(error_lines(errors)) == 1, errors
    assert hint in errors
    assert "correct-horse" not in errors
    assert not (tmp_path / "home").exists()
