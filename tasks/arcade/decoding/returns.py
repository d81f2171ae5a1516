"""Returns of a policy that was trained on RAM when it plays from true, decoded and followed RAM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from tasks.arcade.decoding.decoder import DecodedEpisode, Decoder
from tasks.arcade.decoding.follower import Follower
from tasks.arcade.emulator.emulator import Emulator, Ram
from tasks.arcade.policies.agent import Agent
from tasks.arcade.settings.game import GameSettings

RamSource = Literal["true", "followed", "decoded", "random"]
SOURCES: tuple[RamSource, ...] = ("true", "followed", "decoded", "random")
"""What the policy observes; `random` plays random actions instead."""

_Observer = Callable[[int | None], Ram]
"""Returns the observed RAM after an action; None is the reset."""


def play_returns(
    game: GameSettings, agent: Agent, decoder: Decoder, source: RamSource, episodes: int, seed: int
) -> tuple[float, ...]:
    """Play whole episodes and return their returns; the seeds are the same for every source.

    Args:
        game: Emulator settings.
        agent: Agent on RAM.
        decoder: Decoder of the game.
        source: What the agent observes.
        episodes: Number of episodes.
        seed: Seed of resets and actions.
    """
    emulator = Emulator(game)
    observe = _observer(emulator, decoder, source)
    return tuple(_play(emulator, agent, observe, source, seed + number) for number in range(episodes))


def _observer(emulator: Emulator, decoder: Decoder, source: RamSource) -> _Observer:
    if source == "decoded":
        episode = DecodedEpisode(decoder)

        def decode(action: int | None) -> Ram:
            screen = emulator.screen()
            return (episode.reset(screen) if action is None else episode.step(screen)).ram

        return decode
    if source == "followed":
        follower = Follower(emulator.settings)

        def follow(action: int | None) -> Ram:
            screen = emulator.screen()
            return (follower.reset(screen) if action is None else follower.step(action, screen)).ram

        return follow
    return lambda _: emulator.ram.copy()


def _play(emulator: Emulator, agent: Agent, observe: _Observer, source: RamSource, seed: int) -> float:
    rng, select = np.random.default_rng(seed), agent.start_episode()
    emulator.reset(seed)
    ram = previous = observe(None)
    total, ended = 0.0, False
    while not ended:
        uniform = float(rng.random())
        action = int(uniform * emulator.n_actions) if source == "random" else select(ram, previous, uniform)
        reward, terminated, truncated = emulator.step(action)
        total, ended = total + reward, terminated or truncated
        previous, ram = ram, observe(action)
    return total
