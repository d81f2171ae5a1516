"""kill -9 at random moments, of every kind of process: nothing is lost, nothing is left behind."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from helpers.evidence import histories, whole_checkpoints
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
TRAIN_WORDS = [
    *("train", TRAIN.env_id, "--approach", TRAIN.approach, "--seed", "5", "--steps", str(TRAIN.steps)),
    *("--checkpoint-every", "2000", "--n-envs", "4", "--workers", "2", "--json"),
]
TRAINING_KILLS = sized(["worker", "group"], ["flow", "worker", "group", "flow", "worker", "group"] * 2)
RECORDING_KILLS = ["recording", "ffmpeg", "player", "group"] * 2
EVALUATION = EvaluationSettings(episodes=5, seed=3)
RECORDED = TrainSettings(
    env_id="ALE/Pong-v5", approach="random", seed=5, steps=768, checkpoint_every=256, n_envs=1, workers=1
)
WORKER, PLAYER, FFMPEG = "spawn_main", "spawn_main", "rawvideo"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Store, str]:
    """The training that nobody disturbs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAMREEL_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        return open_store(), train(TRAIN).run_id


@pytest.fixture
def chance() -> random.Random:
    seed = random.SystemRandom().randrange(10**6)
    print(f"moments of the kills: seed {seed}")
    return random.Random(seed)


def test_a_training_ends_as_if_nobody_had_killed_anything(
    home: Path, store: Store, undisturbed: tuple[Store, str], chance: random.Random, tmp_path: Path
) -> None:
    kills = iter(TRAINING_KILLS)
    killed: list[str] = []
    kind = next(kills)
    while kind:
        with started(resuming(store), home) as command:
            while kind == "worker" and not command.over:
                if kill_one(command, WORKER, chance):
                    killed.append(kind)
                    kind = next(kills, "")
            if kind and stop(command, chance, group=kind == "group"):
                killed.append(kind)
                kind = next(kills, "")
            assert nothing_is_left_of(command)
        run_id = latest(store)
        if run_id:
            whole_checkpoints(store, run_id, tmp_path / f"after {len(killed)}")
    assert sorted(killed) == sorted(TRAINING_KILLS)
    with started(resuming(store), home) as command:
        code, out, said = command.done()
        assert code == 0, said
        values = json.loads(out.splitlines()[-1])
        assert nothing_is_left_of(command)
    calm, calm_id = undisturbed
    assert values["checkpoint_digest"] == calm.list_checkpoints(calm_id)[-1].digest
    runs = store.runs_tagged("ramreel.kind", "training")
    assert values["run_id"] in runs
    for run_id in runs:
        assert store.list_checkpoints(run_id)[-1].digest == calm.list_checkpoints(calm_id)[-1].digest
        assert store.run(run_id).status == "FINISHED"
        assert histories(store, run_id) == histories(calm, calm_id), "no gap, no step logged twice"
        assert store.list_checkpoints(run_id)[-1].step in whole_checkpoints(store, run_id, tmp_path / run_id)


def latest(store: Store) -> str | None:
    try:
        return store.resolve_run("latest")
    except StoreError:
        return None


def resuming(store: Store) -> list[str]:
    """Begin, or go on where the last one was killed; where it ended before it could be killed, another one begins."""
    last = latest(store)
    killed = last is not None and store.run(last).status != "FINISHED"
    return ["train", "--resume", "latest", "--workers", "1", "--json"] if killed else TRAIN_WORDS


def kill_one(command: Command, what: str, chance: random.Random, within: float = 2.5) -> bool:
    """Kill one of the processes of a kind at a random moment of its life; whether there was one."""
    wait_until(lambda: command.over or command.children(what))
    wait_until(lambda: command.over, seconds=chance.uniform(0, within))
    there = command.children(what)
    return bool(there) and kill(chance.choice(there))


def stop(command: Command, chance: random.Random, *, group: bool, within: float = 12) -> bool:
    """Kill a command at a random moment between its start and some seconds into its work; whether it was there."""
    if wait_until(lambda: command.over, seconds=chance.uniform(0, within)):
        return False
    command.kill(group=group)
    return True


def nothing_is_left_of(command: Command) -> bool:
    return not command.over or wait_until(lambda: not command.family(), seconds=20)


@takes_minutes
def test_a_recording_is_done_as_if_nobody_had_killed_anything(
    chance: random.Random, at_home: Path, tmp_path: Path
) -> None:
    store, run_id, calm_id = open_store(), train(RECORDED).run_id, train(RECORDED).run_id
    record(RecordSettings(run=calm_id, evaluation=EVALUATION))
    words = ["record", run_id, "--episodes", str(EVALUATION.episodes), "--seed", str(EVALUATION.seed), "--json"]
    kills = iter(RECORDING_KILLS)
    killed: list[str] = []
    kind = next(kills)
    while kind:
        # Videos that are there are made again, so that there is always something to kill.
        with started([*words, "--again"], at_home) as command:
            if kind in ("ffmpeg", "player"):
                hit = kill_one(command, FFMPEG if kind == "ffmpeg" else PLAYER, chance, within=0.5)
                code, _, said = command.done()
                assert code == 0, f"killed {kind if hit else 'nothing'}: {said}"
            else:
                wait_until(lambda command=command: command.over or command.children(PLAYER))
                hit = stop(command, chance, group=kind == "group", within=6)
            assert nothing_is_left_of(command)
        if hit:
            killed.append(kind)
            kind = next(kills, "")
        for video in store.complete_videos(run_id).values():
            plays(store.fetch_artifact(run_id, video.mp4, tmp_path / f"after {len(killed)}"))
    assert killed == RECORDING_KILLS
    with started(words, at_home) as command:
        code, _, said = command.done()
        assert code == 0, said
    videos, calm = store.complete_videos(run_id), store.complete_videos(calm_id)
    assert videos.keys() == calm.keys() == set(range(256, RECORDED.steps + 1, 256))
    for step, video in videos.items():
        for ours, theirs in ((video.mp4, calm[step].mp4), (video.trace, calm[step].trace)):
            made = store.fetch_artifact(run_id, ours, tmp_path / "made").read_bytes()
            assert made == store.fetch_artifact(calm_id, theirs, tmp_path / "calm").read_bytes(), ours
        assert store.fetch_evaluation(run_id, step) == store.fetch_evaluation(calm_id, step)
    assert histories(store, run_id) == histories(store, calm_id), "no figure is logged twice"
    assert all(proof.ok for proof in verify_run(store, run_id))


def plays(mp4: Path) -> None:
    """Every byte of a video is decoded, and ffmpeg has nothing to complain of."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(mp4), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "", mp4.name
