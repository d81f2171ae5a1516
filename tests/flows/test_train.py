"""A training run leaves a complete MLflow run, however it ends."""

import json
import multiprocessing as mp
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.approaches import settings_file
from helpers.processes import started, wait_until
from prefect import flow
from prefect.exceptions import TerminationSignal

from flows.train import train, train_run
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.worker_pool import WorkerError
from tasks.arcade.settings.approaches import UnknownApproachError, approach
from tasks.arcade.settings.run import RunSettings
from tasks.execution.graceful_stop import defer_sigterm
from tasks.execution.progress_sink import ProgressSink, use_sink
from tasks.execution.run_status import active_run
from tasks.runs.lookup import load_checkpoint
from tasks.store import LeaseError, Store, StoreError
from tasks.store.lease import TAG

ROOT = Path(__file__).parents[2]


def test_run_has_every_metric_and_checkpoint(store: Store) -> None:
    settings = TrainSettings(
        env_id="Breakout-ram-v0", approach="ppo-tuned", seed=3, steps=8000, checkpoint_every=4000, workers=2
    )
    trained = train(settings)
    run = store.run(trained.run_id)
    assert (run.status, run.kind, run.experiment, run.name) == (
        "FINISHED",
        "training",
        "Breakout-v0",
        "ppo-tuned seed 3",
    )
    assert run.params["game.frame_skip"] == "[2, 5]"
    assert run.params["approach.algorithm.ent_coef"] == str(approach("ppo-tuned").algorithm.ent_coef)
    assert run.tags["ramreel.seed"] == "3"
    assert [saved.step for saved in trained.checkpoints] == [4096, 8192]
    for name in ("time/fps", "time/time_elapsed", "time/iterations"):
        assert [step for step, _ in store.history(trained.run_id, name)] == [4096, 8192], name
    for name in ("rollout/ep_rew_mean", "rollout/ep_len_mean"):
        assert [step for step, _ in store.history(trained.run_id, name)][-1] == 8192, name
    for name in ("train/approx_kl", "train/clip_fraction", "train/entropy_loss", "train/explained_variance"):
        assert [step for step, _ in store.history(trained.run_id, name)] == [8192], name
    assert dict(store.history(trained.run_id, "time/total_timesteps")) == {4096: 4096, 8192: 8192}
    first, last = store.list_checkpoints(trained.run_id)
    assert (first.step, last.step) == (4096, 8192)
    assert last.digest == trained.checkpoints[-1].digest
    loaded = load_checkpoint(store, last)
    assert loaded.settings == run.settings
    assert loaded.statistics.count == 8192


def test_checkpoint_plays_in_a_new_process_from_tracking_uri_and_run_id(
    small: TrainSettings, store: Store, tmp_path: Path
) -> None:
    trained = train(small)
    program = """
import json, sys
from tasks.arcade.episodes.playing import play
from tasks.runs.lookup import load_checkpoint
from tasks.store import open_store
store = open_store(sys.argv[1])
checkpoint = load_checkpoint(store, store.list_checkpoints(sys.argv[2])[-1])
trace = play(checkpoint.agent(), checkpoint.settings.game, 5, action_seed=5, deterministic=False)
print(json.dumps([trace.length, trace.ram_digest]))
"""
    # Another directory and no home: the tracking URI and the run id suffice.
    environment = {key: value for key, value in os.environ.items() if key != "RAMREEL_HOME"} | {"PYTHONPATH": str(ROOT)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program, store.address.uri, trained.run_id],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0])[0] > 20


class FaultInjector(ProgressSink):
    """A progress sink that injects a fault after step 600."""

    def __init__(self, inject: Callable[[], None]) -> None:
        self._inject = inject

    def update(self, name: str, progress: Progress) -> None:
        if progress.step > 600:
            self._inject()

    def log(self, line: str) -> None:
        pass


def kill_a_worker() -> None:
    mp.active_children()[0].kill()


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def test_failed_run_has_the_reason_and_its_checkpoints(small: TrainSettings, store: Store) -> None:
    with use_sink(FaultInjector(kill_a_worker)), pytest.raises(WorkerError, match="by signal 9"):
        train(small.model_copy(update={"steps": 5000}))
    run = store.run(store.resolve_run("latest"))
    assert run.status == "FAILED"
    assert re.match(r"WorkerError: worker [01] \(process \d+\) ended by signal 9", run.tags["ramreel.reason"])
    assert [stored.step for stored in store.list_checkpoints(run.run_id)] == [512]
    assert load_checkpoint(store, store.list_checkpoints(run.run_id)[-1]).step == 512
    assert store.history(run.run_id, "time/total_timesteps")
    assert not mp.active_children()


