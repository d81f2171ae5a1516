"""Benchmark of training speed against Stable-Baselines3, EnvPool and the emulator alone.

Contenders take turns in every round, so that a drifting machine affects all of them alike; medians and ratios are
reported.
"""

from __future__ import annotations

import multiprocessing as mp
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from pydantic import Field, ValidationInfo, field_validator
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor

from tasks.arcade.benchmarks.envpool_env import EnvPoolVecEnv, measure_random_play, unavailable
from tasks.arcade.emulator.emulator import Emulator, Ram
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.commands import CONTENDER_STEPS, ROUNDS, ContenderSteps, Rounds
from tasks.arcade.learner import PlainRamPolicy, build_model, ppo_arguments
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import FeatureArray, Features
from tasks.arcade.rollouts.on_policy import RolloutSettings
from tasks.arcade.rollouts.worker_pool import START_SECONDS, WorkerPool, cores
from tasks.arcade.settings.algorithms import PpoSettings, RecurrentPpoSettings
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings

RAMREEL, DUMMY, SUBPROC, ENVPOOL = "ramreel", "SB3, DummyVecEnv", "SB3, SubprocVecEnv", "SB3, EnvPool"
SB3_DEFAULTS, EMULATOR, ENVPOOL_ALONE = "SB3 defaults, DummyVecEnv", "emulator alone", "EnvPool alone"
_DEFAULT_ENVS = 8
"""Environments of Stable-Baselines3 with its defaults."""


class BenchmarkError(RamreelError):
    """A contender failed; the message names it and the reason."""


class TrainingSpeedSettings(Settings):
    """Settings of the benchmark; in each round, each contender plays whole rollouts of about `steps` steps."""

    game: GameSettings
    approach: ApproachSettings
    workers: int = Field(ge=1, le=256)
    rounds: Rounds = ROUNDS
    steps: ContenderSteps = CONTENDER_STEPS

    @field_validator("approach")
    @classmethod
    def _check_approach(cls, value: ApproachSettings) -> ApproachSettings:
        if isinstance(value.algorithm, RecurrentPpoSettings):
            raise ValueError(f"{value.name} is recurrent, which the other contenders are not: choose ppo-tuned")
        if not isinstance(value.algorithm, PpoSettings):
            raise ValueError(f"{value.name} is not trained by PPO: choose an approach that is, such as ppo-tuned")
        if value.features.uses_pixels:
            raise ValueError(f"{value.name} does not observe RAM: choose an approach that does, such as ppo-tuned")
        return value

    @field_validator("steps")
    @classmethod
    def _check_steps(cls, value: int, info: ValidationInfo) -> int:
        workers = info.data.get("workers", 1)
        minimum = max(_DEFAULT_ENVS, workers)
        if value < minimum:
            raise ValueError(
                f"{value} steps are too few for {_DEFAULT_ENVS} environments and {workers} workers: "
                f"at least {minimum} are required"
            )
        return value


class TrainingSpeed(Settings):
    """Steps per second of every contender in each round, optimization included.

    Attributes:
        settings: Settings of the benchmark.
        cores: CPU cores available to every contender.
        rounds: Steps per second by contender, one value per round. Without EnvPool, its contenders are missing.
        rollout_shares: Share of ramreel's time spent on rollouts, one value per round.
    """

    settings: TrainingSpeedSettings
    cores: int
    rounds: dict[str, tuple[float, ...]]
    rollout_shares: tuple[float, ...]

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.rounds.items()}

    @property
    def per_core(self) -> dict[str, float]:
        """Median steps per second for each available core, whether a contender uses it or not."""
        return {name: median / self.cores for name, median in self.medians.items()}

    @property
    def frames(self) -> dict[str, float]:
        """Median frames per second."""
        return {name: median * self.settings.game.frames_per_step for name, median in self.medians.items()}

    @property
    def vs_sb3(self) -> float:
        """Speed of ramreel relative to the faster Stable-Baselines3 contender with the same hyperparameters."""
        medians = self.medians
        return medians[RAMREEL] / max(medians[DUMMY], medians[SUBPROC])

    @property
    def vs_sb3_defaults(self) -> float:
        """Speed of ramreel relative to Stable-Baselines3's PPO with its default network and hyperparameters."""
        return self.medians[RAMREEL] / self.medians[SB3_DEFAULTS]

    @property
    def vs_envpool(self) -> float | None:
        """Speed of ramreel relative to EnvPool under Stable-Baselines3's PPO, with the same hyperparameters."""
        return self._relative_to(ENVPOOL)

    @property
    def of_envpool(self) -> float | None:
        """Speed of ramreel relative to EnvPool alone on all cores."""
        return self._relative_to(ENVPOOL_ALONE)

    def _relative_to(self, name: str) -> float | None:
        medians = self.medians
        return medians[RAMREEL] / medians[name] if name in medians else None

    @property
    def of_ceiling(self) -> float:
        """Speed of ramreel relative to the emulator alone on all cores."""
        return self.medians[RAMREEL] / self.medians[EMULATOR]

    @property
    def rollout_share(self) -> float:
        """Median of `rollout_shares`."""
        return statistics.median(self.rollout_shares)

    @property
    def rollout_speed(self) -> float:
        """Speed during rollouts relative to the emulator alone on all cores.

        A pipelined approach also collects rollouts during optimization, which makes this larger.
        """
        return self.of_ceiling / self.rollout_share


