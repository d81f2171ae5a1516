"""Replay buffer of RAM: a ring of the last steps of every environment, from which transitions are sampled.

It stores RAM instead of features, because features depend on statistics that change during training: they are computed
when a batch is sampled, with the statistics that the policy currently plays with. Rewards are stored untransformed for
the same reason. Each RAM is stored once, since the RAM before and after a step are its neighbors in the same
environment: about 135 bytes per step (13.5 MB per 100,000 steps), in memory and in a checkpoint. Only where the time
limit truncated an episode is the final RAM stored separately, 128 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE, Ram
from tasks.arcade.policies.actor_critic import Floats
from tasks.arcade.policies.feature_statistics import Rams
from tasks.arcade.rollouts.off_policy import StepEnd, Transitions


@dataclass(frozen=True)
class Batch:
    """A batch of transitions.

    Attributes:
        rams: uint8 (n, 128).
        previous: uint8 (n, 128), the RAM one step before; at an episode's start the RAM itself.
        actions: int64 (n,).
        rewards: float32 (n,), untransformed.
        next_rams: uint8 (n, 128), the RAM one step later; undefined where the episode terminated.
        terminated: bool (n,), False where the time limit truncated the episode.
        life_losses: bool (n,), where a life was lost and the episode continued.
    """

    rams: Rams
    previous: Rams
    actions: npt.NDArray[np.int64]
    rewards: Floats
    next_rams: Rams
    terminated: npt.NDArray[np.bool_]
    life_losses: npt.NDArray[np.bool_]


class TransitionBuffer:
    """Ring buffer of the last steps.

    Args:
        size: approximate capacity in steps, all environments together.
        n_envs: number of environments.

    Attributes:
        rows: capacity in steps per environment.
    """

    def __init__(self, size: int, n_envs: int) -> None:
        # The oldest row of a full ring is never sampled, because the RAM before it is gone: at least two are needed.
        self.rows = max(size // n_envs, 2)
        grid = (self.rows, n_envs)
        self._rams = np.zeros((*grid, RAM_SIZE), np.uint8)
        self._actions = np.zeros(grid, np.uint8)
        self._rewards = np.zeros(grid, np.float32)
        self._starts = np.zeros(grid, np.bool_)
        self._ends = np.zeros(grid, np.uint8)
        self._after = np.zeros((n_envs, RAM_SIZE), np.uint8)
        self._final_rams: dict[tuple[int, int], Ram] = {}
        self._added = 0

    def __len__(self) -> int:
        """Number of steps stored per environment."""
        return min(self._added, self.rows)

    def add(self, rollout: Transitions) -> None:
        """Add a rollout, overwriting the oldest steps; of a rollout longer than the ring, add its last steps."""
        n_steps = len(rollout.rams)
        kept = slice(max(n_steps - self.rows, 0), n_steps)
        rows = (self._added + np.arange(kept.start, kept.stop)) % self.rows
        self._rams[rows], self._actions[rows] = rollout.rams[kept], rollout.actions[kept]
        self._rewards[rows], self._starts[rows] = rollout.rewards[kept], rollout.starts[kept]
        self._ends[rows] = rollout.ends[kept]
        overwritten = set(rows.tolist())
        self._final_rams = {place: ram for place, ram in self._final_rams.items() if place[0] not in overwritten}
        for at, env in np.argwhere(rollout.ends[kept] == StepEnd.TRUNCATED).tolist():
            self._final_rams[int(rows[at]), env] = rollout.next_rams[kept][at, env].copy()
        self._after = rollout.next_rams[-1].copy()
        self._added += n_steps

    def truncate_episodes(self) -> None:
        """Truncate all running episodes: the next steps added belong to other episodes."""
        if self._added:
            newest = (self._added - 1) % self.rows
            for env in np.flatnonzero(np.isin(self._ends[newest], (StepEnd.NONE, StepEnd.LOST_LIFE))).tolist():
                self._final_rams[newest, env] = self._after[env]
                self._ends[newest, env] = StepEnd.TRUNCATED

    def sample(self, n: int) -> Batch:
        """Sample n transitions uniformly, using NumPy's global generator as Stable-Baselines3 does."""
        if self._added >= self.rows:
            rows = (self._added + np.random.randint(1, self.rows, n)) % self.rows
        else:
            rows = np.random.randint(0, self._added, n)
        envs = np.random.randint(0, len(self._after), n)
        rams, ends = self._rams[rows, envs], self._ends[rows, envs]
        newest = rows == (self._added - 1) % self.rows
        next_rams = np.where(newest[:, None], self._after[envs], self._rams[(rows + 1) % self.rows, envs])
        for at in np.flatnonzero(ends == StepEnd.TRUNCATED):
            next_rams[at] = self._final_rams[int(rows[at]), int(envs[at])]
        return Batch(
            rams=rams,
            previous=np.where(self._starts[rows, envs, None], rams, self._rams[rows - 1, envs]),
            actions=self._actions[rows, envs].astype(np.int64),
            rewards=self._rewards[rows, envs],
            next_rams=next_rams,
            terminated=ends == StepEnd.TERMINATED,
            life_losses=ends == StepEnd.LOST_LIFE,
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the contents as plain arrays, as a checkpoint stores them."""
        places = np.array(sorted(self._final_rams), np.int64).reshape(-1, 2)
        return {
            **{name: array[: len(self)].copy() for name, array in self._grids().items()},
            "after": self._after.copy(),
            "added": np.array([self._added], np.int64),
            "cut_places": places,
            "cut_rams": np.array([self._final_rams[row, env] for row, env in places.tolist()], np.uint8).reshape(
                -1, RAM_SIZE
            ),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], n_actions: int) -> None:
        """Restore the result of `arrays` of a buffer of the same size.

        Raises:
            ValueError: If the arrays do not fit this buffer or a game with this many actions.
        """
        self._added = max(int(arrays["added"][0]), 0)
        places = [(int(row), int(env)) for row, env in arrays["cut_places"]]
        contents = {name: array[: len(self)] for name, array in self._grids().items()} | {"after": self._after}
        expected = {name: (array.shape, array.dtype) for name, array in contents.items()}
        expected["cut_rams"] = ((len(places), RAM_SIZE), np.dtype(np.uint8))
        for name, kind in expected.items():
            if (arrays[name].shape, arrays[name].dtype) != kind:
                raise ValueError(f"the replay buffer's {name} has shape {arrays[name].shape}, expected {kind}")
        for name, array in contents.items():
            array[:] = arrays[name]
        if places != [tuple(place) for place in np.argwhere(self._ends == StepEnd.TRUNCATED).tolist()]:
            raise ValueError("the replay buffer's final RAMs do not match its truncated episodes")
        if self._actions.max() >= n_actions or self._ends.max() > max(StepEnd) or not np.isfinite(self._rewards).all():
            raise ValueError("the replay buffer holds invalid actions, ends or rewards")
        self._final_rams = dict(zip(places, arrays["cut_rams"], strict=True))

    def _grids(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "rams": self._rams,
            "actions": self._actions,
            "rewards": self._rewards,
            "starts": self._starts,
            "ends": self._ends,
        }
