"""An episode is reproducible: from its seeds, from its trace, and in all three emulators."""

import hashlib
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from helpers.episodes import UniformPlayer, random_play
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, ale_version, resolve
from tasks.arcade.episodes.playing import play, replay
from tasks.arcade.episodes.seeds import evaluation_seeds, select_episode
from tasks.arcade.episodes.trace import Trace, TraceError, read_trace, write_trace
from tasks.arcade.episodes.verify import verify, verify_decisions
from tasks.arcade.policies.actor_critic import NetworkPolicy, UniformPolicy, weight_shapes
from tasks.arcade.policies.agent import Agent
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import NetworkSettings

GAMES = [
    "Pong",
    "Breakout",
    "Boxing",
    "Asteroids",
    "SpaceInvaders",
    "Seaquest",
    "MsPacman",
    "Qbert",
    "Enduro",
    "AirRaid",
]
KINDS = ["ALE/{}-v5", "{}-ram-v0", "{}-ramNoFrameskip-v4"]


def tampered(trace: Trace, **changes: object) -> Trace:
    return Trace.model_validate({**trace.model_dump(), **changes})


def other(values: tuple[object, ...], at: int, value: object) -> tuple[object, ...]:
    return (*values[:at], value, *values[at + 1 :])


@pytest.fixture(scope="module")
def pong() -> Trace:
    return random_play("ALE/Pong-v5", 80)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("game", GAMES)
def test_random_play_is_the_same_in_training_recording_and_gymnasium(game: str, kind: str) -> None:
    trace = random_play(kind.format(game), 150)
    result = verify(trace)
    assert (result.ok, result.first_difference, result.steps_checked) == (True, None, trace.length), result.message


def test_an_episode_is_played_to_its_end() -> None:
    trace = random_play("Breakout-ramDeterministic-v4", None)
    assert trace.ended == "terminated"
    assert trace.episode_return == sum(trace.rewards) > 0
    assert verify(trace).ok


def test_an_episode_is_truncated_at_the_games_limit_of_frames() -> None:
    trace = random_play("ALE/Pong-v5", None, max_episode_frames=101)
    assert (trace.ended, trace.frames, trace.length) == ("truncated", 101, 26)
    assert verify(trace).ok


def test_equal_seeds_give_equal_traces_and_others_do_not(pong: Trace) -> None:
    assert random_play("ALE/Pong-v5", 80) == pong
    assert random_play("ALE/Pong-v5", 80, seed=8).ram_digest != pong.ram_digest


def test_the_digests_are_the_documented_chain(pong: Trace) -> None:
    emulator = Emulator(pong.game)
    chain = hashlib.sha256(emulator.reset(pong.seed).tobytes()).digest()
    chains = [chain]
    for action in pong.actions:
        emulator.step(action)
        chain = hashlib.sha256(chain + emulator.ram.tobytes()).digest()
        chains.append(chain)
    assert pong.digests == tuple(each.hex()[:8] for each in chains)
    assert pong.ram_digest == chain.hex()


def test_a_player_receives_ram_previous_ram_and_one_uniform_number_per_step() -> None:
    player = UniformPlayer(6)
    trace = play(player, resolve("Pong-v0"), 3, action_seed=4, deterministic=False, max_steps=30)
    rams = [step.ram.tobytes() for step in replay(trace)]
    uniforms = np.random.default_rng(4).random(30).tolist()
    assert player.inputs == list(zip(rams[:-1], [rams[0], *rams[:-2]], uniforms, strict=True))


def test_a_deterministic_player_receives_no_uniform_number() -> None:
    player = UniformPlayer(6)
    play(player, resolve("Pong-v0"), 3, action_seed=4, deterministic=True, max_steps=5)
    assert [uniform for _, _, uniform in player.inputs] == [None] * 5


@pytest.mark.parametrize("resets", [[1], [2], [1, 1], [2, 1], [None, 1]])
def test_passing_the_seed_to_the_constructor_changes_nothing(resets: list[int | None]) -> None:
    made, other = Emulator(resolve("ALE/Pong-v5"), 1), Emulator(resolve("ALE/Pong-v5"))
    for seed in resets:
        made.reset(seed)
    other.reset(resets[-1])
    for _ in range(40):
        made.step(2)
        other.step(2)
        assert (made.ram == other.ram).all()


def test_an_episode_needs_at_least_one_step() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        play(UniformPlayer(6), resolve("Pong-v0"), 3, action_seed=4, deterministic=True, max_steps=0)


def test_a_replay_calls_on_frame_at_the_reset_and_after_every_frame(pong: Trace) -> None:
    emulator = Emulator(pong.game)
    frames: list[int] = []
    steps = list(replay(pong, emulator=emulator, on_frame=lambda: frames.append(emulator.episode_frames)))
    assert frames == list(range(pong.frames + 1))
    assert [step.number for step in steps] == list(range(pong.length + 1))
    assert [step.frame for step in steps] == list(range(0, pong.frames + 1, 4))


