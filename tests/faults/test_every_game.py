"""An environment in the middle of an episode goes on elsewhere as if nothing had happened, in every game."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.scale import sized

from tasks.arcade.emulator.emulator import action_names, environment_ids, resolve
from tasks.arcade.rollouts.environment import Environment

GAMES = [name for name in environment_ids() if name.endswith(("-v5", "-v0")) and "-ram" not in name]
SOME = ["ALE/Pong-v5", "ALE/Qbert-v5", "Seaquest-v0", "MontezumaRevenge-v0"]


def environment(env_id: str) -> Environment:
    ram, previous = np.zeros((2, 128), np.uint8)
    return Environment(resolve(env_id), 11, 3, ram, previous)


@pytest.mark.parametrize("env_id", sized(SOME, GAMES))
def test_it_goes_on_as_if_nothing_had_happened(env_id: str) -> None:
    first, second = environment(env_id), environment(env_id)
    n_actions = len(action_names(resolve(env_id)))
    chance = np.random.default_rng(sum(env_id.encode()))
    for action in chance.integers(n_actions, size=chance.integers(150, 400)).tolist():
        if any(first.step(action)[1:]):
            first.begin_next()
    # Not right after an episode's start: there even a state of ALE's alone would do.
    while first.length < 20:
        if any(first.step(int(chance.integers(n_actions)))[1:]):
            first.begin_next()
    second.restore(first.mark()())
    assert (second.length, second.episode_return) == (first.length, first.episode_return)
    for action in chance.integers(n_actions, size=250).tolist():
        outcome = first.step(action)
        assert second.step(action) == outcome
        assert (second.ram == first.ram).all()
        assert second.uniforms(1) == first.uniforms(1)
        if any(outcome[1:]):
            first.begin_next()
            second.begin_next()
            assert (second.ram == first.ram).all()
