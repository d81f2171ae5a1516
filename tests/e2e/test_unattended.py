"""Unattended operation, as docs/unattended.md describes it: one story on real servers, told in order.

Nothing is called but `ramreel up` and both servers' public APIs; nobody touches a run that goes on by itself.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from helpers.evidence import histories, whole_checkpoints
from helpers.inboxes import Postbox, Webhook
from helpers.processes import kill, started, wait_until
from helpers.unattended import Unattended

from tasks.execution import events
from tasks.runs.verify import verify_run
from tasks.store import Champion, ChampionRegistry

GAME = "ALE/Breakout-v5"
# A policy that never moves always loses by 21: whatever comes next is the game's best so far.
PIPELINE = {
    "env_id": "ALE/Pong-v5",
    "approaches": ["noop", "random"],
    "seeds": [1],
    "steps": 1024,
    "checkpoint_every": 1024,
    "n_envs": 2,
    "evaluation": {"episodes": 10},
    "name": "nightly",
}
ROLLOUT = 4096
EVERY, STEPS = 3 * ROLLOUT, 6 * ROLLOUT
TRAINING = {"env_id": GAME, "approach": "ppo-tuned", "steps": STEPS, "checkpoint_every": EVERY}
SECONDS = 600
"""For which a thing that takes a minute may be waited for on a machine that has other work as well."""


def soon(true: Any) -> bool:
    return wait_until(true, SECONDS, every=0.5)


def champion(up: Unattended, env_id: str) -> Champion | None:
    return ChampionRegistry(up.store.address).champion(env_id)


def begin(up: Unattended, seed: int, **others: object) -> tuple[str, str]:
    """Start a training in the UI, and wait until it is under way: its flow run, its MLflow run."""
    flow_run = up.run("train", {**TRAINING, "seed": seed, **others})
    assert soon(lambda: (run_id := up.trained_by(flow_run)) and "time/iterations" in histories(up.store, run_id))
    run_id = up.trained_by(flow_run)
    assert run_id
    return flow_run, run_id


def nothing_is_lost(up: Unattended, flow_run: str, run_id: str, folder: Path) -> None:
    """A training that was cut off has come to its end in the same run, without a gap and with nothing twice."""
    assert soon(lambda: up.state(flow_run) in ("Completed", "Failed", "Cancelled"))
    assert up.state(flow_run) == "Completed"
    assert up.flow_run(flow_run)["run_count"] == 2, "started again once"
    store = up.store
    assert store.run(run_id).status == "FINISHED"
    assert store.runs_tagged("ramreel.root_flow_run_id", flow_run) == (run_id,)
    due = range(EVERY, STEPS + 1, EVERY)
    assert set(due) <= set(whole_checkpoints(store, run_id, folder))
    steps = [step for step, _ in histories(store, run_id)["time/iterations"]]
    assert steps == list(range(ROLLOUT, STEPS + 1, ROLLOUT)), "no gap, no step logged twice"
    assert soon(lambda: up.events(events.TRAINING_FINISHED, run_id=run_id))
    assert len(up.events(events.TRAINING_FINISHED, run_id=run_id)) == 1


def test_it_is_there_and_off(up: Unattended) -> None:
    found = up.deployments()
    assert {"train", "record", "compare", "pipeline", "guard"} <= found.keys()
    switched = {name: [one["active"] for one in each["schedules"]] for name, each in found.items() if each["schedules"]}
    assert switched == {"pipeline": [False], "guard": [False]}
    assert soon(lambda: up.ramreel("status")["workers"] == 1)
    with started(["up"], up.home) as second:
        code, _, said = second.done()
    assert code == 2
    assert f"`ramreel up` is already running here: Prefect at {up.prefect}, MLflow at {up.mlflow}" in said


def test_a_schedule_trains_videos_compares_crowns_and_tells(up: Unattended, inbox: Webhook, postbox: Postbox) -> None:
    pipeline = up.deployments()["pipeline"]
    path = f"/deployments/{pipeline['id']}"
    schedule = f"{path}/schedules/{pipeline['schedules'][0]['id']}"
    up.ask("PATCH", path, {"parameters": {"settings": PIPELINE}})
    up.ask("PATCH", schedule, {"active": True, "schedule": {"cron": "* * * * *"}})
    assert soon(lambda: up.runs("pipeline"))
    up.ask("PATCH", schedule, {"active": False})
    run = up.runs("pipeline")[0]
    assert run["auto_scheduled"]
    assert run["name"] == "pipeline ALE/Pong-v5 noop, random seeds 1"
    assert soon(lambda: up.state(run["id"]) == "Completed")
    (report,) = [one for one in up.ramreel("status")["reports"] if one["name"] == "nightly"]
    assert report["page"].startswith(up.mlflow)

    # What follows is started by events: nobody asked for it.
    assert soon(lambda: len(up.runs("follow-up")) >= 2 and champion(up, "ALE/Pong-v5"))
    crowned = champion(up, "ALE/Pong-v5")
    assert crowned is not None
    assert soon(lambda: up.events(events.CHAMPION_CROWNED, env_id="ALE/Pong-v5", version=crowned.version))
    assert [one["env_id"] for one in up.ramreel("status")["champions"]] == ["ALE/Pong-v5"]

    assert soon(lambda: up.events(events.MILESTONE_REACHED, approach="random", milestone="best-1024"))
    (said,) = up.events(events.MILESTONE_REACHED, approach="random", milestone="best-1024")
    assert "ramreel.milestone.best-1024" in up.store.run(said["payload"]["run_id"]).tags

    def told(message: dict[str, str]) -> bool:
        return "random seed 1 sets a new best mean return for the game (previously -21.0)." in message["message"]

    assert soon(
        lambda: (
            list(filter(told, inbox.got)) and any("ALE/Pong-v5: plays" in str(one["Subject"]) for one in postbox.got)
        )
    )
    (message,) = filter(told, inbox.got)
    assert f"Video: {up.mlflow}/#/experiments/" in message["message"]
    assert f"/runs/{said['payload']['run_id']}/artifacts/videos/step-000001024.mp4" in message["message"]


def test_a_killed_worker_loses_nothing_and_videos_appear_by_themselves(up: Unattended, tmp_path: Path) -> None:
    flow_run, run_id = begin(up, seed=1)
    assert soon(lambda: up.store.list_checkpoints(run_id))
    command = up.command
    assert command is not None
    (worker,) = command.children("worker start")
    playing = set(command.children("spawn_main"))
    assert playing
    assert kill(worker)
    assert soon(lambda: not playing & set(command.children("spawn_main"))), "what it ran ends with it"
    assert soon(lambda: "Flow runs that were cut off: " in command.said()[0])
    nothing_is_lost(up, flow_run, run_id, tmp_path)

    steps = {checkpoint.step for checkpoint in up.store.list_checkpoints(run_id)}
    assert soon(lambda: up.store.complete_videos(run_id).keys() == steps)
    assert f"record {GAME} ppo-tuned seed 1" in {run["name"] for run in up.runs("record")}
    assert all(proof.ok for proof in verify_run(up.store, run_id))
    assert soon(lambda: champion(up, GAME))


def test_servers_that_are_stopped_and_started_again_lose_nothing(up: Unattended, tmp_path: Path) -> None:
    flow_run, run_id = begin(up, seed=2)
    before = up.deployments()
    up.stop()
    assert any("as registered before" in line for line in up.start())
    after = up.deployments()
    assert {name: one["id"] for name, one in after.items()} == {name: one["id"] for name, one in before.items()}
    nothing_is_lost(up, flow_run, run_id, tmp_path)


def test_a_cancelled_training_keeps_a_last_checkpoint(up: Unattended) -> None:
    # A rollout takes longer than there is patience: what is kept is what was before it.
    flow_run, run_id = begin(up, seed=3, steps=10**8, checkpoint_every=10**8, n_envs=32)
    assert up.store.list_checkpoints(run_id) == ()
    asked = time.time()
    up.ask("POST", f"/flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}})
    assert soon(lambda: up.state(flow_run) == "Cancelled")
    assert up.store.run(run_id).status == "KILLED"
    ended = datetime.fromisoformat(up.flow_run(flow_run)["end_time"]).timestamp()
    assert ended - asked < 10
    (kept,) = up.store.list_checkpoints(run_id)
    assert kept.step > 0
    assert soon(lambda: kept.step in up.store.complete_videos(run_id)), "and it is recorded"


def test_a_champion_that_was_spoilt_is_noticed_and_trained_again_once(up: Unattended, inbox: Webhook) -> None:
    spoilt = champion(up, "ALE/Pong-v5")
    assert spoilt is not None
    (policy,) = (up.home / "mlruns").rglob(f"{spoilt.checkpoint.model_id}/**/policy.safetensors")
    weights = bytearray(policy.read_bytes())
    weights[-1] ^= 0xFF
    policy.write_bytes(weights)

    # Two looks, one after the other: both find it, and one retraining is enough.
    looks = [up.run("guard", {"env_id": "ALE/Pong-v5", "episodes": 10}) for _ in range(2)]
    assert soon(lambda: {up.state(look) for look in looks} == {"Completed"})
    assert soon(lambda: len([run for run in up.runs("retrain") if run["end_time"]]) == 2)
    assert {run["state_name"] for run in up.runs("retrain")} == {"Completed", "Skipped"}
    dropped = up.events(events.PERFORMANCE_DROPPED, env_id="ALE/Pong-v5", version=spoilt.version)
    assert [event["payload"]["cause"] for event in dropped] == ["checkpoint", "checkpoint"]
    assert [one["title"] for one in inbox.got].count("ramreel: the champion of ALE/Pong-v5 plays worse") == 1
    (again,) = up.store.runs_tagged("ramreel.retraining_of", "ALE/Pong-v5")
    assert up.store.run(again).status == "FINISHED"

    def replaced() -> bool:
        now = champion(up, "ALE/Pong-v5")
        return now is not None and now.run_id == again

    assert soon(replaced), "one that cannot play gives way"
