"""Runs of a pipeline are trained side by side, each in a process of its own, with the results of one at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.evidence import histories
from helpers.processes import Command, kill, started, wait_until
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from flows.runtime.child_run import ChildRun, FailedChild
from flows.runtime.local_child_runs import run_side_by_side
from flows.runtime.machine_share import MachineShare
from flows.train import train
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.progress import Progress
from tasks.execution.progress_sink import ProgressSink, use_sink
from tasks.store import Store
from tasks.train import find_trained_run


class Sink(ProgressSink):
    """Progress of the child runs; calls a function once a run has got to a step."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lines: list[str] = []

    def update(self, name: str, progress: Progress) -> None:
        self.names.add(name)

    def log(self, line: str) -> None:
        self.lines.append(line)


@flow
def side_by_side(runs: tuple[TrainSettings, ...]) -> tuple[tuple[FailedChild, ...], list[str | None]]:
    children = [ChildRun(train, run, run.run_name) for run in runs]
    failed = run_side_by_side(children, MachineShare(at_once=2, cores=1))
    return failed, [find_trained_run(run) for run in runs]


def digests(store: Store, run_id: str) -> list[str]:
    return [stored.digest for stored in store.list_checkpoints(run_id)]


def test_runs_are_those_of_one_at_a_time(small: TrainSettings, store: Store) -> None:
    runs = tuple(small.model_copy(update={"seed": seed, "workers": None}) for seed in (1, 2, 3))
    sink = Sink()
    with use_sink(sink):
        failed, run_ids = side_by_side(runs)
    assert failed == ()
    assert sink.names == {run.run_name for run in runs}
    for run, run_id in zip(runs[:2], run_ids, strict=False):
        assert run_id
        alone = train(run.model_copy(update={"workers": 2}))
        assert digests(store, run_id) == [saved.digest for saved in alone.checkpoints]
        # The flow run of the child run is a subflow of the parent.
        assert store.run(run_id).tags["ramreel.root_flow_run_id"] != store.run(run_id).tags["ramreel.flow_run_id"]
    assert len({digests(store, run_id or "")[-1] for run_id in run_ids}) == 3
    assert side_by_side(runs[:1])[1] != run_ids[:1], "another parent, another run"


def test_failed_run_does_not_end_the_others(small: TrainSettings) -> None:
    diverging = small.approach.model_copy(  # type: ignore[union-attr]
        update={"name": "diverging", "algorithm": small.approach.algorithm.model_copy(update={"learning_rate": 1e30})}  # type: ignore[union-attr]
    )
    sink = Sink()
    with use_sink(sink):
        failed, run_ids = side_by_side((small.model_copy(update={"approach": diverging}), small))
    assert [child.title for child in failed] == ["train diverging seed 1"]
    assert "training diverged at step 128" in failed[0].reason
    assert any(line.startswith("train diverging seed 1 failed: ") for line in sink.lines)
    assert run_ids[0] is None
    assert run_ids[1] is not None


class Killer(Sink):
    """Kills the process of a run once, in the middle of it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.killed = name, False

    def update(self, name: str, progress: Progress) -> None:
        super().update(name, progress)
        if name == self.name and not self.killed:
            self.killed = True
            assert kill(_child_processes()[0])


def _child_processes() -> list[int]:
    """Return the ids of this process's children that execute child runs: they lead process groups of their own."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    leaders = [pid for pid in map(int, children) if os.getpgid(pid) == pid]
    return [pid for pid in leaders if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_killed_process_is_replaced_and_its_run_resumed(small: TrainSettings, store: Store) -> None:
    longer = small.model_copy(update={"steps": 4096})
    killer = Killer(longer.run_name)
    with use_sink(killer):
        failed, (run_id,) = side_by_side((longer,))
    assert killer.killed
    assert failed == ()
    assert run_id is not None
    alone = train(longer)
    assert digests(store, run_id) == [saved.digest for saved in alone.checkpoints]
    steps = [step for step, _ in histories(store, run_id)["time/iterations"]]
    assert len(steps) == len(set(steps)), "no step is logged twice"
    assert "its process ended with exit code -9; it is started again" in " ".join(killer.lines)
    with get_client(sync_client=True) as client:
        parent = {"any_": [store.run(run_id).tags["ramreel.root_flow_run_id"]]}
        children = FlowRunFilter.model_validate({"parent_flow_run_id": parent})
        (flow_run,) = client.read_flow_runs(flow_run_filter=children)
    assert (flow_run.state_name, flow_run.run_count) == ("Completed", 2)


@contextmanager
def training_pipeline(home: Path, store: Store) -> Iterator[Command]:
    """A pipeline whose two training runs have both saved metrics."""
    options = ["--approaches", "ppo", "--seeds", "1,2", "--steps", "10000000", "--checkpoint-every", "10000000"]
    with started(["pipeline", "ALE/Breakout-v5", *options, "--n-envs", "1", "--workers", "1"], home) as command:
        assert wait_until(lambda: command.exited or len(playing(store)) == 2), command.output()
        assert not command.exited, command.output()
        yield command


def playing(store: Store) -> list[str]:
    runs = store.runs_with({"ramreel.kind": "training"})
    return [run_id for run_id in runs if "time/iterations" in histories(store, run_id)]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_stopped_pipeline_saves_checkpoints_of_all_its_runs(stop: signal.Signals, home: Path, store: Store) -> None:
    with training_pipeline(home, store) as command:
        # `timeout` and Ctrl-C signal the process group.
        os.killpg(command.process.pid, stop)
        assert wait_until(lambda: command.exited)
        assert wait_until(lambda: not command.family()), "no process is left"
        for run_id in playing(store):
            assert store.run(run_id).status == "KILLED"
            assert len(store.list_checkpoints(run_id)) == 1


def test_killed_pipeline_leaves_no_process(home: Path, store: Store) -> None:
    with training_pipeline(home, store) as command:
        command.kill()
        assert wait_until(lambda: not command.family())
