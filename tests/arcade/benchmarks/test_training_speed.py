"""The training benchmark runs every contender; its ratios are those of medians."""

import multiprocessing as mp
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

from tasks.arcade.benchmarks.training_speed import (
    DUMMY,
    EMULATOR,
    ENVPOOL,
    ENVPOOL_ALONE,
    RAMREEL,
    SB3_DEFAULTS,
    SUBPROC,
    BenchmarkError,
    TrainingSpeed,
    TrainingSpeedSettings,
    measure_training,
)
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.networks import NetworkSettings
from tasks.arcade.settings.run import ApproachSettings


def small_settings(steps: int) -> TrainingSpeedSettings:
    return TrainingSpeedSettings(
        game=resolve("ALE/Pong-v5"), approach=small_approach(), workers=2, rounds=1, steps=steps
    )


def small_approach() -> ApproachSettings:
    algorithm = PpoSettings(n_steps=32, batch_size=32, n_epochs=1, network=NetworkSettings(pi=(8,), vf=(8,)))
    return approach("ppo-tuned").model_copy(update={"algorithm": algorithm, "n_envs": 2})


def test_every_contender_is_measured_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    lines: list[str] = []
    speed = measure_training(small_settings(128), lines.append)
    assert list(speed.rounds) == [RAMREEL, DUMMY, SUBPROC, SB3_DEFAULTS, EMULATOR]
    assert all(value > 0 for values in speed.rounds.values() for value in values)
    assert lines[0] == "EnvPool is skipped: it is not installed: pip install envpool"
    assert len(lines) == 6
    assert speed.vs_envpool is None
    (rollout_share,) = speed.rollout_shares
    assert 0 < rollout_share < 1


@pytest.mark.skipif(find_spec("envpool") is None, reason="EnvPool is not installed")
def test_envpool_is_measured_where_it_is_installed() -> None:
    lines: list[str] = []
    speed = measure_training(small_settings(128), lines.append)
    assert list(speed.rounds) == [RAMREEL, DUMMY, SUBPROC, ENVPOOL, SB3_DEFAULTS, EMULATOR, ENVPOOL_ALONE]
    assert all(value > 0 for values in speed.rounds.values() for value in values)
    assert len(lines) == 7


def test_ratios_are_of_medians() -> None:
    settings = TrainingSpeedSettings(game=resolve("ALE/Pong-v5"), approach=small_approach(), workers=2)
    rounds = {RAMREEL: (1.0, 60.0, 70.0), DUMMY: (20.0, 5.0, 99.0), SUBPROC: (1.0, 2.0, 3.0)}
    rounds |= {SB3_DEFAULTS: (10.0, 12.0, 9.0), EMULATOR: (80.0, 80.0, 1.0)}
    rounds |= {ENVPOOL: (30.0, 30.0, 1.0), ENVPOOL_ALONE: (120.0, 1.0, 240.0)}
    speed = TrainingSpeed(settings=settings, cores=4, rounds=rounds, rollout_shares=(0.9, 0.1, 0.75))
    medians = {RAMREEL: 60, DUMMY: 20, SUBPROC: 2, SB3_DEFAULTS: 10, EMULATOR: 80, ENVPOOL: 30, ENVPOOL_ALONE: 120}
    assert speed.medians == medians
    assert speed.per_core == {name: median / 4 for name, median in medians.items()}
    assert speed.frames == {name: median * 4 for name, median in medians.items()}, "at frame skip 4"
    assert speed.vs_sb3 == 3
    assert speed.vs_sb3_defaults == 6
    assert speed.of_ceiling == 0.75
    assert speed.vs_envpool == 2
    assert speed.of_envpool == 0.5
    assert speed.rollout_speed == 1


def test_an_approach_without_training_is_rejected() -> None:
    with pytest.raises(ValueError, match="random is not trained by PPO"):
        TrainingSpeedSettings(game=resolve("ALE/Pong-v5"), approach=approach("random"), workers=1)


@pytest.mark.parametrize(("workers", "steps", "minimum"), [(1, 7, 8), (2, 1, 8), (16, 15, 16)])
def test_too_few_steps_for_a_contender_are_rejected(workers: int, steps: int, minimum: int) -> None:
    game, approach_ = resolve("ALE/Pong-v5"), small_approach()
    with pytest.raises(ValueError, match=rf"{steps} steps are too few for .*: at least {minimum} are required"):
        TrainingSpeedSettings(game=game, approach=approach_, workers=workers, steps=steps)
    TrainingSpeedSettings(game=game, approach=approach_, workers=workers, steps=minimum)


def test_a_killed_emulator_process_ends_the_benchmark_with_one_line() -> None:
    settings = small_settings(64)

    def kill_one() -> None:
        while len(children := mp.active_children()) < 2:
            time.sleep(0.01)
        children[0].kill()

    with ThreadPoolExecutor(1) as executor:

        def log(line: str) -> None:
            if SB3_DEFAULTS in line:
                executor.submit(kill_one)

        with pytest.raises(
            BenchmarkError,
            match=r"^a process of the contender 'emulator alone' was killed by signal 9: run the benchmark again$",
        ):
            measure_training(settings, log)
    assert not mp.active_children()
