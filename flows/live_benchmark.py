"""Speed of a training run alone, and beside a live view that is being watched."""

from __future__ import annotations

import json
import multiprocessing as mp
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from tasks.arcade.benchmarks.training_speed import TrainingSpeedSettings, measure_ramreel
from tasks.arcade.benchmarks.untrained import untrained_checkpoint
from tasks.arcade.checkpoints.checkpoint import write_checkpoint
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import Settings
from tasks.services.child_processes import child_process, free_port
from tasks.store import Store, open_store

ALONE, WATCHED = "alone", "beside a live view"
_HOST = "127.0.0.1"
_START_SECONDS = 120.0


class LiveBenchmarkError(RamreelError):
    """The live view did not start, or ended."""


class LiveCost(Settings):
    """Environment steps per second of a training run, learning included.

    Attributes:
        rounds: measurements by contender.
        frames_per_second: frames that the viewer received per second, by round.
    """

    rounds: dict[str, tuple[float, ...]]
    frames_per_second: tuple[float, ...]

    @property
    def medians(self) -> dict[str, float]:
        """Median of the rounds by contender."""
        return {name: median(values) for name, values in self.rounds.items()}

    @property
    def of_alone(self) -> float:
        """Ratio of the medians: speed beside the live view, relative to that alone."""
        return self.medians[WATCHED] / self.medians[ALONE]


def measure_live(settings: TrainingSpeedSettings, home: Path, log: Callable[[str], None]) -> LiveCost:
    """Train with and without a watched live view in turn; each second round starts with the other one.

    The live view is that of `ramreel up`: a web server with a process for the emulator. Its viewer is a process that
    receives the frames over a WebSocket and draws none.

    Args:
        settings: what is trained, and how often.
        home: an empty folder.
        log: receives a line per measurement.

    Raises:
        LiveBenchmarkError: the live view did not start, or ended.
        ServerError: the web server did not start.
    """
    store = open_store(f"sqlite:///{home}/mlflow.db")
    path = _live_path(store, settings, home)
    rounds: dict[str, list[float]] = {ALONE: [], WATCHED: []}
    shown: list[float] = []
    with _web_server(store) as host:
        for number in range(settings.rounds):
            for name in list(rounds)[:: -1 if number % 2 else 1]:
                if name == ALONE:
                    rounds[name].append(measure_ramreel(settings))
                else:
                    with _viewer(host, path) as frames_per_second:
                        rounds[name].append(measure_ramreel(settings))
                        shown.append(frames_per_second())
                log(f"round {number + 1} of {settings.rounds}: {name}: {rounds[name][-1]:,.0f} steps/s")
    return LiveCost(
        rounds={name: tuple(values) for name, values in rounds.items()},
        frames_per_second=tuple(shown),
    )


def _live_path(store: Store, settings: TrainingSpeedSettings, home: Path) -> str:
    """Store an untrained checkpoint, which costs as much as a trained one; return the path of its live view."""
    checkpoint, folder = untrained_checkpoint(settings.game, settings.approach), home / "checkpoint"
    digest = write_checkpoint(checkpoint, folder)
    run_id = store.start_run(checkpoint.settings, name="live", command="benchmark live", versions={}, commit=None)
    store.save_checkpoint(run_id, checkpoint.step, folder, digest)
    store.finish_run(run_id, "FINISHED")
    return f"/live/socket?run={run_id}"


@contextmanager
def _web_server(store: Store) -> Iterator[str]:
    port = free_port(_HOST)
    command = [sys.executable, "-m", "tasks.web", "--host", _HOST, "--port", str(port), "--name", _HOST]
    environment = {"MLFLOW_TRACKING_URI": store.address.uri, "PREFECT_SERVER_API_AUTH_STRING": ""}
    with child_process("the web server", command, environment) as child:
        child.wait_until_healthy(f"http://{_HOST}:{port}/health")
        yield f"{_HOST}:{port}"


@contextmanager
def _viewer(host: str, path: str) -> Iterator[Callable[[], float]]:
    """Watch within the block; yield a function that returns the frames received per second since its beginning."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_watch, args=(host, path, theirs), name="ramreel-viewer", daemon=True)
    process.start()
    theirs.close()

    def frames_per_second() -> float:
        ours.send(None)
        return float(_received(ours))

    try:
        _received(ours)
        yield frames_per_second
    finally:
        process.kill()
        process.join()
        ours.close()


def _received(connection: Connection) -> Any:
    try:
        if connection.poll(_START_SECONDS):
            return connection.recv()
    except EOFError:
        pass
    raise LiveBenchmarkError("the live view did not start, or ended: run the benchmark again")


def _watch(host: str, path: str, connection: Connection) -> None:
    """Watch until the frames per second are requested; a new episode follows one that has ended."""
    with connect(f"ws://{host}{path}", origin=Origin(f"http://{host}")) as websocket:
        frames, started = 0, 0.0
        try:
            for message in websocket:
                if isinstance(message, str):
                    continue
                if not started:
                    started = time.monotonic()
                    connection.send(None)
                frames += 1
                if _has_ended(message):
                    websocket.send(json.dumps({"do": "restart"}))
                if connection.poll():
                    connection.send(frames / (time.monotonic() - started))
                    return
        except ConnectionClosed:
            return


def _has_ended(message: bytes) -> bool:
    raw = zlib.decompress(message)
    length = int.from_bytes(raw[:4], "little")
    return json.loads(raw[4 : 4 + length])["ended"] is not None
