"""How exactly a second emulator follows the pictures of a game, measured against the emulator's RAM."""

from __future__ import annotations

import time

import numpy as np
from pydantic import Field

from tasks.arcade.decoding.follower import Follower
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.policies.agent import Agent
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings

_CHANGE = 0.3
"""Probability of another action in a step of random play: at random in every step, a paddle goes nowhere."""


class FollowingReport(Settings):
    """Figures of a second emulator that followed a game's pictures."""

    steps: int = Field(ge=1)
    exact: float = Field(ge=0, le=1, description="Share of the steps in which all 128 bytes were right")
    attainable: float | None = Field(
        default=None,
        description="Mean probability of the likeliest RAM, given the pictures and actions so far: the share of the "
        "steps that any reading of them is expected to get right (null: not measured)",
    )
    wrong_bytes: tuple[int, ...] = Field(description="Bytes that were wrong in any step")
    lost: int = Field(ge=0, description="Number of steps in which no state showed the picture")
    states: float = Field(ge=1, description="Mean number of states that showed the picture")
    ms_per_step: float = Field(ge=0, description="CPU time of following one step, in milliseconds")


def measure_following(game: GameSettings, agent: Agent | None, steps: int, seed: int) -> FollowingReport:
    """Follow a number of steps, over as many episodes as they take, and return the figures.

    Args:
        game: Emulator settings.
        agent: Agent that plays; None: random actions.
        steps: Number of steps.
        seed: Seed of resets and actions.
    """
    emulator, follower, rng = Emulator(game), Follower(game), np.random.default_rng(seed)
    wrong, exact, attainable, lost, states, elapsed, ended = np.zeros(128, bool), 0, 0.0, 0, 0, 0.0, True
    for _ in range(steps):
        if ended:
            emulator.reset(int(rng.integers(2**31)))
            follower.reset(emulator.screen())
            observe, decide = (ObservationBuilder(agent, emulator), agent.start_episode()) if agent else (None, None)
            action, start = 0, True
        if observe and decide:
            action = decide(*observe(emulator.ram.copy(), episode_start=start), float(rng.random()))
        elif rng.random() < _CHANGE:
            action = int(rng.integers(emulator.n_actions))
        _, terminated, truncated = emulator.step(action)
        start, ended, screen = False, terminated or truncated, emulator.screen()
        begin = time.thread_time()
        estimate = follower.step(action, screen)
        elapsed += time.thread_time() - begin
        differs = estimate.ram != emulator.ram
        wrong |= differs
        exact, attainable = exact + (not differs.any()), attainable + estimate.probability
        lost, states = lost + estimate.lost, states + estimate.n_hypotheses
    return FollowingReport(
        steps=steps,
        exact=exact / steps,
        attainable=attainable / steps,
        wrong_bytes=tuple(np.flatnonzero(wrong).tolist()),
        lost=lost,
        states=states / steps,
        ms_per_step=elapsed / steps * 1000,
    )