def test_interrupted_run_is_killed_and_keeps_its_checkpoints(small: TrainSettings, store: Store) -> None:
    with use_sink(FaultInjector(press_ctrl_c)), pytest.raises(KeyboardInterrupt):
        train(small.model_copy(update={"steps": 5000}))
    run = store.run(store.resolve_run("latest"))
    assert run.status == "KILLED"
    assert [stored.step for stored in store.list_checkpoints(run.run_id)] == [512]
    assert not mp.active_children()


def test_ctrl_c_in_a_terminal_stops_training(store: Store, home: Path, tmp_path: Path) -> None:
    approach = ["--settings", str(settings_file(tmp_path))]
    arguments = ["train", "ALE/Breakout-v5", *approach, "--steps", "1000000000", "--workers", "1"]
    with started(arguments, home) as command:
        assert wait_until(lambda: "steps" in command.output()[1])
        command.ctrl_c()
        assert wait_until(lambda: command.exited, 60), "Prefect's server receives the final state"
        code, _, errors = command.wait()
    assert (code, errors.splitlines()[-1]) == (
        130,
        "ramreel: stopped by Ctrl-C; finished checkpoints and videos are kept",
    )
    assert store.run(store.resolve_run("latest")).status == "KILLED"


def test_sigterm_after_the_last_checkpoint_still_stops() -> None:
    def handle(_: int, __: object) -> None:
        raise TerminationSignal(signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        with pytest.raises(TerminationSignal), defer_sigterm() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested
        assert signal.getsignal(signal.SIGTERM) is handle
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_run_held_by_another_process_stays_unchanged(store: Store, settings: RunSettings, run_id: str) -> None:
    with store.lease(run_id), pytest.raises(LeaseError, match="being trained by"):
        flow(train_run)(run_id, "ppo-7", settings, workers=1)
    run = store.run(run_id)
    assert (run.status, run.tags.get("ramreel.reason")) == ("RUNNING", None)


def take_over(store: Store) -> None:
    """Take over the latest run as another process would, and hold it for a second."""
    for beat in range(5):
        time.sleep(0.2 if beat else 0)
        other = {"token": "other", "host": "elsewhere", "process": 1, "beat": time.time()}
        store.set_tag(store.resolve_run("latest"), TAG, json.dumps(other))


def continue_training() -> None:
    pass


def fail() -> None:
    raise RuntimeError("the disk is full")


@pytest.mark.parametrize(
    ("then", "error"),
    [
        (continue_training, (LeaseError, "taken over by process 1 on elsewhere")),
        (fail, (RuntimeError, "the disk is full")),
        (press_ctrl_c, (KeyboardInterrupt, "^$")),
    ],
)
def test_run_taken_over_by_another_process_stays_unchanged(
    then: Callable[[], None],
    error: tuple[type[BaseException], str],
    small: TrainSettings,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.store.lease.BEAT_SECONDS", 0.1)

    def inject() -> None:
        take_over(store)
        then()

    with use_sink(FaultInjector(inject)), pytest.raises(error[0], match=error[1]):
        train(small.model_copy(update={"steps": 5000}))
    run = store.run(store.resolve_run("latest"))
    assert (run.status, run.tags.get("ramreel.reason")) == ("RUNNING", None)
    assert json.loads(run.tags[TAG])["host"] == "elsewhere"


def test_ctrl_c_is_not_hidden_by_a_store_error(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), active_run("f" * 32):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("no answer\nfrom http://someone:secret@host/"), "RuntimeError: no answer from http://host/"),
    ],
)
def test_failure_reason_is_one_line_without_passwords(error: Exception, reason: str, store: Store, run_id: str) -> None:
    @flow
    def failing() -> None:
        with active_run(run_id):
            raise error

    with pytest.raises(type(error)):
        failing()
    assert store.run(run_id).tags["ramreel.reason"] == reason


def stop_and_kill_a_worker() -> None:
    """Send SIGTERM while a worker process dies, as when a process group is terminated."""
    os.kill(os.getpid(), signal.SIGTERM)
    kill_a_worker()


def test_stopped_run_is_not_retried_after_a_worker_died(small: TrainSettings, store: Store) -> None:
    received: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with use_sink(FaultInjector(stop_and_kill_a_worker)), pytest.raises(TerminationSignal):
            train(small.model_copy(update={"steps": 5000}))
    finally:
        signal.signal(signal.SIGTERM, previous)
    run = store.run(store.resolve_run("latest"))
    assert run.status == "KILLED"
    assert received == [signal.SIGTERM], "the outer signal handler receives it"
    assert not mp.active_children()


def test_invalid_input_starts_no_run(small: TrainSettings, store: Store) -> None:
    with pytest.raises(UnknownEnvironmentError):
        train(small.model_copy(update={"env_id": "CartPole-v1"}))
    with pytest.raises(UnknownApproachError):
        train(small.model_copy(update={"approach": "magic"}))
    with pytest.raises(StoreError, match="no training run"):
        store.resolve_run("latest")