@settings(max_examples=5, deadline=None)
@given(at=st.integers(0, 79), by=st.integers(1, 5))
def test_a_changed_reward_is_detected_at_its_step(pong: Trace, at: int, by: int) -> None:
    rewards = other(pong.rewards, at, pong.rewards[at] + by)
    result = verify(tampered(pong, rewards=rewards, episode_return=pong.episode_return + by))
    assert (result.ok, result.first_difference) == (False, at + 1)
    assert result.message == f"reward at step {at + 1} differs from the trace"


@settings(max_examples=5, deadline=None)
@given(at=st.integers(0, 80))
def test_a_changed_digest_is_detected_at_its_step(pong: Trace, at: int) -> None:
    digest = "0123abcd"
    changes: dict[str, object] = {"digests": other(pong.digests, at, digest)}
    if at == pong.length:
        changes["ram_digest"] = digest + pong.ram_digest[8:]
    result = verify(tampered(pong, **changes))
    assert (result.ok, result.first_difference, result.steps_checked) == (False, at, at)
    assert result.message == f"RAM at step {at} differs from the trace"


def test_a_changed_full_digest_is_detected(pong: Trace) -> None:
    result = verify(tampered(pong, ram_digest=pong.digests[-1] + "0" * 56))
    assert (result.ok, result.first_difference) == (False, pong.length)


def first_difference(one: Trace, seed: int, actions: tuple[int, ...]) -> int | None:
    """Return the first step whose RAM differs, computed with emulators alone."""
    left, right = Emulator(one.game), Emulator(one.game)
    if (left.reset(one.seed) != right.reset(seed)).any():
        return 0
    for step, (ours, theirs) in enumerate(zip(one.actions, actions, strict=True), 1):
        left.step(ours)
        right.step(theirs)
        if (left.ram != right.ram).any():
            return step
    return None


@pytest.mark.parametrize("at", [0, 20, 40, 60])
def test_a_changed_action_is_detected_where_the_ram_first_differs(pong: Trace, at: int) -> None:
    action = 3 if pong.actions[at] in (0, 1, 4, 5) else 2  # LEFT instead of RIGHT or NOOP
    actions = tuple(int(str(each)) for each in other(pong.actions, at, action))
    expected = first_difference(pong, pong.seed, actions)
    assert expected is not None and expected > at
    assert verify(tampered(pong, actions=actions)).first_difference == expected


@pytest.mark.parametrize("seed", [8, 9])
def test_a_changed_seed_is_detected_where_the_ram_first_differs(pong: Trace, seed: int) -> None:
    expected = first_difference(pong, seed, pong.actions)
    assert expected is not None
    assert verify(tampered(pong, seed=seed)).first_difference == expected


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ended": "terminated"}, "end at step 80"),
        ({"frames": 319}, "number of frames at step 80"),
        ({"rom_sha256": "0" * 64}, "the ROM pong of ale-py"),
        ({"actions": (17,) * 80}, "action 17 does not exist: ALE/Pong-v5 has 6 actions"),
    ],
)
def test_other_changes_are_detected(pong: Trace, changes: dict[str, object], what: str) -> None:
    result = verify(tampered(pong, **changes))
    assert not result.ok
    assert result.message.startswith(what)


def test_a_trace_longer_than_the_game_differs_where_the_game_ends() -> None:
    trace = random_play("ALE/Pong-v5", 26)
    shorter = {**trace.game.model_dump(), "max_episode_frames": 100}
    result = verify(tampered(trace, game=shorter, frames=100))
    assert (result.first_difference, result.message) == (25, "end at step 25 differs from the trace")


def test_another_version_of_ale_py_is_reported(pong: Trace) -> None:
    result = verify(tampered(pong, ale_py="0.8.1"))
    assert result.ok
    assert (
        result.message
        == f"all 80 steps agree; the trace was made with ale-py 0.8.1, the installed version is {ale_version()}"
    )


def test_a_missing_rom_is_reported(pong: Trace) -> None:
    elsewhere = tampered(pong, game={**pong.game.model_dump(), "rom": "pong_two"})
    assert "has no ROM 'pong_two'" in verify(elsewhere).message
    with pytest.raises(TraceError, match="has no ROM 'pong_two'"):
        list(replay(elsewhere))
    with pytest.raises(UnknownEnvironmentError, match="has no ROM 'pong_two'"):
        play(UniformPlayer(6), elsewhere.game, 1, action_seed=1, deterministic=True, max_steps=1)


