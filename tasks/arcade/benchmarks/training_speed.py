"""How fast training is, beside what there is to compare it with, in one run on one machine.

Contenders take turns, round after round, so that a machine whose speed drifts drifts for all of them; medians and
ratios are what counts. Besides `learner` this is the one room that knows Stable-Baselines3: as the yardstick.
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

from tasks.arcade.emulator.emulator import Emulator, Ram, make_env
from tasks.arcade.errors import RamreelError
from tasks.arcade.learner import PlainRamPolicy, build, ppo_arguments
from tasks.arcade.policies.features import FeatureArray, Features, Statistics
from tasks.arcade.rollouts.on_policy import RolloutSettings
from tasks.arcade.rollouts.worker_pool import START_SECONDS, WorkerPool
from tasks.arcade.settings.algorithms import PpoSettings, RecurrentPpoSettings
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings

ENGINE, DUMMY, SUBPROC = "ramreel", "SB3, DummyVecEnv", "SB3, SubprocVecEnv"
SHIPPED, CEILING = "SB3 as shipped, DummyVecEnv", "emulator alone"
_SHIPPED_ENVS = 8
"""Stable-Baselines3 as it comes plays so many environments."""


class BenchmarkError(RamreelError):
    """A contender did not come to its end; the message says which, and how it ended."""


class SpeedSettings(Settings):
    """What is measured.

    `steps` are played by each contender in each round, whole rollouts of them.
    """

    game: GameSettings
    approach: ApproachSettings
    workers: int = Field(ge=1, le=256)
    rounds: int = Field(default=5, ge=1)
    steps: int = Field(default=32_768, ge=1)

    @field_validator("approach")
    @classmethod
    def _learns_by_ppo(cls, value: ApproachSettings) -> ApproachSettings:
        if isinstance(value.algorithm, RecurrentPpoSettings):
            raise ValueError(f"{value.name} has a memory, as nothing else that is measured here: choose ppo-tuned")
        if not isinstance(value.algorithm, PpoSettings):
            raise ValueError(f"{value.name} does not learn by PPO: choose an approach that does")
        if value.features.kind == "pixels":
            raise ValueError(f"{value.name} sees no RAM, as all that is measured here: choose an approach that does")
        return value

    @field_validator("steps")
    @classmethod
    def _everybody_has_a_step(cls, value: int, info: ValidationInfo) -> int:
        workers = info.data.get("workers", 1)
        least = max(_SHIPPED_ENVS, workers)
        if value < least:
            raise ValueError(
                f"{value} steps are too few for {_SHIPPED_ENVS} environments and {workers} workers: "
                f"{least} or more would be right"
            )
        return value


class Speed(Settings):
    """Steps a second of every contender, round by round, learning included.

    `playing` is the share of ramreel's time that goes by until its rollouts are there, round by round.
    """

    settings: SpeedSettings
    rounds: dict[str, tuple[float, ...]]
    playing: tuple[float, ...]

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.rounds.items()}

    @property
    def vs_sb3(self) -> float:
        """ramreel, as a multiple of the faster of Stable-Baselines3's two with the same hyper-parameters."""
        medians = self.medians
        return medians[ENGINE] / max(medians[DUMMY], medians[SUBPROC])

    @property
    def vs_shipped(self) -> float:
        """ramreel, as a multiple of Stable-Baselines3's PPO with its own network and hyper-parameters."""
        return self.medians[ENGINE] / self.medians[SHIPPED]

    @property
    def of_ceiling(self) -> float:
        """ramreel, as a share of the emulator alone on all cores."""
        return self.medians[ENGINE] / self.medians[CEILING]

    @property
    def share_playing(self) -> float:
        """The median of `playing`."""
        return statistics.median(self.playing)

    @property
    def while_playing(self) -> float:
        """The speed at which rollouts come, as a share of the emulator alone on all cores.

        A pipelined approach plays while it learns, too: its rollouts come faster than they are played.
        """
        return self.of_ceiling / self.share_playing


def measure(settings: SpeedSettings, said: Callable[[str], None]) -> Speed:
    """Measure all contenders in turn.

    Args:
        settings: what is measured.
        said: told each figure as it comes.

    """
    playing = _Playing()
    contenders: Mapping[str, Callable[[SpeedSettings], float]] = {
        ENGINE: partial(_engine, playing),
        DUMMY: _dummy,
        SUBPROC: _subproc,
        SHIPPED: _shipped,
        CEILING: _ceiling,
    }
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(settings.rounds):
        for name, contender in contenders.items():
            rounds[name].append(contender(settings))
            said(f"round {number + 1} of {settings.rounds}: {name}: {rounds[name][-1]:,.0f} steps/s")
    by_name = {name: tuple(values) for name, values in rounds.items()}
    return Speed(settings=settings, rounds=by_name, playing=tuple(playing.shares))


