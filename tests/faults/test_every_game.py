"""An environment restored in the middle of an episode continues identically, in every game."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.scale import sized

from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.emulator.environment_ids import environment_ids, resolve
from tasks.arcade.rollouts.environment import Environment

GAMES = [name for name in environment_ids() if name.endswith(("-v5", "-v0")) and "-ram" not in name]
SOME = ["ALE/Pong-v5", "ALE/Qbert-v5", "Seaquest-v0", "MontezumaRevenge-v0"]


def environment(env_id: str) -> Environment:
    ram, previous = np.zeros((2, 128), np.uint8)
    return Environment(resolve(env_id), 11, 3, ram, previous)


@pytest.mark.parametrize("env_id", sized(SOME, GAMES))
def test_restored_environment_continues_identically(env_id: str) -> None:
    first, second = environment(env_id), environment(env_id)
    n_actions = len(action_names(resolve(env_id)))
    rng = np.random.default_rng(sum(env_id.encode()))
    for action in rng.integers(n_actions, size=rng.integers(150, 400)).tolist():
        if any(first.step(action)[1:]):
            first.start_next_episode()
    # Not at the start of an episode, where restoring ALE's state alone is exact.
    while first.length < 20:
        if any(first.step(int(rng.integers(n_actions)))[1:]):
            first.start_next_episode()
    second.restore(first.snapshot()())
    assert (second.length, second.episode_return) == (first.length, first.episode_return)
    for action in rng.integers(n_actions, size=250).tolist():
        outcome = first.step(action)
        assert second.step(action) == outcome
        assert (second.ram == first.ram).all()
        assert second.uniforms(1) == first.uniforms(1)
        if any(outcome[1:]):
            first.start_next_episode()
            second.start_next_episode()
            assert (second.ram == first.ram).all()