def network_agent(seed: int) -> Agent:
    network, generator = NetworkSettings(), np.random.default_rng(seed)
    weights = {
        name: generator.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in weight_shapes(network, 128, 6).items()
    }
    return Agent(Features(FeatureSettings(kind="scaled"), Statistics.empty()), NetworkPolicy(network, 128, weights))


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_checkpoint_repeats_its_decisions_and_another_does_not(deterministic: bool) -> None:
    trace = play(network_agent(1), resolve("ALE/Pong-v5"), 5, action_seed=6, deterministic=deterministic, max_steps=120)
    assert verify_decisions(trace, network_agent(1)).ok
    result = verify_decisions(trace, network_agent(2))
    assert not result.ok
    assert result.first_difference == result.steps_checked
    action = trace.actions[(result.first_difference or 0) - 1]
    assert f"at step {result.first_difference}, the trace has {action}" in result.message


def test_a_changed_action_differs_from_the_players_decision(pong: Trace) -> None:
    features = Features(FeatureSettings(kind="scaled"), Statistics.empty())
    trace = play(Agent(features, UniformPolicy(6)), pong.game, 5, action_seed=6, deterministic=False, max_steps=60)
    changed = tampered(trace, actions=other(trace.actions, 40, (trace.actions[40] + 1) % 6))
    assert verify_decisions(changed, Agent(features, UniformPolicy(6))).first_difference == 41


def test_a_written_trace_reads_back_equal(pong: Trace, tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.trace.json"
    write_trace(pong, path)
    assert read_trace(path) == pong
    assert json.loads(path.read_text())["schema"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8-sig", "\n"), ("utf-16", "\r\n"), ("utf-8", "\r\r\n")])
def test_a_trace_that_was_saved_on_windows_is_read(encoding: str, newline: str, pong: Trace, tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.trace.json"
    path.write_bytes((pong.model_dump_json(indent=1) + "\n\n").replace("\n", newline).encode(encoding))
    assert read_trace(path) == pong


def test_a_failed_write_leaves_no_partial_file(pong: Trace, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_trace(pong, tmp_path / "folder")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it is not valid JSON"),
        ("{", "it is not valid JSON"),
        ("[]", "dictionary"),
        ("[" * 100_000, "it is not valid JSON"),
        ('{"schema": 99}', "has schema 99; this version of ramreel reads up to 1: update ramreel"),
        ('{"schema": 1}', "game: Field required"),
    ],
)
def test_an_invalid_trace_gives_an_error_of_one_line(content: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(content)
    with pytest.raises(TraceError, match=r"trace\.json") as caught:
        read_trace(path)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"length": 79}, "disagree on the number of steps"),
        ({"rewards": []}, "disagree on the number of steps"),
        ({"actions": [], "rewards": [], "digests": ["0" * 8], "length": 0, "frames": 0}, "actions"),
        ({"frames": 79}, "frames is not between"),
        ({"frames": 108_001}, "frames is not between"),
        ({"episode_return": 1000}, "episode_return is not the sum of rewards"),
        ({"ram_digest": "0" * 64}, "ram_digest is not the last of digests"),
        ({"ram_digest": "../../etc/passwd"}, "ram_digest"),
        ({"actions": [-1] * 80}, "actions.0"),
        ({"rewards": [0.5] * 80}, "rewards.0"),
        ({"seed": -1}, "seed"),
        ({"ended": "never"}, "ended"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_inconsistent_trace_is_rejected(pong: Trace, changes: dict[str, object], why: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({**json.loads(pong.model_dump_json()), **changes}))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_or_missing_file_is_rejected(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(64 * 1024**2 + 1)
    with pytest.raises(TraceError, match="larger than 64 MiB"):
        read_trace(huge)
    with pytest.raises(TraceError, match=r"missing\.json does not exist"):
        read_trace(tmp_path / "missing.json")


def test_evaluation_seeds_are_distinct_and_disjoint_from_training_seeds() -> None:
    training = {int(np.random.SeedSequence(0, spawn_key=(0, i)).generate_state(1)[0]) for i in range(1000)}
    evaluation = evaluation_seeds(0, 1000)
    assert len({*evaluation}) == 1000
    assert training.isdisjoint(evaluation)
    assert evaluation[:10] == evaluation_seeds(0, 10)
    assert set(evaluation_seeds(1, 1000)).isdisjoint(evaluation)


@given(returns=st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_the_selected_episode_is_the_first_with_the_selected_return(returns: list[int]) -> None:
    assert select_episode(returns) == returns.index(statistics.median_low(returns))
    assert select_episode(returns, "best") == returns.index(max(returns))
    assert select_episode(returns, "worst") == returns.index(min(returns))


def test_selecting_from_no_episodes_is_an_error() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        select_episode([])
