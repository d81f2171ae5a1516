"""What a player sees through an environment of pictures is, step for step, what it sees in a replay."""

import os
import sys

import gymnasium
import numpy as np
import pytest

from tasks.arcade.emulator.emulator import Emulator, Ram, UnknownGameError, action_names, make_env, resolve
from tasks.arcade.episodes.live_view import NoScreenError, RamInfo, watch
from tasks.arcade.episodes.playing import play
from tasks.arcade.policies.agent import Decide

DISPLAYS = ["DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER"]


class Witness:
    """Any action; keeps what it saw and did."""

    def __init__(self, n_actions: int) -> None:
        self.n_actions = n_actions
        self.seen: list[tuple[bytes, bytes, int]] = []
        self.uses_pixels = False

    def begin(self) -> Decide:
        return self.decide

    def decide(self, ram: Ram, previous: Ram, uniform: float | None) -> int:
        action = ram[:8].sum(dtype=int) % self.n_actions if uniform is None else int(uniform * self.n_actions)
        self.seen.append((ram.tobytes(), previous.tobytes(), int(action)))
        return int(action)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "MsPacman-ram-v0", "BreakoutNoFrameskip-v4", "ALE/KingKong-v5"])
def test_watching_is_what_a_replay_plays(env_id: str, deterministic: bool) -> None:
    game = resolve(env_id)
    n_actions = len(action_names(game))
    played, watched = Witness(n_actions), Witness(n_actions)
    trace = play(played, game, 21, action_seed=22, deterministic=deterministic, max_steps=150)
    episode_return = watch(
        watched, game, 21, action_seed=22, deterministic=deterministic, render_mode="rgb_array", max_steps=150
    )
    assert watched.seen == played.seen
    assert episode_return == trace.episode_return


def test_a_player_on_pixels_is_shown_the_pictures_of_a_replay() -> None:
    game = resolve("ALE/Asteroids-v5")
    players = played, watched = Witness(6), Witness(6)
    for player in players:
        player.uses_pixels = True
    play(played, game, 21, action_seed=22, deterministic=False, max_steps=40)
    watch(watched, game, 21, action_seed=22, deterministic=False, render_mode="rgb_array", max_steps=40)
    assert {len(picture) for picture, *_ in played.seen} == {4 * 84 * 84}
    assert len({picture for picture, *_ in played.seen}) > 30
    assert watched.seen == played.seen


def test_an_episode_is_watched_to_its_end() -> None:
    game = resolve("ALE/Pong-v5").model_copy(update={"max_episode_frames": 101})
    player = Witness(6)
    watch(player, game, 1, action_seed=2, deterministic=False, render_mode="rgb_array")
    assert len(player.seen) == 26


@pytest.mark.parametrize("env_id", ["ALE/Asteroids-v5", "Seaquest-v0"])
def test_every_picture_comes_with_its_ram(env_id: str) -> None:
    game = resolve(env_id)
    emulator, env = Emulator(game), RamInfo(make_env(game, obs_type="rgb"))
    picture, info = env.reset(seed=5)
    kept = [info["ram"]]
    assert (info["ram"] == emulator.reset(5)).all()
    assert (info["previous_ram"] == info["ram"]).all()
    rams = [emulator.ram.copy()]
    for action in np.random.default_rng(6).integers(emulator.n_actions, size=60).tolist():
        picture, *_, info = env.step(action)
        emulator.step(action)
        assert (picture == emulator.screen()).all()
        assert info["ram"].dtype == np.uint8 and info["ram"].shape == (128,)
        assert (info["ram"] == emulator.ram).all()
        assert (info["previous_ram"] == rams[-1]).all()
        rams.append(emulator.ram.copy())
        kept.append(info["ram"])
    assert (np.stack(kept) == np.stack(rams)).all(), "what was kept does not change afterwards"
    assert info["lives"] == emulator.lives
    env.close()


def test_an_environment_that_has_no_ram_is_refused_in_one_line() -> None:
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(UnknownGameError, match=r"CartPole-v1.*no Atari RAM.*ALE/Pong-v5") as caught:
        RamInfo(env)
    env.close()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a screen")
@pytest.mark.parametrize("display", [None, ":4242"])
def test_without_a_screen_record_is_named(display: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(NoScreenError, match=r"no screen.*`ramreel record`") as caught:
        watch(Witness(6), resolve("ALE/Pong-v5"), 1, action_seed=2, deterministic=False)
    assert "\n" not in str(caught.value)
    assert "SDL_VIDEODRIVER" not in os.environ


def test_a_window_shows_the_same_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    game, played, watched = resolve("ALE/Pong-v5"), Witness(6), Witness(6)
    play(played, game, 21, action_seed=22, deterministic=False, max_steps=10)
    watch(watched, game, 21, action_seed=22, deterministic=False, max_steps=10)
    assert watched.seen == played.seen
