"""A small decoder of Breakout, trained in seconds, and the RAM that it is compared with."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.decoder import Decoder
from tasks.arcade.decoding.fit import Split, fit_decoder, split_by_episode
from tasks.arcade.decoding.pairs import Pairs, gather_pairs
from tasks.arcade.emulator.environment_ids import resolve


@cache
def small_decoder() -> tuple[Decoder, Pairs, Split]:
    """Return a decoder, its pairs and their split."""
    game = resolve("ALE/Breakout-v5")
    pairs = gather_pairs(game, [], 2500, seed=1)
    split = split_by_episode(pairs.episodes, seed=1)
    return fit_decoder(game, pairs, split, epochs=3, seed=1, log=lambda _: None), pairs, split


def ram_of(env: gymnasium.Env[Any, Any]) -> npt.NDArray[np.uint8]:
    """Return a copy of the RAM behind ale-py's environment."""
    return np.asarray(env.unwrapped.ale.getRAM())  # type: ignore[attr-defined]
