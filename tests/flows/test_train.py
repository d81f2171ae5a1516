"""A training leaves a run that says everything about it, however it ends."""

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
from helpers.processes import started, wait_until
from prefect import flow
from prefect.exceptions import TerminationSignal

from flows.run_status import ending
from flows.train import train, trained
from tasks.arcade.emulator.emulator import UnknownGameError
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.worker_pool import WorkerError
from tasks.arcade.settings.approaches import UnknownApproachError, approach
from tasks.arcade.settings.run import RunSettings
from tasks.execution.graceful_stop import stoppable
from tasks.execution.progress_sink import before
from tasks.runs.lookup import fetch
from tasks.store import LeaseError, Store, StoreError
from tasks.store.lease import TAG

ROOT = Path(__file__).parents[2]


def test_a_training_is_in_mlflow_with_every_metric_and_checkpoint(store: Store) -> None:
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
    loaded = fetch(store, last)
    assert loaded.settings == run.settings
    assert loaded.statistics.count == 8192


def test_a_checkpoint_plays_in_a_fresh_process_from_tracking_uri_and_run_id_alone(
    small: TrainSettings, store: Store, tmp_path: Path
) -> None:
    trained = train(small)
    program = """
import json, sys
from tasks.arcade.episodes.playing import play
from tasks.runs.lookup import fetch
from tasks.store import open_store
store = open_store(sys.argv[1])
checkpoint = fetch(store, store.list_checkpoints(sys.argv[2])[-1])
trace = play(checkpoint.agent(), checkpoint.settings.game, 5, action_seed=5, deterministic=False)
print(json.dumps([trace.length, trace.ram_digest]))
"""
    # Another directory, no home: nothing but the address and the id leads to the checkpoint.
    clean = {key: value for key, value in os.environ.items() if key != "RAMREEL_HOME"} | {"PYTHONPATH": str(ROOT)}
    answers = [
        subprocess.run(
            [sys.executable, "-c", program, store.address.uri, trained.run_id],
            cwd=tmp_path, env=clean, capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert answers[0] == answers[1]
    assert json.loads(answers[0])[0] > 20


class Spoiler:
    """An audience that spoils what it watches, when it hears of the second rollout."""

    def __init__(self, spoil) -> None:
        self._spoil = spoil

    def training(self, name: str, progress: Progress) -> None:
        if progress.step > 600:
            self._spoil()

    def said(self, line: str) -> None:
        pass


def kill_a_worker() -> None:
    mp.active_children()[0].kill()


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def test_a_training_that_fails_says_why_and_keeps_its_checkpoints(small: TrainSettings, store: Store) -> None:
    with before(Spoiler(kill_a_worker)), pytest.raises(WorkerError, match="by signal 9"):
        train(small.model_copy(update={"steps": 5000}))
    run = store.run(store.resolve_run("latest"))
    assert run.status == "FAILED"
    assert re.match(r"WorkerError: worker [01] \(process \d+\) ended by signal 9", run.tags["ramreel.reason"])
    assert [stored.step for stored in store.list_checkpoints(run.run_id)] == [512]
    assert fetch(store, store.list_checkpoints(run.run_id)[-1]).step == 512
    assert store.history(run.run_id, "time/total_timesteps")
    assert not mp.active_children()


def test_a_training_that_is_stopped_by_hand_is_killed_and_keeps_its_checkpoints(
    small: TrainSettings, store: Store
) -> None:
    with before(Spoiler(press_ctrl_c)), pytest.raises(KeyboardInterrupt):
        train(small.model_copy(update={"steps": 5000}))
    run = store.run(store.resolve_run("latest"))
    assert run.status == "KILLED"
    assert [stored.step for stored in store.list_checkpoints(run.run_id)] == [512]
    assert not mp.active_children()


def test_ctrl_c_at_a_terminal_ends_a_training_at_once(store: Store, home: Path) -> None:
    words = ["train", "ALE/Breakout-v5", "--approach", "random", "--steps", "1000000000", "--n-envs", "1"]
    with started([*words, "--workers", "1"], home) as command:
        assert wait_until(lambda: "steps" in command.said()[1])
        command.ctrl_c()
        assert wait_until(lambda: command.over, 60), "Prefect's server is there until it has heard of the end"
        code, _, said = command.done()
    assert (code, said.splitlines()[-1]) == (130, "ramreel: stopped by Ctrl-C; what was finished is kept")
    assert store.run(store.resolve_run("latest")).status == "KILLED"


def test_a_stop_that_comes_after_the_last_checkpoint_still_stops() -> None:
    def hear(_: int, __: object) -> None:
        raise TerminationSignal(signal.SIGTERM)

    other = signal.signal(signal.SIGTERM, hear)
    try:
        with pytest.raises(TerminationSignal), stoppable() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked
        assert signal.getsignal(signal.SIGTERM) is hear
    finally:
        signal.signal(signal.SIGTERM, other)


def test_a_training_that_another_process_has_is_not_marked_by_who_is_refused(
    store: Store, settings: RunSettings, run_id: str
) -> None:
    with store.lease(run_id), pytest.raises(LeaseError, match="being trained by"):
        flow(trained)(run_id, "ppo-7", settings, workers=1)
    run = store.run(run_id)
    assert (run.status, run.tags.get("ramreel.reason")) == ("RUNNING", None)


def hold(store: Store) -> None:
    """Another process trains the run that was started last, and holds it for a second."""
    for beat in range(5):
        time.sleep(0.2 if beat else 0)
        other = {"token": "other", "host": "elsewhere", "process": 1, "beat": time.time()}
        store.set_tag(store.resolve_run("latest"), TAG, json.dumps(other))


def go_on() -> None:
    pass


def fail() -> None:
    raise RuntimeError("the disk is full")


@pytest.mark.parametrize(
    ("then", "told"),
    [
        (go_on, (LeaseError, "taken over by process 1 on elsewhere")),
        (fail, (RuntimeError, "the disk is full")),
        (press_ctrl_c, (KeyboardInterrupt, "^$")),
    ],
)
def test_a_training_that_was_taken_over_is_not_marked_by_who_lost_it(
    then: Callable[[], None],
    told: tuple[type[BaseException], str],
    small: TrainSettings,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.store.lease.BEAT_SECONDS", 0.1)

    def take_over() -> None:
        hold(store)
        then()

    with before(Spoiler(take_over)), pytest.raises(told[0], match=told[1]):
        train(small.model_copy(update={"steps": 5000}))
    run = store.run(store.resolve_run("latest"))
    assert (run.status, run.tags.get("ramreel.reason")) == ("RUNNING", None)
    assert json.loads(run.tags[TAG])["host"] == "elsewhere"


def test_ctrl_c_stays_what_it_is_where_the_store_takes_no_word_of_it(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), ending("f" * 32):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "MemoryError"),
        (RuntimeError("no answer\nfrom http://someone:secret@host/"), "RuntimeError: no answer from http://host/"),
    ],
)
def test_a_failure_is_one_line_without_passwords_and_has_a_name(
    error: Exception, told: str, store: Store, run_id: str
) -> None:
    @flow
    def failing() -> None:
        with ending(run_id):
            raise error

    with pytest.raises(type(error)):
        failing()
    assert store.run(run_id).tags["ramreel.reason"] == told


def stop_and_kill_a_worker() -> None:
    """A process group is told to stop, and not everybody in it knows better than to end at once."""
    os.kill(os.getpid(), signal.SIGTERM)
    kill_a_worker()


def test_a_training_that_is_told_to_stop_is_not_tried_again_though_a_worker_died(
    small: TrainSettings, store: Store
) -> None:
    heard: list[int] = []
    outside = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with before(Spoiler(stop_and_kill_a_worker)), pytest.raises(TerminationSignal):
            train(small.model_copy(update={"steps": 5000}))
    finally:
        signal.signal(signal.SIGTERM, outside)
    run = store.run(store.resolve_run("latest"))
    assert run.status == "KILLED"
    assert heard == [signal.SIGTERM], "whoever is outside of the flow hears of it"
    assert not mp.active_children()


def test_bad_input_starts_no_run(small: TrainSettings, store: Store) -> None:
    with pytest.raises(UnknownGameError):
        train(small.model_copy(update={"env_id": "CartPole-v1"}))
    with pytest.raises(UnknownApproachError):
        train(small.model_copy(update={"approach": "magic"}))
    with pytest.raises(StoreError, match="no training run"):
        store.resolve_run("latest")