def measure_training(settings: TrainingSpeedSettings, log: Callable[[str], None]) -> TrainingSpeed:
    """Measure all contenders in turn.

    Args:
        settings: Settings of the benchmark.
        log: Called with a line for each measurement.

    Raises:
        BenchmarkError: A process of a contender died.
    """
    rollout_timer = _RolloutTimer()
    contenders: Mapping[str, Callable[[TrainingSpeedSettings], float]] = {
        RAMREEL: partial(_measure_ramreel, rollout_timer),
        DUMMY: partial(_measure_sb3, DummyVecEnv),
        SUBPROC: partial(_measure_sb3, SubprocVecEnv),
        ENVPOOL: _measure_envpool,
        SB3_DEFAULTS: _measure_sb3_defaults,
        EMULATOR: _measure_emulator,
        ENVPOOL_ALONE: _measure_envpool_alone,
    }
    if reason := unavailable(settings.game):
        log(f"EnvPool is skipped: {reason}")
        contenders = {name: one for name, one in contenders.items() if name not in (ENVPOOL, ENVPOOL_ALONE)}
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(settings.rounds):
        for name, contender in contenders.items():
            rounds[name].append(contender(settings))
            log(f"round {number + 1} of {settings.rounds}: {name}: {rounds[name][-1]:,.0f} steps/s")
    by_name = {name: tuple(values) for name, values in rounds.items()}
    return TrainingSpeed(settings=settings, cores=cores(), rounds=by_name, rollout_shares=tuple(rollout_timer.shares))


def measure_ramreel(settings: TrainingSpeedSettings) -> float:
    """Return the steps per second of ramreel alone, in one round."""
    return _measure_ramreel(_RolloutTimer(), settings)


