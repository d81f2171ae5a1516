"""The replay buffer: the last steps of every environment, as RAM, from which transitions are drawn.

Kept are bytes, not features: features depend on statistics that grow with training, so they are computed when a batch
is drawn, with the statistics that the policy now plays with, and old steps mean what new ones mean. Rewards are kept as
the game gave them, for the same reason. A step is kept once: the RAM before it and the RAM after it are its neighbors'
in the same environment, which makes about 135 bytes a step (100,000 steps: 13.5 MB), in memory and in a checkpoint.
Only where the time limit cut an episode is the RAM after it kept besides, 128 bytes.
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
from tasks.arcade.rollouts.off_policy import End, Transitions


@dataclass(frozen=True)
class Batch:
    """Transitions, one a row.

    Attributes:
        rams: uint8 (n, 128).
        previous: uint8 (n, 128), the RAM one step before; at an episode's start the RAM itself.
        actions: int64 (n,).
        rewards: float32 (n,), the game's own.
        next_rams: uint8 (n, 128), the RAM one step later; of no meaning where the episode has terminated.
        terminated: bool (n,); the time limit's cut is no end of the game.
        lost: bool (n,), where a life was lost and the episode went on.
    """

    rams: Rams
    previous: Rams
    actions: npt.NDArray[np.int64]
    rewards: Floats
    next_rams: Rams
    terminated: npt.NDArray[np.bool_]
    lost: npt.NDArray[np.bool_]


class TransitionBuffer:
    """A ring of the last steps.

    Args:
        size: steps of all environments together that it holds, about.
        n_envs: environments.

    Attributes:
        rows: steps of each environment that it holds.
    """

    def __init__(self, size: int, n_envs: int) -> None:
        # The oldest row of a full ring is never drawn, for the RAM before it is gone: one alone would not do.
        self.rows = max(size // n_envs, 2)
        grid = (self.rows, n_envs)
        self._rams = np.zeros((*grid, RAM_SIZE), np.uint8)
        self._actions = np.zeros(grid, np.uint8)
        self._rewards = np.zeros(grid, np.float32)
        self._starts = np.zeros(grid, np.bool_)
        self._ends = np.zeros(grid, np.uint8)
        self._after = np.zeros((n_envs, RAM_SIZE), np.uint8)
        self._cuts: dict[tuple[int, int], Ram] = {}
        self._added = 0

    def __len__(self) -> int:
        """Steps of each environment that are there."""
        return min(self._added, self.rows)

    def add(self, played: Transitions) -> None:
        """Keep a rollout, in the place of the oldest steps; of one longer than the ring its last steps."""
        n_steps = len(played.rams)
        kept = slice(max(n_steps - self.rows, 0), n_steps)
        rows = (self._added + np.arange(kept.start, kept.stop)) % self.rows
        self._rams[rows], self._actions[rows] = played.rams[kept], played.actions[kept]
        self._rewards[rows], self._starts[rows] = played.rewards[kept], played.starts[kept]
        self._ends[rows] = played.ends[kept]
        over = set(rows.tolist())
        self._cuts = {place: ram for place, ram in self._cuts.items() if place[0] not in over}
        for at, env in np.argwhere(played.ends[kept] == End.TRUNCATED).tolist():
            self._cuts[int(rows[at]), env] = played.next_rams[kept][at, env].copy()
        self._after = played.next_rams[-1].copy()
        self._added += n_steps

    def cut(self) -> None:
        """What is added next is of other episodes: those under way end here, as if by the time limit."""
        if self._added:
            newest = (self._added - 1) % self.rows
            for env in np.flatnonzero(np.isin(self._ends[newest], (End.NONE, End.LOST_LIFE))).tolist():
                self._cuts[newest, env] = self._after[env]
                self._ends[newest, env] = End.TRUNCATED

    def draw(self, n: int) -> Batch:
        """Draw n transitions, any of them as likely, by NumPy's global generator, as Stable-Baselines3 does."""
        if self._added >= self.rows:
            rows = (self._added + np.random.randint(1, self.rows, n)) % self.rows
        else:
            rows = np.random.randint(0, self._added, n)
        envs = np.random.randint(0, len(self._after), n)
        rams, ends = self._rams[rows, envs], self._ends[rows, envs]
        newest = rows == (self._added - 1) % self.rows
        next_rams = np.where(newest[:, None], self._after[envs], self._rams[(rows + 1) % self.rows, envs])
        for at in np.flatnonzero(ends == End.TRUNCATED):
            next_rams[at] = self._cuts[int(rows[at]), int(envs[at])]
        return Batch(
            rams=rams,
            previous=np.where(self._starts[rows, envs, None], rams, self._rams[rows - 1, envs]),
            actions=self._actions[rows, envs].astype(np.int64),
            rewards=self._rewards[rows, envs],
            next_rams=next_rams,
            terminated=ends == End.TERMINATED,
            lost=ends == End.LOST_LIFE,
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that it holds, as plain arrays, for a checkpoint; copies."""
        places = np.array(sorted(self._cuts), np.int64).reshape(-1, 2)
        return {
            **{name: array[: len(self)].copy() for name, array in self._grids().items()},
            "after": self._after.copy(),
            "added": np.array([self._added], np.int64),
            "cut_places": places,
            "cut_rams": np.array([self._cuts[row, env] for row, env in places.tolist()], np.uint8).reshape(
                -1, RAM_SIZE
            ),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], n_actions: int) -> None:
        """Hold what `arrays` gave, of a buffer as large.

        Raises:
            ValueError: it is not what such a buffer of a game with so many actions can hold.
        """
        self._added = max(int(arrays["added"][0]), 0)
        places = [(int(row), int(env)) for row, env in arrays["cut_places"]]
        held = {name: array[: len(self)] for name, array in self._grids().items()} | {"after": self._after}
        wanted = {name: (array.shape, array.dtype) for name, array in held.items()}
        wanted["cut_rams"] = ((len(places), RAM_SIZE), np.dtype(np.uint8))
        for name, kind in wanted.items():
            if (arrays[name].shape, arrays[name].dtype) != kind:
                raise ValueError(f"the replay buffer's {name} should be {kind}, not {arrays[name].shape}")
        for name, array in held.items():
            array[:] = arrays[name]
        if places != [tuple(place) for place in np.argwhere(self._ends == End.TRUNCATED).tolist()]:
            raise ValueError("the replay buffer's cuts are not where episodes were cut")
        if self._actions.max() >= n_actions or self._ends.max() > max(End) or not np.isfinite(self._rewards).all():
            raise ValueError("the replay buffer holds actions, ends or rewards that there are not")
        self._cuts = dict(zip(places, arrays["cut_rams"], strict=True))

    def _grids(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "rams": self._rams,
            "actions": self._actions,
            "rewards": self._rewards,
            "starts": self._starts,
            "ends": self._ends,
        }
