"""The benchmark runs every contender for real and draws its ratios from their medians."""

import multiprocessing as mp
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.arcade.benchmarks.training_speed import (
    DUMMY,
    EMULATOR,
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


def small() -> ApproachSettings:
    algorithm = PpoSettings(n_steps=32, batch_size=32, n_epochs=1, network=NetworkSettings(pi=(8,), vf=(8,)))
    return approach("ppo-tuned").model_copy(update={"algorithm": algorithm, "n_envs": 2})


def test_every_contender_is_measured_in_every_round() -> None:
    said: list[str] = []
    settings = TrainingSpeedSettings(game=resolve("ALE/Pong-v5"), approach=small(), workers=2, rounds=1, steps=128)
    speed = measure_training(settings, said.append)
    assert list(speed.rounds) == [RAMREEL, DUMMY, SUBPROC, SB3_DEFAULTS, EMULATOR]
    assert all(value > 0 for values in speed.rounds.values() for value in values)
    assert len(said) == 5
    (playing,) = speed.playing
    assert 0 < playing < 1


def test_ratios_are_of_medians() -> None:
    settings = TrainingSpeedSettings(game=resolve("ALE/Pong-v5"), approach=small(), workers=2)
    rounds = {RAMREEL: (1.0, 60.0, 70.0), DUMMY: (20.0, 5.0, 99.0), SUBPROC: (1.0, 2.0, 3.0)}
    rounds |= {SB3_DEFAULTS: (10.0, 12.0, 9.0), EMULATOR: (80.0, 80.0, 1.0)}
    speed = TrainingSpeed(settings=settings, rounds=rounds, playing=(0.9, 0.1, 0.75))
    assert speed.medians == {RAMREEL: 60, DUMMY: 20, SUBPROC: 2, SB3_DEFAULTS: 10, EMULATOR: 80}
    assert speed.vs_sb3 == 3
    assert speed.vs_shipped == 6
    assert speed.of_ceiling == 0.75
    assert speed.while_playing == 1


def test_what_does_not_learn_is_not_measured() -> None:
    with pytest.raises(ValueError, match="random does not learn by PPO"):
        TrainingSpeedSettings(game=resolve("ALE/Pong-v5"), approach=approach("random"), workers=1)


@pytest.mark.parametrize(("workers", "steps", "least"), [(1, 7, 8), (2, 1, 8), (16, 15, 16)])
def test_fewer_steps_than_somebody_needs_are_refused(workers: int, steps: int, least: int) -> None:
    game, approach_ = resolve("ALE/Pong-v5"), small()
    with pytest.raises(ValueError, match=rf"{steps} steps are too few for .*: {least} or more would be right"):
        TrainingSpeedSettings(game=game, approach=approach_, workers=workers, steps=steps)
    TrainingSpeedSettings(game=game, approach=approach_, workers=workers, steps=least)


def test_an_emulator_that_dies_ends_the_benchmark_in_a_line() -> None:
    settings = TrainingSpeedSettings(game=resolve("ALE/Pong-v5"), approach=small(), workers=2, rounds=1, steps=64)

    def kill_one() -> None:
        while len(children := mp.active_children()) < 2:
            time.sleep(0.01)
        children[0].kill()

    with ThreadPoolExecutor(1) as executor:

        def said(line: str) -> None:
            if SB3_DEFAULTS in line:
                executor.submit(kill_one)

        with pytest.raises(BenchmarkError, match=r"^the emulator alone ended by signal 9: run the benchmark again$"):
            measure_training(settings, said)
    assert not mp.active_children()
