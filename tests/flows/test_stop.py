"""SIGTERM stops a training run at once, with a checkpoint of the step it had reached; so does a closed terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.evidence import histories
from helpers.processes import Command, started, wait_until

from flows.train import resume, train
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings
from tasks.arcade.inputs.settings_file import read_settings_file
from tasks.store import Store

ENV_ID = "ALE/Breakout-v5"
ROLLOUT = 16384
"""Steps that take seconds to collect, in one environment."""
LONG_ROLLOUTS = {
    "ppo": f"n_steps = {ROLLOUT}\nbatch_size = {ROLLOUT}\nn_epochs = 1\n",
    "dqn": f"train_freq = {ROLLOUT}\ngradient_steps = 2\nbuffer_size = {2 * ROLLOUT}\nlearning_starts = 1000\n",
}


def write_approach(folder: Path, approach: str, text: str) -> Path:
    path = folder / "slow.toml"
    path.write_text(f'approach = "{approach}"\nn_envs = 1\n{text}policy_kwargs.net_arch = [16]\n')
    return path


def train_command(approach: Path, steps: int) -> list[str]:
    steps_options = ["--steps", str(steps), "--checkpoint-every", str(steps)]
    return ["train", ENV_ID, "--settings", str(approach), *steps_options, "--workers", "1", "--json"]


def collected(store: Store) -> list[int]:
    """Return the steps at which a rollout of the latest run was complete."""
    runs = list(store.iter_runs(store.runs_tagged("ramreel.kind", "training")))
    return [step for run in runs for step, _ in histories(store, run.run_id).get("rollout/ep_rew_mean", ())]


def terminate(command: Command) -> None:
    command.process.send_signal(signal.SIGTERM)
    assert wait_until(lambda: command.exited)
    assert wait_until(lambda: not command.family()), "no process is left"


def hang_up(command: Command) -> None:
    """Send SIGHUP to its process group, once as the shell and once as the kernel do when its terminal is closed."""
    os.killpg(command.process.pid, signal.SIGHUP)
    os.killpg(command.process.pid, signal.SIGHUP)
    assert wait_until(lambda: command.exited)
    assert wait_until(lambda: not command.family()), "no process is left"


@pytest.mark.parametrize("name", LONG_ROLLOUTS)
def test_stop_does_not_wait_for_the_rollout_and_resumes_bit_for_bit(
    name: str, at_home: Path, store: Store, tmp_path: Path
) -> None:
    approach = write_approach(tmp_path, name, LONG_ROLLOUTS[name])
    with started(train_command(approach, 2 * ROLLOUT), at_home) as command:
        assert wait_until(lambda: collected(store) or command.exited), command.output()
        terminate(command)
    run_id = store.resolve_run("latest")
    assert collected(store) == [ROLLOUT], "the second rollout was discarded"
    assert store.run(run_id).status == "KILLED"
    assert [saved.step for saved in store.list_checkpoints(run_id)] == [ROLLOUT]

    resumed = resume(ResumeSettings(run=run_id, workers=1))
    own = read_settings_file(approach, None).approach
    whole = train(
        TrainSettings(
            env_id=ENV_ID, approach=own, steps=2 * ROLLOUT, checkpoint_every=2 * ROLLOUT, workers=1
        )
    )  # fmt: skip
    assert resumed.checkpoints[-1].digest == whole.checkpoints[-1].digest


def test_stop_in_the_first_rollout_has_nothing_to_save(home: Path, store: Store, tmp_path: Path) -> None:
    approach = write_approach(tmp_path, "ppo", LONG_ROLLOUTS["ppo"])
    with started(train_command(approach, ROLLOUT), home) as command:
        assert wait_until(lambda: command.children("spawn_main"))
        terminate(command)
    run = store.run(store.resolve_run("latest"))
    assert (run.status, store.list_checkpoints(run.run_id), collected(store)) == ("KILLED", (), [])


@contextmanager
def inherited_hangup(handler: signal.Handlers) -> Iterator[None]:
    """Let commands that start within the block handle SIGHUP so, however the tests were started."""
    previous = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize("stop", [terminate, hang_up])
def test_stop_does_not_wait_for_a_long_optimization(
    stop: Callable[[Command], None], home: Path, store: Store, tmp_path: Path
) -> None:
    approach = write_approach(tmp_path, "ppo", "n_steps = 512\nbatch_size = 64\nn_epochs = 500\n")
    with inherited_hangup(signal.SIG_DFL), started(train_command(approach, 1_000_000), home) as command:
        assert wait_until(lambda: 1024 in collected(store) or command.exited), command.output()
        stop(command)
    run = store.run(store.resolve_run("latest"))
    assert (run.status, [saved.step for saved in store.list_checkpoints(run.run_id)]) == ("KILLED", [512])


def test_hangup_that_nohup_ignores_stops_nothing(home: Path, tmp_path: Path) -> None:
    approach = write_approach(tmp_path, "ppo", "n_steps = 64\nbatch_size = 64\nn_epochs = 1\n")
    with inherited_hangup(signal.SIG_IGN), started(train_command(approach, 256), home) as command:
        assert wait_until(lambda: command.children("spawn_main"))
        os.killpg(command.process.pid, signal.SIGHUP)
        code, _, errors = command.wait()
    assert code == 0, errors
