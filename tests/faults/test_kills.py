"""kill -9 at random moments, of every kind of process: nothing is lost, no process is left."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from helpers.approaches import FAST
from helpers.evidence import histories, valid_checkpoints
from helpers.processes import Command, kill, started, wait_until
from helpers.scale import sized, takes_minutes

from flows.record import record
from flows.train import train
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.runs.verify import verify_run
from tasks.store import Store, StoreError, open_store

TRAIN = TrainSettings(
    env_id="ALE/Breakout-v5", approach="ppo-tuned", seed=5, steps=sized(8_000, 24_000), checkpoint_every=2000,
    n_envs=4, workers=2,
)  # fmt: skip
TRAIN_ARGUMENTS = [
    *("train", TRAIN.env_id, "--approach", TRAIN.approach, "--seed", "5", "--steps", str(TRAIN.steps)),
    *("--checkpoint-every", "2000", "--n-envs", "4", "--workers", "2", "--json"),
]
TRAINING_KILLS = sized(["worker", "group"], ["flow", "worker", "group", "flow", "worker", "group"] * 2)
RECORDING_KILLS = ["recording", "ffmpeg", "player", "group"] * 2
EVALUATION = EvaluationSettings(episodes=5, seed=3)
RECORDED = TrainSettings(
    env_id="ALE/Pong-v5", approach=FAST, seed=5, steps=768, checkpoint_every=256, n_envs=1, workers=1
)
WORKER, PLAYER, FFMPEG = "spawn_main", "spawn_main", "rawvideo"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Store, str]:
    """The same training run without kills."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAMREEL_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        return open_store(), train(TRAIN).run_id


@pytest.fixture
def rng() -> random.Random:
    seed = random.SystemRandom().randrange(10**6)
    print(f"moments of the kills: seed {seed}")
    return random.Random(seed)


def test_killed_training_ends_bit_for_bit_the_same(
    home: Path, store: Store, undisturbed: tuple[Store, str], rng: random.Random, tmp_path: Path
) -> None:
    kills = iter(TRAINING_KILLS)
    killed: list[str] = []
    kind = next(kills)
    while kind:
        with started(train_or_resume(store), home) as command:
            while kind == "worker" and not command.exited:
                if kill_one(command, WORKER, rng):
                    killed.append(kind)
                    kind = next(kills, "")
            if kind and kill_command(command, rng, group=kind == "group"):
                killed.append(kind)
                kind = next(kills, "")
            assert no_process_is_left(command)
        run_id = latest(store)
        if run_id:
            valid_checkpoints(store, run_id, tmp_path / f"after {len(killed)}")
    assert sorted(killed) == sorted(TRAINING_KILLS)
    with started(train_or_resume(store), home) as command:
        code, out, errors = command.wait()
        assert code == 0, errors
        result = json.loads(out.splitlines()[-1])
        assert no_process_is_left(command)
    reference, reference_id = undisturbed
    assert result["checkpoint_digest"] == reference.list_checkpoints(reference_id)[-1].digest
    runs = store.runs_tagged("ramreel.kind", "training")
    assert result["run_id"] in runs
    for run_id in runs:
        assert store.list_checkpoints(run_id)[-1].digest == reference.list_checkpoints(reference_id)[-1].digest
        assert store.run(run_id).status == "FINISHED"
        assert histories(store, run_id) == histories(reference, reference_id), "no gap, no step logged twice"
        assert store.list_checkpoints(run_id)[-1].step in valid_checkpoints(store, run_id, tmp_path / run_id)


def latest(store: Store) -> str | None:
    try:
        return store.resolve_run("latest")
    except StoreError:
        return None


def train_or_resume(store: Store) -> list[str]:
    """Return the arguments that resume the killed run, or that start a new one if none was killed."""
    last = latest(store)
    killed = last is not None and store.run(last).status != "FINISHED"
    return ["train", "--resume", "latest", "--workers", "1", "--json"] if killed else TRAIN_ARGUMENTS


def kill_one(command: Command, command_line: str, rng: random.Random, within: float = 2.5) -> bool:
    """Kill one of the matching processes at a random moment; return whether there was one."""
    wait_until(lambda: command.exited or command.children(command_line))
    wait_until(lambda: command.exited, seconds=rng.uniform(0, within))
    children = command.children(command_line)
    return bool(children) and kill(rng.choice(children))


def kill_command(command: Command, rng: random.Random, *, group: bool, within: float = 12) -> bool:
    """Kill a command at a random moment within some seconds of its start; return whether it was running."""
    if wait_until(lambda: command.exited, seconds=rng.uniform(0, within)):
        return False
    command.kill(group=group)
    return True


def no_process_is_left(command: Command) -> bool:
    return not command.exited or wait_until(lambda: not command.family(), seconds=20)


@takes_minutes
def test_killed_recording_ends_byte_for_byte_the_same(rng: random.Random, at_home: Path, tmp_path: Path) -> None:
    store, run_id, reference_id = open_store(), train(RECORDED).run_id, train(RECORDED).run_id
    record(RecordSettings(run=reference_id, evaluation=EVALUATION))
    arguments = ["record", run_id, "--episodes", str(EVALUATION.episodes), "--seed", str(EVALUATION.seed), "--json"]
    kills = iter(RECORDING_KILLS)
    killed: list[str] = []
    kind = next(kills)
    while kind:
        # Existing videos are replaced, so that there is always a process to kill.
        with started([*arguments, "--again"], at_home) as command:
            if kind in ("ffmpeg", "player"):
                hit = kill_one(command, FFMPEG if kind == "ffmpeg" else PLAYER, rng, within=0.5)
                code, _, errors = command.wait()
                assert code == 0, f"killed {kind if hit else 'nothing'}: {errors}"
            else:
                wait_until(lambda command=command: command.exited or command.children(PLAYER))
                hit = kill_command(command, rng, group=kind == "group", within=6)
            assert no_process_is_left(command)
        if hit:
            killed.append(kind)
            kind = next(kills, "")
        for video in store.complete_videos(run_id).values():
            assert_decodable(store.fetch_artifact(run_id, video.mp4, tmp_path / f"after {len(killed)}"))
    assert killed == RECORDING_KILLS
    with started(arguments, at_home) as command:
        code, _, errors = command.wait()
        assert code == 0, errors
    videos, references = store.complete_videos(run_id), store.complete_videos(reference_id)
    assert videos.keys() == references.keys() == set(range(256, RECORDED.steps + 1, 256))
    for step, video in videos.items():
        for path, reference in ((video.mp4, references[step].mp4), (video.trace, references[step].trace)):
            data = store.fetch_artifact(run_id, path, tmp_path / "killed").read_bytes()
            assert data == store.fetch_artifact(reference_id, reference, tmp_path / "reference").read_bytes(), path
        assert store.fetch_evaluation(run_id, step) == store.fetch_evaluation(reference_id, step)
    assert histories(store, run_id) == histories(store, reference_id), "no metric logged twice"
    assert all(proof.ok for proof in verify_run(store, run_id))


def assert_decodable(mp4: Path) -> None:
    """Decode every byte of a video without a complaint of ffmpeg's."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(mp4), "-f", "null", "-"]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert completed.stderr == "", mp4.name
