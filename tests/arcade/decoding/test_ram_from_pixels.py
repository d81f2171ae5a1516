"""The RAM behind pictures equals the emulator's, without reading it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from helpers.decoders import ram_of
from helpers.unreadable import UnreadableState

from tasks.arcade.decoding.follower import Follower
from tasks.arcade.decoding.measure_following import measure_following
from tasks.arcade.decoding.wrapper import RamFromPixels
from tasks.arcade.emulator.emulator import Emulator, silence_ale
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, resolve

Bytes = npt.NDArray[np.uint8]


def pixel_env(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    silence_ale()
    return gymnasium.make(env_id, obs_type="rgb", **kwargs)


def play(env: gymnasium.Env[Any, Any], steps: int, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Play held random actions; return where inferred and true RAM agree, and the confidence: (steps, 128) each."""
    rng = np.random.default_rng(seed)
    ram, info = env.reset(seed=seed)
    assert np.array_equal(ram, ram_of(env))
    assert not info["ram_lost"]
    agree, confidence, action = [], [], 0
    for _ in range(steps):
        if rng.random() < 0.5:
            action = int(rng.integers(env.action_space.n))
        ram, _, terminated, truncated, info = env.step(action)
        agree.append(ram == ram_of(env))
        confidence.append(info["ram_confidence"])
        if terminated or truncated:
            ram, info = env.reset()
            assert not info["ram_lost"]
    return np.array(agree), np.array(confidence)


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "ALE/Freeway-v5", "ALE/SpaceInvaders-v5"])
def test_all_bytes_are_exact_with_sticky_actions(env_id: str) -> None:
    agree, confidence = play(RamFromPixels(pixel_env(env_id)), 250, seed=3)
    assert agree.all(axis=1).mean() >= 0.99
    assert (confidence[~agree] < 1).all()


def test_random_frame_skip_is_followed() -> None:
    """How many frames a step took is inferred as well; where the picture does not tell, confidence does."""
    agree, confidence = play(RamFromPixels(pixel_env("ALE/Pong-v5", frameskip=(2, 5))), 60, seed=1)
    assert agree.mean() > 0.99
    assert (confidence[~agree] < 1).all()


def test_next_episode_starts_from_the_end_of_the_last_one() -> None:
    """Seaquest keeps a byte of its state over a reset without a seed."""
    env = RamFromPixels(pixel_env("ALE/Seaquest-v5", max_num_frames_per_episode=120))
    agree, _ = play(env, 150, seed=2)
    assert agree.all(axis=1).mean() > 0.95


def test_confidence_is_the_share_of_right_bytes() -> None:
    """What Breakout draws until the ball is served does not determine its byte 70."""
    agree, confidence = play(RamFromPixels(pixel_env("ALE/Breakout-v5")), 400, seed=5)
    unsure = confidence < 0.99
    assert set(np.flatnonzero(unsure.any(axis=0))) == {70}
    assert agree[~unsure].all()
    assert abs(agree[unsure].mean() - confidence[unsure].mean()) < 0.15


def test_no_reading_of_the_pictures_is_expected_to_be_right_more_often() -> None:
    """The likeliest RAM is right as often as its probability says: what is missing, no picture has shown so far."""
    figures = measure_following(resolve("ALE/Boxing-v5"), None, 500, seed=2)
    assert figures.attainable is not None
    assert 0.9 < figures.attainable < 1
    assert abs(figures.exact - figures.attainable) < 0.05


def test_the_environments_state_is_never_read() -> None:
    env = pixel_env("ALE/Pong-v5")
    wrapped = RamFromPixels(env)
    env.reset(seed=1)
    interface: Any = env.unwrapped
    truth, interface.ale = interface.ale, UnreadableState(interface.ale)
    # Without a seed: ale-py loads the ROM through its own interface.
    wrapped.reset()
    for action in (1, 2, 2, 3, 0) * 8:
        ram, *_, info = wrapped.step(action)
        assert np.array_equal(ram, truth.getRAM())
        assert not info["ram_lost"]


def test_lost_states_are_reported_and_found_again() -> None:
    settings = resolve("ALE/Pong-v5")
    emulator, follower = Emulator(settings, 4), Follower(settings)
    emulator.reset(4)
    follower.reset(emulator.screen())
    for step in range(40):
        emulator.step(step % 3)
        screen = emulator.screen()
        if step == 20:
            screen = np.zeros_like(screen)
        estimate = follower.step(step % 3, screen)
        assert estimate.lost == (step == 20)
        assert bool(estimate.confidence.any()) == (step != 20)
        if step != 20:
            assert np.array_equal(estimate.ram, emulator.ram)


def test_another_palette_is_rejected() -> None:
    env = pixel_env("ALE/Breakout-v5")
    wrapped = RamFromPixels(gymnasium.wrappers.TransformObservation(env, lambda screen: 255 - screen, None))
    with pytest.raises(UnknownEnvironmentError, match="other colors than the start of ALE/Breakout-v5"):
        wrapped.reset(seed=1)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (lambda: gymnasium.make("CartPole-v1"), "has no Atari RAM"),
        (lambda: gymnasium.make("ALE/Pong-v5", obs_type="grayscale"), r"shape \(210, 160\) instead of \(210, 160, 3\)"),
        (lambda: gymnasium.make("ALE/Pong-v5", obs_type="ram"), r"shape \(128,\) instead of \(210, 160, 3\)"),
        (
            lambda: gymnasium.wrappers.TransformAction(
                pixel_env("ALE/Pong-v5"), lambda action: action, gymnasium.spaces.Discrete(3)
            ),
            r"Discrete\(3\) instead of Discrete\(6\)",
        ),
    ],
)
def test_other_environments_are_rejected(env: Any, message: str) -> None:
    with pytest.raises(UnknownEnvironmentError, match=message):
        RamFromPixels(env())
