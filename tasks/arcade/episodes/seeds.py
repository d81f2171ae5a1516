"""Seeds of evaluation episodes, and selection of the episode that is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def evaluation_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return reset seeds of evaluation episodes.

    They come from the spawn keys (1, k) and are disjoint from the training seeds, which come from (0, i).
    """
    return _seeds(seed, 1, episodes)


def action_seeds(seed: int, episodes: int, run_seed: int) -> tuple[int, ...]:
    """Return seeds of the generators that sample the actions of evaluation episodes.

    Runs of different seeds sample different actions from the same resets. Otherwise an approach that does not learn
    would play identical episodes under every seed, and its seeds would show no variance.

    Args:
        seed: Seed of the evaluation.
        episodes: Number of episodes.
        run_seed: Seed of the evaluated run.
    """
    return _seeds((seed, run_seed), 2, episodes)


def _seeds(entropy: int | tuple[int, int], purpose: int, episodes: int) -> tuple[int, ...]:
    """Return one seed per episode from the spawn keys (purpose, k)."""
    keys = (np.random.SeedSequence(entropy, spawn_key=(purpose, number)) for number in range(episodes))
    return tuple(int(key.generate_state(1)[0]) for key in keys)


def select_episode(returns: Sequence[float], selection: Literal["median", "best", "worst"] = "median") -> int:
    """Return the index of the first episode with the median, highest or lowest return.

    The median of an even number of returns is the lower of the two middle ones.

    Raises:
        ValueError: `returns` is empty.
    """
    if not returns:
        raise ValueError(f"Cannot select the {selection} of no episodes")
    place = {"median": (len(returns) - 1) // 2, "best": -1, "worst": 0}[selection]
    return returns.index(sorted(returns)[place])
