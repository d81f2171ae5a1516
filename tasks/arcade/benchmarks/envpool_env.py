"""EnvPool, which steps emulators in threads of its own, under ramreel's features: for comparison only.

EnvPool is not a dependency. `unavailable` says why a game cannot be played by it.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from tasks.arcade.learner import BatchVecEnv
from tasks.arcade.policies.feature_statistics import Rams, Statistics
from tasks.arcade.policies.features import FeatureArray, Features
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.game import GameSettings


def unavailable(game: GameSettings) -> str | None:
    """Return the reason why EnvPool cannot play a game, in one line; None if it can."""
    try:
        import envpool
    except (ImportError, OSError):  # OSError: its data files, which are packages of their own, are missing.
        return "it is not installed: pip install envpool"
    if not isinstance(game.frame_skip, int):
        return f"it skips a fixed number of frames, and {game.env_id} a random one"
    if _task_id(game) not in envpool.list_all_envs():
        return f"it does not have {game.env_id}"
    return None


def make_pool(game: GameSettings, n_envs: int, n_threads: int, batch_size: int | None = None) -> Any:
    """Return EnvPool with the settings of a game.

    It cannot be had without two things that ramreel does not do: after a reset, one frame without an action; and at
    every step, the grayscale picture of the last two frames, here resized to a single pixel.

    Args:
        game: Emulator settings that are not `unavailable`.
        n_envs: Number of environments.
        n_threads: Number of threads that step them.
        batch_size: Environments that a step waits for; the fastest ones (default: all).
    """
    import envpool

    assert isinstance(game.frame_skip, int)
    return envpool.make_gymnasium(
        _task_id(game),
        num_envs=n_envs,
        batch_size=batch_size or n_envs,
        num_threads=n_threads,
        frame_skip=game.frame_skip,
        repeat_action_probability=game.repeat_action_probability,
        full_action_space=game.full_action_space,
        mode=-1 if game.mode is None else game.mode,
        difficulty=-1 if game.difficulty is None else game.difficulty,
        max_episode_steps=game.max_episode_frames // game.frame_skip,
        # Whole games from the first frame on; without the last two, each starts with up to 30 steps of its own.
        episodic_life=False,
        use_fire_reset=False,
        noop_max=1,
        # The cheapest picture.
        stack_num=1,
        img_height=1,
        img_width=1,
        use_inter_area_resize=False,
    )


def measure_random_play(game: GameSettings, n_envs: int, n_threads: int, steps: int) -> float:
    """Return the steps per second of EnvPool alone, with random actions.

    Threads never wait for the slowest environment: the next actions are sent as soon as half of the environments are
    ready, in EnvPool's asynchronous mode.
    """
    batch_size = max(n_envs // 2, 1)
    pool = make_pool(game, n_envs, n_threads, batch_size)
    generator, n_actions = np.random.default_rng(0), pool.action_space.n

    def play_batch() -> int:
        *_, info = pool.recv()
        pool.send(generator.integers(n_actions, size=batch_size), info["env_id"])
        # An episode starts by a step that ignores its action.
        return int(np.count_nonzero(info["elapsed_step"]))

    pool.async_reset()
    for _ in range(2 * n_envs // batch_size):
        play_batch()
    done, started = 0, time.perf_counter()
    while done < steps:
        done += play_batch()
    return done / (time.perf_counter() - started)


class EnvPoolVecEnv(BatchVecEnv):
    """Stable-Baselines3 VecEnv of EnvPool, whose observations are ramreel's features of the RAM.

    The features of all environments are computed at once: float32 of shape (n_envs, features).

    Args:
        game: Emulator settings that are not `unavailable`.
        features: Feature settings.
        n_envs: Number of environments.
        n_threads: Number of threads that step them.
    """

    def __init__(self, game: GameSettings, features: FeatureSettings, n_envs: int, n_threads: int) -> None:
        self._pool = make_pool(game, n_envs, n_threads)
        self._features = Features(features, Statistics.empty())
        self._rams: Rams = np.zeros((n_envs, 0), np.uint8)
        space = spaces.Box(-np.inf, np.inf, (self._features.size,), np.float32)
        super().__init__(n_envs, space, spaces.Discrete(self._pool.action_space.n))

    def reset(self) -> FeatureArray:
        _, info = self._pool.reset()
        self._rams = info["ram"]
        return self._features(self._rams, self._rams)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        self._pool.send(actions)

    def step_wait(self) -> tuple[FeatureArray, npt.NDArray[Any], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        _, rewards, terminated, truncated, info = self._pool.recv()
        rams, previous = info["ram"], self._rams
        observations, dones = self._features(rams, previous), terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            # EnvPool would start episodes at the next step; Stable-Baselines3 expects them at this one.
            ended = np.flatnonzero(dones)
            for index in ended:
                infos[index]["terminal_observation"] = observations[index].copy()
                infos[index]["TimeLimit.truncated"] = bool(truncated[index])
            _, info = self._pool.reset(ended)
            rams[ended] = info["ram"]
            observations[ended] = self._features(info["ram"], info["ram"])
        self._rams = rams
        return observations, rewards, dones, infos

    def close(self) -> None:
        """Release the environments and end the threads."""
        del self._pool


def _task_id(game: GameSettings) -> str:
    return "".join(part.capitalize() for part in game.rom.split("_")) + "-v5"
