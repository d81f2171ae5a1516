"""A training killed at any moment goes on, and ends as one that was never killed, to the bit."""

import json
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.train import resume, train
from tasks.arcade.progress import Progress
from tasks.arcade.settings import ResumeSettings, TrainSettings
from tasks.audience import before
from tasks.store import Store, StoreError, open_store

ROOT = Path(__file__).parents[2]
TRAIN = TrainSettings(
    env_id="ALE/Breakout-v5", approach="ppo-tuned", seed=5, steps=16_000, checkpoint_every=4000, workers=2
)
TIMES = ("time/fps", "time/time_elapsed", "time/wall_seconds", "time/cpu_seconds")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Store, str, str]:
    """The training that nobody disturbs: its store, its run, and the digest of its last checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAMREEL_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        trained = train(TRAIN)
        return open_store(), trained.run_id, trained.checkpoints[-1].digest


def histories(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric, repeated ones too."""
    client = store._client
    keys = client.get_run(run_id).data.metrics
    return {
        key: sorted(
            (point.step, point.value if key not in TIMES else 0.0) for point in client.get_metric_history(run_id, key)
        )
        for key in keys
    }


class Murderer:
    """Kills a worker once, in the middle of the training."""

    def __init__(self) -> None:
        self.killed = 0

    def training(self, name: str, progress: Progress) -> None:
        if not self.killed and progress.step > 7000:
            self.killed = 1
            mp.active_children()[0].kill()

    def said(self, line: str) -> None:
        pass


def test_a_worker_that_is_killed_costs_nothing(store: Store, undisturbed: tuple[Store, str, str]) -> None:
    murderer = Murderer()
    with before(murderer):
        trained = train(TRAIN)
    assert murderer.killed
    calm, calm_id, digest = undisturbed
    assert trained.checkpoints[-1].digest == digest
    assert store.run(trained.run_id).status == "FINISHED"
    assert histories(store, trained.run_id) == histories(calm, calm_id), "no gap, and no step logged twice"


def test_a_process_group_that_is_killed_again_and_again_costs_nothing(
    at_home: Path, store: Store, undisturbed: tuple[Store, str, str]
) -> None:
    arguments = [
        *("train", TRAIN.env_id, "--approach", TRAIN.approach, "--seed", "5", "--steps", "16000"),
        *("--checkpoint-every", "4000", "--workers", "2", "--quiet"),
    ]
    for kill_after in (4096, 8192):
        process = started(arguments, at_home)
        wait_for_checkpoint(store, kill_after, process)
        time.sleep(0.4)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        arguments = ["train", "--resume", "latest", "--workers", "1", "--quiet"]
    assert store.run(store.resolve_run("latest")).status == "RUNNING", "nobody could say that it was killed"
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments, "--json"],
        cwd=ROOT, env=environment(at_home), capture_output=True, text=True, check=True,
    )  # fmt: skip
    values = json.loads(done.stdout.splitlines()[-1])
    calm, calm_id, digest = undisturbed
    assert values["checkpoint_digest"] == digest
    assert store.run(values["run_id"]).status == "FINISHED"
    assert histories(store, values["run_id"]) == histories(calm, calm_id), "no gap, and no step logged twice"


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"RAMREEL_HOME": str(home)}


def started(arguments: list[str], home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT, env=environment(home), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_checkpoint(store: Store, step: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert process.poll() is None, "the training ended before it was killed"
        try:
            if store.list_checkpoints(store.resolve_run("latest"))[-1].step >= step:
                return
        except (StoreError, IndexError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"no checkpoint at step {step}")


def test_a_run_that_is_being_trained_is_not_trained_twice(store: Store) -> None:
    run_id = train(TRAIN.model_copy(update={"approach": "random", "steps": 5000, "workers": 1})).run_id
    with store.lease(run_id), pytest.raises(StoreError, match=rf"being trained by process {os.getpid()}"):
        resume(ResumeSettings(run=run_id))
    assert store.run(run_id).status == "FINISHED", "the refusal changed nothing"


def test_a_finished_training_goes_on_past_its_end(store: Store) -> None:
    settings = TRAIN.model_copy(update={"approach": "random", "steps": 5000, "workers": 1})
    run_id = train(settings).run_id
    more = resume(ResumeSettings(run=run_id, steps=9000, workers=2))
    assert more.run_id == run_id
    whole = train(settings.model_copy(update={"steps": 9000}))
    assert [saved.step for saved in more.checkpoints][-1] == whole.checkpoints[-1].step == more.steps
    one, other = (histories(store, run)["rollout/ep_rew_mean"] for run in (run_id, whole.run_id))
    assert one == other


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(store: Store) -> None:
    settings = TRAIN.model_copy(update={"approach": "random", "steps": 9000, "workers": 1})
    run_id = train(settings).run_id
    spoilt = store.list_checkpoints(run_id)[-1]
    assert store.address.artifacts is not None
    path = next(store.address.artifacts.rglob(f"{spoilt.model_id}/artifacts/policy.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    again = resume(ResumeSettings(run=run_id))
    assert again.checkpoints[-1].step == spoilt.step
    assert again.checkpoints[-1].digest == spoilt.digest, "what was lost is made again, to the bit"
