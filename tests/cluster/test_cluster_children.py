"""Child runs on three machines: pipelines, a sweep and recordings, whose machines and servers fail meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

from helpers.cluster import ENDED, TIMEOUT_SECONDS, Cluster, eventually
from helpers.processes import started, wait_until
from prefect.states import Cancelling

GAME = "ALE/Breakout-v5"
ROLLOUT = 4096
RUNS = {"env_id": GAME, "approaches": ["ppo-tuned", "a2c"], "workers": 1, "evaluation": {"episodes": 1}}
PIPELINE = RUNS | {"seeds": [3, 4], "steps": 2 * ROLLOUT, "checkpoint_every": ROLLOUT}
ENDLESS = RUNS | {"seeds": [5, 6], "steps": 10**8, "checkpoint_every": 10**8}
SWEEP = {"env_id": GAME, "trials": 8, "steps": 2 * ROLLOUT, "workers": 1, "name": "eight trials"}
OUTAGE_SECONDS = {"postgresql": 20, "redis": 60, "s3": 20, "server": 20}
"""Redis is away for so long that TCP's keepalive gives its connections up: 30 seconds, and three probes in 15."""


def runs_of(cluster: Cluster, parent: object) -> tuple[str, ...]:
    """Return the training runs of a flow run and its child runs."""
    return cluster.store.runs_tagged("ramreel.root_flow_run_id", str(parent))


def test_machine_of_a_pipeline_and_one_that_records_are_killed(cluster: Cluster, tmp_path: Path) -> None:
    parent = cluster.run("pipeline", PIPELINE)
    assert eventually(lambda: len(cluster.children("train", parent)) == 4)
    first = {child.id for child in cluster.children("train", parent)}
    box = cluster.box_of(parent)
    box.kill()
    with cluster.timed("kill -9 of the machine of a pipeline", "the pipeline is restarted on another machine"):
        assert eventually(lambda: cluster.flow_run(parent).run_count == 2)
    cluster.join(int(box.name[-1]))
    assert eventually(lambda: [one for one in cluster.children("record", parent) if one.state_name == "Running"])
    recording = next(one for one in cluster.children("record", parent) if one.state_name in ("Running", *ENDED))
    if cluster.state(parent) not in ENDED:
        box = cluster.box_of(recording.id)
        box.kill()
    with cluster.timed("kill -9 of a machine that records", "four training runs, recorded and compared, each once"):
        assert cluster.ends(parent) == "Completed"
    if box.exited:
        cluster.join(int(box.name[-1]))

    assert {child.id for child in cluster.children("train", parent)} == first
    trained = runs_of(cluster, parent)
    assert len(trained) == 4
    for run_id in trained:
        steps = [one.step for one in cluster.store.list_checkpoints(run_id)]
        assert sorted(cluster.store.complete_videos(run_id)) == steps
        assert len(set(steps)) == len(steps) >= 2
        with started(["verify", run_id, "--quiet"], tmp_path, cluster.laptop) as command:
            assert wait_until(lambda command=command: command.exited, TIMEOUT_SECONDS)
            assert command.process.returncode == 0, command.output()
    compared = cluster.store.iter_runs(cluster.store.runs_with({"ramreel.kind": "comparison"}, status="FINISHED"))
    assert [set(run.tags["ramreel.runs"].split()) for run in compared] == [set(trained)]


def test_servers_away_during_a_training_run(cluster: Cluster) -> None:
    interval = 5 * ROLLOUT
    endless = {"env_id": GAME, "approach": "ppo-tuned", "seed": 9, "steps": 10**8, "workers": 1}
    flow_run = cluster.run("train", endless | {"checkpoint_every": interval})
    assert eventually(lambda: cluster.steps(flow_run))
    names = {
        "postgresql": "PostgreSQL",
        "redis": "Redis",
        "s3": "S3",
        "server": "Prefect's and MLflow's servers",
    }
    for machine, name in names.items():
        before, seconds = cluster.steps(flow_run)[-1], OUTAGE_SECONDS[machine]
        with cluster.machines[machine].unplugged():
            time.sleep(seconds)
        with cluster.timed(f"{name} unreachable for {seconds} s", "the training run stores its next checkpoint"):
            assert eventually(lambda before=before: cluster.steps(flow_run)[-1] > before + interval), name
    assert eventually(lambda: cluster.state(flow_run) == "Running")
    # One whose heartbeats were lost may have been started again; it then continues the same MLflow run.
    assert len(runs_of(cluster, flow_run)) == 1
    assert cluster.machines["server"].largest_process() < 2**30, "servers in an endless loop need more every second"
    cluster.client.set_flow_run_state(flow_run, Cancelling())
    assert cluster.ends(flow_run) == "Cancelled"
    steps = cluster.steps(flow_run)
    *regular, last = steps
    assert regular == list(range(interval, regular[-1] + 1, interval))
    assert regular[-1] <= last


def test_machine_killed_during_a_sweep(cluster: Cluster) -> None:
    parent = cluster.run("sweep", SWEEP)
    assert eventually(lambda: [one for one in cluster.children("trial", parent) if one.state_name == "Running"])
    trial = next(one for one in cluster.children("trial", parent) if one.state_name == "Running")
    box = cluster.box_of(trial.id)
    assert eventually(lambda: cluster.store.runs_with({"ramreel.flow_run_id": str(trial.id)}))
    box.kill()
    with cluster.timed("kill -9 of a machine that trains a trial", "eight trials, each counted once"):
        assert cluster.ends(parent) == "Completed"
    cluster.join(int(box.name[-1]))
    (sweep,) = cluster.store.runs_with({"ramreel.kind": "sweep"})
    trials = cluster.store.runs_with({"mlflow.parentRunId": sweep}, status="FINISHED")
    numbers = [run.tags["ramreel.trial"] for run in cluster.store.iter_runs(trials)]
    assert len(set(numbers)) == len(numbers) == SWEEP["trials"]
    assert len({cluster.box_of(child.id).name for child in cluster.children("trial", parent)}) >= 2


def test_canceled_pipeline_cancels_its_child_runs(cluster: Cluster) -> None:
    parent = cluster.run("pipeline", ENDLESS)

    def playing() -> list[str]:
        return [run for run in runs_of(cluster, parent) if cluster.store.run(run).metrics]

    assert eventually(lambda: len(playing()) >= 2)
    begun = playing()
    cluster.client.set_flow_run_state(parent, Cancelling())
    with cluster.timed("cancellation of a pipeline", "it and its child runs are Cancelled"):
        assert eventually(lambda: all(one.state_name in ENDED for one in cluster.children("train", parent)))
        assert cluster.ends(parent) == "Cancelled"
    assert {one.state_name for one in cluster.children("train", parent)} == {"Cancelled"}
    for run_id in begun:
        assert eventually(lambda run_id=run_id: cluster.store.list_checkpoints(run_id)), run_id