class _Playing(BaseCallback):
    """Takes the time that rollouts take.

    Attributes:
        shares: of each training's time, one training after the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[float] = []
        self._started = self._began = self._played = 0.0

    def _on_training_start(self) -> None:
        self._started, self._played = time.perf_counter(), 0.0

    def _on_rollout_start(self) -> None:
        self._began = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._played += time.perf_counter() - self._began

    def _on_training_end(self) -> None:
        self.shares.append(self._played / (time.perf_counter() - self._started))


def _engine(playing: _Playing, settings: SpeedSettings) -> float:
    run = RunSettings(
        game=settings.game, approach=settings.approach, seed=0, steps=settings.steps, checkpoint_every=settings.steps
    )
    with WorkerPool(RolloutSettings(run.game, run.approach, run.seed), settings.workers) as pool:
        return _timed(build(run, pool), settings.steps, playing)


def _dummy(settings: SpeedSettings) -> float:
    return _sb3(settings, DummyVecEnv)


def _subproc(settings: SpeedSettings) -> float:
    return _sb3(settings, SubprocVecEnv)


def _sb3(settings: SpeedSettings, kind: type[DummyVecEnv] | type[SubprocVecEnv]) -> float:
    """Stable-Baselines3's own PPO: the same network, hyper-parameters and features, its own loop."""
    algorithm = settings.approach.algorithm
    assert isinstance(algorithm, PpoSettings)
    makers = [_Maker(settings, seed) for seed in range(settings.approach.n_envs)]
    env: VecEnv = VecMonitor(kind(list(makers)))
    try:
        model = PPO(PlainRamPolicy, env, device="cpu", **ppo_arguments(algorithm))
        return _timed(model, settings.steps)
    finally:
        env.close()


def _shipped(settings: SpeedSettings) -> float:
    """Stable-Baselines3's PPO as it comes, on the bytes as they come."""
    env = VecMonitor(DummyVecEnv([lambda: make_env(settings.game)] * _SHIPPED_ENVS))
    try:
        # Its rollouts are of 2,048 steps; a shorter measurement would not be over after one.
        model = PPO("MlpPolicy", env, n_steps=min(2048, settings.steps // _SHIPPED_ENVS), device="cpu")
        return _timed(model, settings.steps)
    finally:
        env.close()


def _timed(model: Any, steps: int, callback: BaseCallback | None = None) -> float:
    started = time.perf_counter()
    model.learn(steps, callback)
    return float(model.num_timesteps / (time.perf_counter() - started))


@dataclass(frozen=True)
class _Maker:
    """Makes one of Stable-Baselines3's environments, in this process or in another."""

    settings: SpeedSettings
    seed: int

    def __call__(self) -> gymnasium.Env[Any, Any]:
        env = make_env(self.settings.game)
        env.reset(seed=self.seed)
        return _FeatureEnv(env, Features(self.settings.approach.features, Statistics.empty()))


class _FeatureEnv(gymnasium.ObservationWrapper[Any, Any, Any]):
    """The same features as the engine's, one environment at a time."""

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


def _ceiling(settings: SpeedSettings) -> float:
    """The emulator alone: random actions on all cores at once, no policy and no learning.

    Raises:
        BenchmarkError: one of its processes died or raised.
    """
    context = mp.get_context("spawn")
    barrier = context.Barrier(settings.workers, timeout=START_SECONDS)
    steps = settings.steps // settings.workers
    processes: dict[Connection, SpawnProcess] = {}
    try:
        for seed in range(settings.workers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_act, args=(settings.game, steps, seed, barrier, theirs), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
        seconds: dict[Connection, float] = {}
        while len(seconds) < len(processes):
            for pipe in wait(processes.keys() - seconds.keys()):
                assert isinstance(pipe, Connection)
                seconds[pipe] = _seconds(pipe, processes[pipe])
    finally:
        for process in processes.values():
            process.kill()
            process.join()
    return sum(steps / taken for taken in seconds.values())


def _seconds(pipe: Connection, process: SpawnProcess) -> float:
    try:
        return float(pipe.recv())
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise BenchmarkError(f"the {CEILING} ended {how}: run the benchmark again") from None


def _act(game: GameSettings, steps: int, seed: int, barrier: Barrier, seconds: Connection) -> None:
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
