"""Unattended operation as docs/unattended.md describes it: one story on real servers; the tests run in order.

Only `ramreel up` and the public APIs of both servers are used; running flows are left alone.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from helpers.approaches import FAST
from helpers.evidence import histories, valid_checkpoints
from helpers.inboxes import Mailbox, Webhook
from helpers.processes import kill, started, wait_until
from helpers.unattended import Unattended

from tasks.execution import events
from tasks.runs.verify import verify_run
from tasks.store import AUTOMATIC_TAG, Champion, ChampionRegistry

GAME = "ALE/Breakout-v5"
# A policy that never moves always loses by 21: the next one sets a new best return. Baselines are never champions.
PIPELINE = {
    "env_id": "ALE/Pong-v5",
    "approaches": ["noop", FAST.model_dump(mode="json")],
    "seeds": [1],
    "steps": 1024,
    "checkpoint_every": 1024,
    "n_envs": 2,
    "evaluation": {"episodes": 30},
    "name": "nightly",
}
ROLLOUT = 4096
EVERY, STEPS = 3 * ROLLOUT, 6 * ROLLOUT
TRAINING = {"env_id": GAME, "approach": "ppo-tuned", "steps": STEPS, "checkpoint_every": EVERY}
TIMEOUT_SECONDS = 600
"""Ten times what a step takes, for machines with other load."""


def eventually(condition: Any) -> bool:
    return wait_until(condition, TIMEOUT_SECONDS, every=0.5)


def champion(up: Unattended, env_id: str) -> Champion | None:
    return ChampionRegistry(up.store.address).champion(env_id)


def start_training(up: Unattended, seed: int, **others: object) -> tuple[str, str]:
    """Run the train deployment and wait for its first rollout; return the ids of its flow run and its MLflow run."""
    flow_run = up.run("train", {**TRAINING, "seed": seed, **others})
    assert eventually(lambda: (run_id := up.trained_by(flow_run)) and "time/iterations" in histories(up.store, run_id))
    run_id = up.trained_by(flow_run)
    assert run_id
    return flow_run, run_id


def assert_nothing_lost(up: Unattended, flow_run: str, run_id: str, folder: Path) -> None:
    """Assert that an interrupted training run finishes in the same MLflow run, without gaps or duplicates."""
    assert eventually(lambda: up.state(flow_run) in ("Completed", "Failed", "Cancelled"))
    assert up.state(flow_run) == "Completed"
    assert up.flow_run(flow_run)["run_count"] == 2, "restarted once"
    store = up.store
    assert store.run(run_id).status == "FINISHED"
    assert store.runs_tagged("ramreel.root_flow_run_id", flow_run) == (run_id,)
    due = range(EVERY, STEPS + 1, EVERY)
    assert set(due) <= set(valid_checkpoints(store, run_id, folder))
    steps = [step for step, _ in histories(store, run_id)["time/iterations"]]
    assert steps == list(range(ROLLOUT, STEPS + 1, ROLLOUT)), "no gap, no step logged twice"
    assert eventually(lambda: up.events(events.TRAINING_FINISHED, run_id=run_id))
    assert len(up.events(events.TRAINING_FINISHED, run_id=run_id)) == 1


def test_deployments_are_registered_and_inactive(up: Unattended) -> None:
    found = up.deployments()
    assert {"train", "record", "compare", "pipeline", "guard"} <= found.keys()
    active = {name: [one["active"] for one in each["schedules"]] for name, each in found.items() if each["schedules"]}
    assert active == {"pipeline": [False], "guard": [False], "prune": [True]}
    assert eventually(lambda: up.ramreel("status")["workers"] == 3)
    with started(["up"], up.home) as second:
        code, _, errors = second.wait()
    assert code == 2
    assert f"`ramreel up` is already running here: Prefect at {up.prefect}, MLflow at {up.mlflow}" in errors


def test_schedule_trains_records_compares_crowns_and_notifies(up: Unattended, inbox: Webhook, mailbox: Mailbox) -> None:
    pipeline = up.deployments()["pipeline"]
    path = f"/deployments/{pipeline['id']}"
    schedule = f"{path}/schedules/{pipeline['schedules'][0]['id']}"
    up.request("PATCH", path, {"parameters": {"settings": PIPELINE}})
    up.request("PATCH", schedule, {"active": True, "schedule": {"cron": "* * * * *"}})
    assert eventually(lambda: up.runs("pipeline"))
    up.request("PATCH", schedule, {"active": False})
    run = up.runs("pipeline")[0]
    assert run["auto_scheduled"]
    assert run["name"] == "pipeline ALE/Pong-v5 noop, fast seeds 1"
    assert eventually(lambda: up.state(run["id"]) == "Completed")
    (report,) = [one for one in up.ramreel("status")["reports"] if one["name"] == "nightly"]
    assert report["page"].startswith(up.mlflow)

    # The rest is triggered by events.
    assert eventually(lambda: len([run for run in up.runs("follow-up") if run["end_time"]]) >= 2)
    crowned = champion(up, "ALE/Pong-v5")
    assert crowned is not None
    assert eventually(lambda: up.events(events.CHAMPION_CROWNED, env_id="ALE/Pong-v5", version=crowned.version))
    assert [one["env_id"] for one in up.ramreel("status")["champions"]] == ["ALE/Pong-v5"]

    assert eventually(lambda: up.events(events.MILESTONE_REACHED, approach="fast", milestone="best-1024"))
    (reached,) = up.events(events.MILESTONE_REACHED, approach="fast", milestone="best-1024")
    run_id = reached["payload"]["run_id"]
    assert "ramreel.milestone.best-1024" in up.store.run(run_id).tags
    assert up.store.run(run_id).tags[AUTOMATIC_TAG] == "schedule"
    sentence = "fast seed 1 sets a new best mean return for the game (previously -21.0)."

    def is_mailed() -> bool:
        subjects = ("ramreel: ALE/Pong-v5: plays better", "ramreel: ALE/Pong-v5: sets a new best")
        return any(str(one["Subject"]).startswith(subjects) for one in mailbox.received)

    assert eventually(lambda: any(sentence in one["message"] for one in inbox.received) and is_mailed())
    (message,) = [one for one in inbox.received if sentence in one["message"]]
    assert f"Video: {up.mlflow}/#/experiments/" in message["message"]
    assert f"/runs/{run_id}/artifacts/videos/step-000001024.mp4" in message["message"]


def test_killed_worker_loses_nothing_and_checkpoints_are_recorded(up: Unattended, tmp_path: Path) -> None:
    flow_run, run_id = start_training(up, seed=1)
    assert eventually(lambda: up.store.list_checkpoints(run_id))
    command = up.command
    assert command is not None
    (worker,) = command.children("--work-queue training")
    playing = set(command.children("spawn_main"))
    assert playing
    assert kill(worker)
    assert eventually(lambda: not playing & set(command.children("spawn_main"))), "its descendants end with it"
    assert eventually(lambda: "Interrupted flow runs, started again: " in command.output()[0])
    assert_nothing_lost(up, flow_run, run_id, tmp_path)

    steps = {checkpoint.step for checkpoint in up.store.list_checkpoints(run_id)}
    assert eventually(lambda: up.store.complete_videos(run_id).keys() == steps)
    assert f"record {GAME} ppo-tuned seed 1" in {run["name"] for run in up.runs("record")}
    assert all(proof.ok for proof in verify_run(up.store, run_id))
    assert eventually(lambda: champion(up, GAME))


def test_restart_of_the_servers_loses_nothing(up: Unattended, tmp_path: Path) -> None:
    flow_run, run_id = start_training(up, seed=2)
    before = up.deployments()
    up.stop()
    assert any("Deployments: unchanged" in line for line in up.start())
    after = up.deployments()
    assert {name: one["id"] for name, one in after.items()} == {name: one["id"] for name, one in before.items()}
    assert_nothing_lost(up, flow_run, run_id, tmp_path)


def test_cancelled_training_saves_a_last_checkpoint(up: Unattended) -> None:
    # A rollout takes longer than the grace period: the checkpoint is that of its start.
    flow_run, run_id = start_training(up, seed=3, steps=10**8, checkpoint_every=10**8, n_envs=32)
    waiting = up.run("train", {**TRAINING, "seed": 4})
    assert eventually(lambda: up.state(waiting) == "Late"), "a machine executes one training run at a time"
    up.request("POST", f"/flow_runs/{waiting}/set_state", {"state": {"type": "CANCELLED"}})
    assert up.store.list_checkpoints(run_id) == ()
    requested = time.time()
    up.request("POST", f"/flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}})
    assert eventually(lambda: up.state(flow_run) == "Cancelled")
    assert up.store.run(run_id).status == "KILLED"
    ended = datetime.fromisoformat(up.flow_run(flow_run)["end_time"]).timestamp()
    assert ended - requested < 10
    (saved,) = up.store.list_checkpoints(run_id)
    assert saved.step > 0
    assert eventually(lambda: saved.step in up.store.complete_videos(run_id)), "it is recorded"


def test_damaged_champion_is_detected_and_retrained_once(up: Unattended, inbox: Webhook) -> None:
    damaged = champion(up, "ALE/Pong-v5")
    assert damaged is not None
    (policy,) = (up.home / "mlruns").rglob(f"{damaged.checkpoint.model_id}/**/policy.safetensors")
    weights = bytearray(policy.read_bytes())
    weights[-1] ^= 0xFF
    policy.write_bytes(weights)

    # Two checks, one after the other: both detect it, and one retraining is enough.
    checks = [up.run("guard", {"env_id": "ALE/Pong-v5", "episodes": 10}) for _ in range(2)]
    assert eventually(lambda: {up.state(check) for check in checks} == {"Completed"})
    assert eventually(lambda: len([run for run in up.runs("retrain") if run["end_time"]]) == 2)
    assert {run["state_name"] for run in up.runs("retrain")} == {"Completed", "Skipped"}
    dropped = up.events(events.PERFORMANCE_DROPPED, env_id="ALE/Pong-v5", version=damaged.version)
    assert [event["payload"]["cause"] for event in dropped] == ["checkpoint", "checkpoint"]
    assert [one["title"] for one in inbox.received].count("ramreel: the champion of ALE/Pong-v5 plays worse") == 1
    (again,) = up.store.runs_tagged("ramreel.retraining_of", "ALE/Pong-v5")
    assert up.store.run(again).status == "FINISHED"

    def is_replaced() -> bool:
        now = champion(up, "ALE/Pong-v5")
        return now is not None and now.run_id == again

    assert eventually(is_replaced), "a champion that cannot play is replaced"
