"""The store used by several processes and threads concurrently, and through a tracking server."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.serving import serving

from tasks.arcade.settings.run import RunSettings
from tasks.store import Lease, LeaseError, MetricWriter, Store, StoreError, open_store
from tasks.store.address import find_address
from tasks.store.connection import connect

Start = Callable[..., str]


def metrics_of(store: Store, model_id: str) -> list[tuple[str, float, int]]:
    metrics = connect(store.address).get_logged_model(model_id).metrics
    return [(metric.key, metric.value, metric.step) for metric in metrics or []]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_four_training_runs_and_two_recordings_run_concurrently(
    store: Store, settings: RunSettings, start: Start, checkpoint: Path, tmp_path: Path
) -> None:
    recorded = start(store, settings)
    steps = [step * 10 for step in range(1, 4)]
    for step in steps:
        store.save_checkpoint(recorded, step, checkpoint, "d")

    def train(number: int) -> str:
        run_id = start(store, settings, f"training-{number}")
        with store.metric_writer(run_id) as log:
            for step in range(1, 61):
                log.log({f"train/{name}": float(step) for name in range(12)}, step)
                if step % 20 == 0:
                    log.flush()
                    store.save_checkpoint(run_id, step, checkpoint, "d")
        return run_id

    def record(_number: int) -> int:
        for stored in store.list_checkpoints(recorded):
            folder = store.fetch_checkpoint(stored, tmp_path / f"r{_number}-{stored.step}")
            store.log_metrics(recorded, {"eval/mean_reward": 1.0}, stored.step, stored.model_id)
            store.save_video(recorded, stored.step, folder / "policy.safetensors", folder / "manifest.json")
        return len(store.videos(recorded))

    with ThreadPoolExecutor(6) as pool:
        trained = pool.map(train, range(4))
        recordings = pool.map(record, range(2))
        assert list(recordings) == [3, 3]
        for run_id in trained:
            assert store.history(run_id, "train/11") == [(step, float(step)) for step in range(1, 61)]
            assert [stored.step for stored in store.list_checkpoints(run_id)] == [20, 40, 60]


def test_no_write_is_tried_after_a_failed_one() -> None:
    requests: list[str] = []
    respond = threading.Event()

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.path)
            respond.wait(30)
            self.send_error(400)

        def log_message(self, *_: object) -> None:
            pass

    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)) as server:
        client = connect(find_address(f"http://127.0.0.1:{server.server_port}"))
        with pytest.raises(StoreError, match="could not be written"), MetricWriter(client, "a" * 32) as log:
            for step in range(20):
                log.log({"a": 1.0}, step)
            respond.set()
    assert requests == ["/api/2.0/mlflow/runs/log-batch"]


class Hesitating(Lease):
    """A lease that another waiting lease acquires first, after this one saw it free."""

    def __init__(self, store: Store, run_id: str, other: Callable[[], object]) -> None:
        super().__init__(connect(store.address), run_id, "ramreel.recording", patient=True)
        self._other = other

    def wait_until_free(self) -> None:
        super().wait_until_free()
        self._other()


def test_two_waiting_leases_are_acquired_one_after_the_other(
    store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.store.lease._WAIT_SECONDS", 0.05)
    held: list[str] = []
    begun = []

    def record(name: str, lease: Lease) -> None:
        with lease:
            held.append(f"{name} begins")
            time.sleep(0.1)
            held.append(f"{name} ends")

    def other() -> None:
        if not begun:
            begun.append(pool.submit(record, "other", store.recording_lease(run_id)))
            while "ramreel.recording" not in store.run(run_id).tags:
                time.sleep(0.01)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(record, "one", Hesitating(store, run_id, other))
        one.result()
        begun[0].result()
    assert sorted([held[:2], held[2:]]) == [["one begins", "one ends"], ["other begins", "other ends"]]


def test_concurrent_acquisition_does_not_fail_by_conflicting_writes(
    store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.store.lease._WAIT_SECONDS", 0.01)
    monkeypatch.setattr("tasks.store.lease._SETTLE_SECONDS", 0.25)

    def record(number: int) -> int:
        with store.recording_lease(run_id):
            return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(record, range(12))) == list(range(12))
    assert "ramreel.recording" not in store.run(run_id).tags


@pytest.mark.parametrize("place", ["another boot", "another container", None])
def test_process_on_a_machine_of_the_same_name_is_not_taken_for_dead(
    place: str | None, store: Store, run_id: str
) -> None:
    with subprocess.Popen(["true"]) as over:
        pass
    held = {"token": "t", "host": socket.gethostname(), "process": over.pid, "beat": time.time(), "place": place}
    store.set_tag(run_id, "ramreel.lease", json.dumps(held))
    with pytest.raises(LeaseError, match="being trained by"), store.lease(run_id):
        raise AssertionError("the process may be alive")


def elsewhere(store: Store, run_id: str, seconds: float) -> None:
    """Write the heartbeat of a process of a machine whose clock differs."""
    held = {"token": "t", "host": "elsewhere", "process": 1, "place": "x", "beat": round(time.time() + seconds, 3)}
    store.set_tag(run_id, "ramreel.lease", json.dumps(held))


@pytest.mark.parametrize("seconds", [-7200, -90, 90, 7200])
def test_living_process_keeps_its_lease_whatever_its_clock(
    seconds: float, store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.store.lease._WAIT_SECONDS", 0.05)
    monkeypatch.setattr("tasks.store.lease._OBSERVE_SECONDS", 30)
    elsewhere(store, run_id, seconds)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.1):
            elsewhere(store, run_id, seconds)

    with ThreadPoolExecutor(1) as pool:
        beating = pool.submit(beat)
        try:
            with pytest.raises(
                LeaseError, match=r"process 1 on elsewhere \(its heartbeats arrive; its clock differs by"
            ):
                store.lease(run_id).raise_if_held()
        finally:
            ended.set()
        beating.result()


@pytest.mark.parametrize("seconds", [-7200, 7200])
def test_lease_of_a_killed_process_is_taken_whatever_its_clock(
    seconds: float, store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.store.lease._WAIT_SECONDS", 0.05)
    monkeypatch.setattr("tasks.store.lease._OBSERVE_SECONDS", 0.3)
    elsewhere(store, run_id, seconds)
    with store.lease(run_id):
        assert "elsewhere" not in store.run(run_id).tags["ramreel.lease"]


def test_interrupt_while_acquiring_releases_the_lease(
    store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ctrl_c(_: float) -> None:
        assert "ramreel.lease" in store.run(run_id).tags
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.store.lease.time.sleep", ctrl_c)
    with pytest.raises(KeyboardInterrupt), store.lease(run_id):
        raise AssertionError("it is not taken yet")
    assert "ramreel.lease" not in store.run(run_id).tags
    store.lease(run_id).raise_if_held()


def test_lease_that_cannot_be_written_is_an_error(store: Store, run_id: str) -> None:
    connect(store.address).delete_run(run_id)
    with pytest.raises(StoreError, match=f"run {run_id} is deleted"), store.recording_lease(run_id):
        raise AssertionError("the run is deleted")


FIRST_RUN = """
import sys
from tasks.arcade.settings.run import RunSettings
from tasks.store import open_store
store = open_store()
print(store.start_run(RunSettings.model_validate_json(sys.argv[1]), name="n", command="c", versions={}, commit=None))
"""


def test_several_processes_create_a_fresh_store_without_output(settings: RunSettings, tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/mlflow.db.unfinished").write_text("left by a process that was killed while creating one")
    command = [sys.executable, "-c", FIRST_RUN, settings.model_dump_json()]
    environment = {"RAMREEL_HOME": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path))}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [error for _, error in outputs] == ["", ""]
    store = open_store(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    run_ids = {output.strip() for output, _ in outputs}
    assert len(run_ids) == 2
    assert {store.resolve_run(run_id) for run_id in run_ids} == run_ids
    assert not list((tmp_path / "mlruns").glob("*.unfinished*"))


def _flush(store: Store) -> None:
    with MetricWriter(connect(store.address), "a" * 32) as log:
        log.log({"a": 1.0}, 1)


def _lease(store: Store) -> None:
    with store.lease("a" * 32):
        raise AssertionError("there is no such run")


REQUESTS: dict[str, Callable[[Store], object]] = {
    "run": lambda store: store.run("a" * 32),
    "lease holder": lambda store: store.lease("a" * 32).raise_if_held(),
    "lease": _lease,
    "metrics": _flush,
    "checkpoints": lambda store: store.list_checkpoints("a" * 32),
    "videos": lambda store: store.videos("a" * 32),
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_unavailable_server_is_one_line_without_its_password(
    request_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = Store(find_address(f"http://someone:secret@127.0.0.1:{unused.getsockname()[1]}"))
        with pytest.raises(StoreError) as error:
            REQUESTS[request_name](store)
    assert "\n" not in str(error.value)
    assert "API request to http://127.0.0.1" in str(error.value)
    assert "secret" not in "".join(traceback.format_exception(error.value)), "Prefect logs the traceback"


@pytest.fixture
def server(migrated: Path, tmp_path: Path) -> Iterator[str]:
    """A real `mlflow server` that proxies artifacts."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(migrated.read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            open_store(f"sqlite:///{folder}/mlflow.db").server_command("127.0.0.1", port),
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
        try:
            yield _wait_until_ready(f"http://127.0.0.1:{port}", process, folder / "log")
        finally:
            # The server has child processes, and is slow to stop on SIGTERM.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_ready(uri: str, process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(300):
        try:
            open_store(uri)
        except StoreError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        else:
            return uri
    raise AssertionError(log.read_text())


