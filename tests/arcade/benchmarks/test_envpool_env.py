"""EnvPool plays the same games as ramreel's emulator, and ends and starts episodes as Stable-Baselines3 expects."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tasks.arcade.benchmarks.envpool_env import EnvPoolVecEnv, measure_random_play, unavailable
from tasks.arcade.emulator.emulator import Emulator, Ram
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import FeatureArray, Features
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.game import GameSettings

FEATURES = approach("ppo-tuned").features


def without_sticky_actions(env_id: str, **changes: int) -> GameSettings:
    """Settings of a deterministic game."""
    return resolve(env_id).model_copy(update={"repeat_action_probability": 0.0, **changes})


class FrameByFrame:
    """ramreel's emulator, with the frame without an action that EnvPool adds to every reset."""

    def __init__(self, game: GameSettings) -> None:
        self._emulator = Emulator(game.model_copy(update={"frame_skip": 1}))

    def reset(self) -> Ram:
        self._emulator.reset()
        self._emulator.step(0)
        return self._emulator.ram.copy()

    def step(self, action: int) -> tuple[Ram, float, bool]:
        reward, ended = 0.0, False
        for _ in range(4):
            if not ended:
                frame_reward, ended, _ = self._emulator.step(action)
                reward += frame_reward
        return self._emulator.ram.copy(), reward, ended


def features(ram: Ram, previous: Ram) -> FeatureArray:
    return Features(FEATURES, Statistics.empty())(ram[None], previous[None])[0]


def test_observations_rewards_and_ends_are_those_of_the_emulator() -> None:
    pytest.importorskip("envpool")
    game = without_sticky_actions("ALE/Breakout-v5")
    env, emulators = EnvPoolVecEnv(game, FEATURES, 2, 2), [FrameByFrame(game), FrameByFrame(game)]
    generator, previous = np.random.default_rng(0), [emulator.reset() for emulator in emulators]
    assert env.action_space.n == 4
    assert np.array_equal(env.reset(), [features(ram, ram) for ram in previous])
    episodes, rewards_seen = 0, 0.0
    for _ in range(600):
        actions = generator.integers(4, size=2)
        observations, rewards, dones, infos = env.step(actions)
        for row, emulator in enumerate(emulators):
            ram, reward, ended = emulator.step(int(actions[row]))
            expected = features(ram, previous[row])
            assert (rewards[row], dones[row]) == (reward, ended)
            if ended:
                assert np.array_equal(infos[row]["terminal_observation"], expected)
                assert infos[row]["TimeLimit.truncated"] is False
                ram = emulator.reset()
                expected = features(ram, ram)
            else:
                assert infos[row] == {}
            assert np.array_equal(observations[row], expected)
            previous[row] = ram
            episodes, rewards_seen = episodes + ended, rewards_seen + reward
    env.close()
    assert episodes >= 2
    assert rewards_seen > 0


def test_an_episode_is_truncated_after_its_frames() -> None:
    pytest.importorskip("envpool")
    env = EnvPoolVecEnv(without_sticky_actions("ALE/Pong-v5", max_episode_frames=12), FEATURES, 2, 1)
    start = env.reset()
    for _ in range(2):
        ends = [env.step(np.zeros(2, np.int64)) for _ in range(3)]
        assert [dones.tolist() for _, _, dones, _ in ends] == [[False] * 2, [False] * 2, [True] * 2]
        assert all(info["TimeLimit.truncated"] is True for info in ends[-1][3])
        assert np.array_equal(ends[-1][0], start), "the next episode has started"
    env.close()


def test_random_play_counts_steps_without_resets() -> None:
    pytest.importorskip("envpool")
    assert measure_random_play(without_sticky_actions("ALE/Pong-v5", max_episode_frames=4), 4, 2, 64) > 0


@pytest.mark.parametrize(
    ("game", "reason"),
    [
        (resolve("Pong-v0"), "it skips a fixed number of frames, and Pong-v0 a random one"),
        (resolve("ALE/Pong-v5").model_copy(update={"rom": "joust"}), "it does not have ALE/Pong-v5"),
        (resolve("ALE/TicTacToe3D-v5"), None),
    ],
)
def test_games_that_envpool_cannot_play_have_a_reason(game: GameSettings, reason: str | None) -> None:
    pytest.importorskip("envpool")
    assert unavailable(game) == reason


def test_without_envpool_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert unavailable(resolve("ALE/Pong-v5")) == "it is not installed: pip install envpool"
