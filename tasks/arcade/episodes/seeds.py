"""The episodes of an evaluation: from which seeds they are played, and which of them is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def evaluation_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Reset seeds of evaluation episodes; training's come from the spawn keys (0, i), these from (1, k)."""
    return _seeds(seed, 1, episodes)


def action_seeds(seed: int, episodes: int, of_run: int) -> tuple[int, ...]:
    """Seeds that sample the actions of evaluation episodes.

    Runs of other seeds play the same starts with other actions: what does not learn would play copies otherwise, and
    its seeds would be no evidence of how much it varies.

    Args:
        seed: of the evaluation.
        episodes: how many.
        of_run: the seed of the run that is evaluated.
    """
    return _seeds((seed, of_run), 2, episodes)


def _seeds(entropy: int | tuple[int, int], purpose: int, episodes: int) -> tuple[int, ...]:
    """One for each episode, apart from those of other purposes: spawn keys (purpose, k)."""
    keys = (np.random.SeedSequence(entropy, spawn_key=(purpose, number)) for number in range(episodes))
    return tuple(int(key.generate_state(1)[0]) for key in keys)


def chosen_episode(returns: Sequence[float], choice: Literal["median", "best", "worst"] = "median") -> int:
    """Index of the first episode whose return is the median (the lower one of an even number), highest or lowest.

    Raises:
        ValueError: there is no episode.
    """
    if not returns:
        raise ValueError(f"no episodes: there is no {choice} one")
    place = {"median": (len(returns) - 1) // 2, "best": -1, "worst": 0}[choice]
    return returns.index(sorted(returns)[place])