FETCH = """
import json, sys
from pathlib import Path
from tasks.store import open_store
run, into = sys.argv[1], Path(sys.argv[2])
store = open_store()
stored = store.list_checkpoints(store.resolve_run(run))[-1]
video = store.videos(stored.run_id)[stored.step]
print(json.dumps({
    "settings": store.run(stored.run_id).settings.model_dump(mode="json"),
    "checkpoint": str(store.fetch_checkpoint(stored, into / "checkpoint")),
    "training": str(store.fetch_training_state(stored, into)),
    "video": str(store.fetch_artifact(stored.run_id, video.mp4, into)),
    "history": store.history(stored.run_id, "eval/mean_reward"),
}))
"""


def test_round_trip_through_a_server(
    server: str,
    settings: RunSettings,
    start: Start,
    checkpoint: Path,
    torn_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(server)
    assert store.address.artifacts is None
    run_id = start(store, settings)
    with store.metric_writer(run_id) as log:
        log.log({"rollout/ep_rew_mean": -21.0, "nan": float("nan")}, 100)
    model_id = store.save_checkpoint(run_id, 100, checkpoint, "d", params={"a": "b"}, training=checkpoint)
    store.log_metrics(run_id, {"eval/mean_reward": -20.0}, 100, model_id)
    with pytest.raises(StoreError):
        store.save_checkpoint(run_id, 200, checkpoint, "d", training=torn_checkpoint)
    assert store.videos(run_id) == {}
    store.save_video(run_id, 100, checkpoint / "policy.safetensors", checkpoint / "manifest.json")
    store.log_report(run_id, "<p>report", "# report")
    store.finish_run(run_id, "FINISHED")

    environment = {"MLFLOW_TRACKING_URI": server, "PYTHONPATH": ":".join(filter(None, sys.path))}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    fetched = subprocess.run(
        [sys.executable, "-c", FETCH, run_id[:10], str(elsewhere / "into")],
        env=environment, cwd=elsewhere, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (fetched.returncode, fetched.stderr) == (0, "")
    answer = json.loads(fetched.stdout)
    assert RunSettings.model_validate(answer["settings"]) == settings
    assert files_of(Path(answer["checkpoint"])) == files_of(checkpoint)
    assert files_of(Path(answer["training"])) == files_of(checkpoint)
    assert Path(answer["video"]).read_bytes() == (checkpoint / "policy.safetensors").read_bytes()
    assert answer["history"] == [[100, -20.0]]
    assert store.resolve_run("latest") == run_id
    assert metrics_of(store, model_id) == [("eval/mean_reward", -20.0, 100)]
    assert {path.name for path in elsewhere.iterdir()} == {"into"}
    with pytest.raises(StoreError):
        store.run("f" * 32)
