"""A player in a Gymnasium environment receives the same observations as in `play`, step for step."""

import os
import sys

import gymnasium
import numpy as np
import pytest

from tasks.arcade.emulator.emulator import Emulator, Ram, action_names
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, resolve
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.episodes.live_view import NoDisplayError, RamInfo, watch
from tasks.arcade.episodes.playing import play
from tasks.arcade.policies.agent import ActionSelector

DISPLAYS = ["DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER"]


class RecordingPlayer:
    """Chooses arbitrary actions; records observations and actions."""

    def __init__(self, n_actions: int) -> None:
        self.n_actions = n_actions
        self.inputs_and_actions: list[tuple[bytes, bytes, int]] = []
        self.uses_pixels = False

    def start_episode(self) -> ActionSelector:
        return self.decide

    def decide(self, ram: Ram, previous: Ram, uniform: float | None) -> int:
        action = ram[:8].sum(dtype=int) % self.n_actions if uniform is None else int(uniform * self.n_actions)
        self.inputs_and_actions.append((ram.tobytes(), previous.tobytes(), int(action)))
        return int(action)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "MsPacman-ram-v0", "BreakoutNoFrameskip-v4", "ALE/KingKong-v5"])
def test_watch_plays_the_same_episode_as_play(env_id: str, deterministic: bool) -> None:
    game = resolve(env_id)
    n_actions = len(action_names(game))
    played, watched = RecordingPlayer(n_actions), RecordingPlayer(n_actions)
    trace = play(played, game, 21, action_seed=22, deterministic=deterministic, max_steps=150)
    episode_return = watch(
        watched, game, 21, action_seed=22, deterministic=deterministic, render_mode="rgb_array", max_steps=150
    )
    assert watched.inputs_and_actions == played.inputs_and_actions
    assert episode_return == trace.episode_return


def test_a_player_on_pixels_observes_the_same_frame_stacks_as_in_play() -> None:
    game = resolve("ALE/Asteroids-v5")
    players = played, watched = RecordingPlayer(6), RecordingPlayer(6)
    for player in players:
        player.uses_pixels = True
    play(played, game, 21, action_seed=22, deterministic=False, max_steps=40)
    watch(watched, game, 21, action_seed=22, deterministic=False, render_mode="rgb_array", max_steps=40)
    assert {len(frame) for frame, *_ in played.inputs_and_actions} == {4 * 84 * 84}
    assert len({frame for frame, *_ in played.inputs_and_actions}) > 30
    assert watched.inputs_and_actions == played.inputs_and_actions


def test_watch_plays_the_episode_to_its_end() -> None:
    game = resolve("ALE/Pong-v5").model_copy(update={"max_episode_frames": 101})
    player = RecordingPlayer(6)
    watch(player, game, 1, action_seed=2, deterministic=False, render_mode="rgb_array")
    assert len(player.inputs_and_actions) == 26


@pytest.mark.parametrize("env_id", ["ALE/Asteroids-v5", "Seaquest-v0"])
def test_every_observation_comes_with_its_ram(env_id: str) -> None:
    game = resolve(env_id)
    emulator, env = Emulator(game), RamInfo(make_env(game, obs_type="rgb"))
    frame, info = env.reset(seed=5)
    infos = [info["ram"]]
    assert (info["ram"] == emulator.reset(5)).all()
    assert (info["previous_ram"] == info["ram"]).all()
    rams = [emulator.ram.copy()]
    for action in np.random.default_rng(6).integers(emulator.n_actions, size=60).tolist():
        frame, *_, info = env.step(action)
        emulator.step(action)
        assert (frame == emulator.screen()).all()
        assert info["ram"].dtype == np.uint8 and info["ram"].shape == (128,)
        assert (info["ram"] == emulator.ram).all()
        assert (info["previous_ram"] == rams[-1]).all()
        rams.append(emulator.ram.copy())
        infos.append(info["ram"])
    assert (np.stack(infos) == np.stack(rams)).all(), "earlier arrays are not overwritten"
    assert info["lives"] == emulator.lives
    env.close()


def test_an_environment_without_ram_gives_an_error_of_one_line() -> None:
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(UnknownEnvironmentError, match=r"CartPole-v1.*no Atari RAM.*ALE/Pong-v5") as caught:
        RamInfo(env)
    env.close()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
@pytest.mark.parametrize("display", [None, ":4242"])
def test_without_a_display_the_error_suggests_record(display: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(NoDisplayError, match=r"No display.*`ramreel record`") as caught:
        watch(RecordingPlayer(6), resolve("ALE/Pong-v5"), 1, action_seed=2, deterministic=False)
    assert "\n" not in str(caught.value)
    assert "SDL_VIDEODRIVER" not in os.environ


def test_a_window_shows_the_same_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    game, played, watched = resolve("ALE/Pong-v5"), RecordingPlayer(6), RecordingPlayer(6)
    play(played, game, 21, action_seed=22, deterministic=False, max_steps=10)
    watch(watched, game, 21, action_seed=22, deterministic=False, max_steps=10)
    assert watched.inputs_and_actions == played.inputs_and_actions
