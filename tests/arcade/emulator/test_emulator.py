"""The emulator equals Gymnasium's environment step for step, and every id keeps its meaning."""

import numpy as np
import pytest

from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, environment_ids, resolve
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.settings.game import GameSettings

GAMES = ["Pong", "Breakout", "Boxing", "Freeway", "SpaceInvaders", "Seaquest", "MsPacman", "Qbert", "Enduro", "Venture"]
KINDS = ["ALE/{}-v5", "{}-ram-v0", "{}-ram-v4", "{}-ramNoFrameskip-v4", "{}-ramDeterministic-v0"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("game", GAMES)
def test_the_emulator_equals_gymnasiums_ram_environment_step_for_step(game: str, kind: str) -> None:
    settings = resolve(kind.format(game))
    emulator, env = Emulator(settings), make_env(settings, obs_type="ram")
    assert (emulator.reset(11) == env.reset(seed=11)[0]).all()
    actions = np.random.default_rng(5).integers(emulator.n_actions, size=250)
    for step, action in enumerate(actions.tolist()):
        reward, terminated, truncated = emulator.step(action)
        ram, *expected, _ = env.step(action)
        assert (emulator.ram == ram).all(), f"step {step}"
        assert [reward, terminated, truncated] == expected, f"step {step}"
        if terminated or truncated:
            assert (emulator.reset() == env.reset()[0]).all()
    env.close()


def test_the_time_limit_truncates_as_gymnasiums_does() -> None:
    settings = resolve("ALE/Pong-v5").model_copy(update={"max_episode_frames": 203})
    emulator, env = Emulator(settings), make_env(settings)
    emulator.reset(3)
    env.reset(seed=3)
    ends = []
    for _ in range(52):
        ours, theirs = emulator.step(0), env.step(0)
        assert ours == theirs[1:4]
        ends.append(ours[2])
    env.close()
    assert ends.index(True) == 50, "the 203rd frame lies in the 51st step of 4 frames"


@pytest.mark.parametrize(
    ("env_id", "canonical", "frame_skip", "sticky"),
    [
        ("ALE/Pong-v5", "ALE/Pong-v5", 4, 0.25),
        ("ALE/Pong-ram-v5", "ALE/Pong-v5", 4, 0.25),
        ("Pong-ram-v0", "Pong-v0", (2, 5), 0.25),
        ("Pong-v0", "Pong-v0", (2, 5), 0.25),
        ("Pong-ram-v4", "Pong-v4", (2, 5), 0.0),
        ("Pong-ramNoFrameskip-v4", "PongNoFrameskip-v4", 1, 0.0),
        ("Pong-ramNoFrameskip-v0", "PongNoFrameskip-v0", 1, 0.25),
        ("Breakout-ramDeterministic-v4", "BreakoutDeterministic-v4", 4, 0.0),
        ("BreakoutDeterministic-v0", "BreakoutDeterministic-v0", 4, 0.25),
        ("SpaceInvaders-ramDeterministic-v4", "SpaceInvadersDeterministic-v4", 3, 0.0),
        ("MontezumaRevenge-ram-v0", "MontezumaRevenge-v0", (2, 5), 0.25),
    ],
)
def test_an_id_resolves_to_its_original_settings(
    env_id: str, canonical: str, frame_skip: int | tuple[int, int], sticky: float
) -> None:
    settings = resolve(env_id)
    assert (settings.env_id, settings.frame_skip) == (canonical, frame_skip)
    assert settings.repeat_action_probability == sticky


def test_every_registered_id_makes_an_emulator() -> None:
    roms = {settings.rom: settings for settings in map(resolve, environment_ids())}
    assert len(roms) > 100
    for settings in roms.values():
        assert Emulator(settings).reset().shape == (128,)


@pytest.mark.parametrize(
    ("env_id", "hint"),
    [
        ("ALE/Pnog-v5", "Unknown environment 'ALE/Pnog-v5'. Did you mean 'ALE/Pong-v5'"),
        ("Pong", "ALE/Pong-v5"),
        ("Breakout-v5", "ALE/Breakout-v5"),
        ("ALE/breakout-v5", "ALE/Breakout-v5"),
        ("CartPole-v1", "no Atari RAM"),
        ("", "ramreel games"),
        ("../../etc/passwd", "ramreel games"),
    ],
)
def test_an_unknown_id_gives_an_error_of_one_line_with_a_suggestion(env_id: str, hint: str) -> None:
    with pytest.raises(UnknownEnvironmentError) as caught:
        resolve(env_id)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("game", [*GAMES, "MontezumaRevenge", "Skiing"])
@pytest.mark.parametrize("kind", ["ALE/{}-v5", "{}-v0"])
def test_an_episodes_start_and_actions_restore_an_emulator(game: str, kind: str) -> None:
    settings = resolve(kind.format(game))
    first = Emulator(settings)
    first.reset(2)
    actions = np.random.default_rng(9).integers(first.n_actions, size=500).tolist()
    start = first.episode_start()
    outcomes = [(first.step(action), first.ram.copy()) for action in actions]
    second = Emulator(settings)
    second.restore(start)
    for (outcome, ram), action in zip(outcomes, actions, strict=True):
        assert second.step(action) == outcome
        assert (second.ram == ram).all()


def test_reading_every_frame_changes_nothing() -> None:
    settings = resolve("ALE/Pong-v5")
    plain, watched = Emulator(settings), Emulator(settings)
    plain.reset(4)
    watched.reset(4)
    frames = 0

    def on_frame() -> None:
        nonlocal frames
        frames += 1
        assert watched.screen().shape == (*watched.screen_size, 3)

    for action in np.random.default_rng(1).integers(6, size=300).tolist():
        assert plain.step(action) == watched.step(action, on_frame)
        assert (plain.ram == watched.ram).all()
    assert frames == 1200 == watched.episode_frames


@pytest.mark.parametrize("frame_skip", [0, -1, (3, 3), (5, 2), (0, 4), 61])
def test_an_invalid_frame_skip_is_rejected(frame_skip: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="frame_skip"):
        GameSettings(env_id="x", rom="pong", frame_skip=frame_skip, repeat_action_probability=0)


@pytest.mark.parametrize(("env_id", "frames"), [("ALE/Pong-v5", 4), ("PongNoFrameskip-v4", 1), ("Pong-v0", 3)])
def test_frames_per_step_are_the_mean_of_a_random_frame_skip(env_id: str, frames: float) -> None:
    assert resolve(env_id).frames_per_step == frames