class _RolloutTimer(BaseCallback):
    """Callback that measures the time spent on rollouts.

    Attributes:
        shares: Share of the time of each call of `learn`, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[float] = []
        self._started = self._rollout_started = self._rollout_seconds = 0.0

    def _on_training_start(self) -> None:
        self._started, self._rollout_seconds = time.perf_counter(), 0.0

    def _on_rollout_start(self) -> None:
        self._rollout_started = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._rollout_seconds += time.perf_counter() - self._rollout_started

    def _on_training_end(self) -> None:
        self.shares.append(self._rollout_seconds / (time.perf_counter() - self._started))


def _measure_ramreel(rollout_timer: _RolloutTimer, settings: TrainingSpeedSettings) -> float:
    run = RunSettings(
        game=settings.game, approach=settings.approach, seed=0, steps=settings.steps, checkpoint_every=settings.steps
    )
    with WorkerPool(RolloutSettings(run.game, run.approach, run.seed), settings.workers) as pool:
        return _timed(build_model(run, pool), settings.steps, rollout_timer)


def _measure_sb3(vec_env_class: type[DummyVecEnv] | type[SubprocVecEnv], settings: TrainingSpeedSettings) -> float:
    """Measure Stable-Baselines3's PPO with ramreel's network, hyperparameters and features."""
    makers = [_EnvMaker(settings, seed) for seed in range(settings.approach.n_envs)]
    return _measure_same_ppo(vec_env_class(list(makers)), settings)


def _measure_envpool(settings: TrainingSpeedSettings) -> float:
    """Measure the same over EnvPool, with features for all environments at once."""
    approach = settings.approach
    env = EnvPoolVecEnv(settings.game, approach.features, approach.n_envs, settings.workers)
    return _measure_same_ppo(env, settings)


def _measure_envpool_alone(settings: TrainingSpeedSettings) -> float:
    return measure_random_play(settings.game, settings.approach.n_envs, settings.workers, settings.steps)


def _measure_same_ppo(vec_env: VecEnv, settings: TrainingSpeedSettings) -> float:
    algorithm, env = settings.approach.algorithm, VecMonitor(vec_env)
    assert isinstance(algorithm, PpoSettings)
    try:
        model = PPO(PlainRamPolicy, env, device="cpu", **ppo_arguments(algorithm))
        return _timed(model, settings.steps)
    finally:
        env.close()


def _measure_sb3_defaults(settings: TrainingSpeedSettings) -> float:
    """Measure Stable-Baselines3's PPO with its defaults, on the raw bytes."""
    env = VecMonitor(DummyVecEnv([lambda: make_env(settings.game)] * _DEFAULT_ENVS))
    try:
        # By default, rollouts have 2,048 steps: more than a short measurement.
        model = PPO("MlpPolicy", env, n_steps=min(2048, settings.steps // _DEFAULT_ENVS), device="cpu")
        return _timed(model, settings.steps)
    finally:
        env.close()


def _timed(model: Any, steps: int, callback: BaseCallback | None = None) -> float:
    started = time.perf_counter()
    model.learn(steps, callback)
    return float(model.num_timesteps / (time.perf_counter() - started))


@dataclass(frozen=True)
class _EnvMaker:
    """Picklable factory of one of Stable-Baselines3's environments."""

    settings: TrainingSpeedSettings
    seed: int

    def __call__(self) -> gymnasium.Env[Any, Any]:
        env = make_env(self.settings.game)
        env.reset(seed=self.seed)
        return _FeatureEnv(env, Features(self.settings.approach.features, Statistics.empty()))


class _FeatureEnv(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Computes ramreel's features, one environment at a time."""

    def __init__(self, env: gymnasium.Env[Any, Any], features: Features) -> None:
        super().__init__(env)
        self._features = features
        self._previous: Ram | None = None
        self.observation_space = spaces.Box(-np.inf, np.inf, (features.size,), np.float32)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._previous = None
        return super().reset(**arguments)

    def observation(self, observation: Ram) -> FeatureArray:
        previous = observation if self._previous is None else self._previous
        self._previous = observation
        features: FeatureArray = self._features(observation[None], previous[None])[0]
        return features


def _measure_emulator(settings: TrainingSpeedSettings) -> float:
    """Measure the emulator alone: random actions on all cores, no policy and no optimization.

    Raises:
        BenchmarkError: One of its processes died or raised.
    """
    context = mp.get_context("spawn")
    barrier = context.Barrier(settings.workers, timeout=START_SECONDS)
    steps = settings.steps // settings.workers
    processes: dict[Connection, SpawnProcess] = {}
    try:
        for seed in range(settings.workers):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=_time_random_play, args=(settings.game, steps, seed, barrier, sender), daemon=True
            )
            process.start()
            sender.close()
            processes[receiver] = process
        seconds: dict[Connection, float] = {}
        while len(seconds) < len(processes):
            for pipe in wait(processes.keys() - seconds.keys()):
                assert isinstance(pipe, Connection)
                seconds[pipe] = _receive_seconds(pipe, processes[pipe])
    finally:
        for process in processes.values():
            process.kill()
            process.join()
    return sum(steps / taken for taken in seconds.values())


def _receive_seconds(pipe: Connection, process: SpawnProcess) -> float:
    try:
        return float(pipe.recv())
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        raise BenchmarkError(f"a process of the contender '{EMULATOR}' {how}: run the benchmark again") from None


def _time_random_play(game: GameSettings, steps: int, seed: int, barrier: Barrier, seconds: Connection) -> None:
    emulator = Emulator(game)
    actions = np.random.default_rng(seed).integers(emulator.n_actions, size=steps).tolist()
    emulator.reset(seed)
    barrier.wait()
    started = time.perf_counter()
    for action in actions:
        _, terminated, truncated = emulator.step(action)
        if terminated or truncated:
            emulator.reset()
    seconds.send(time.perf_counter() - started)
