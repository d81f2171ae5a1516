"""An episode is the same for ever: by a player, from its trace, in training's, recording's and Gymnasium's emulators."""

import hashlib
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from helpers.episodes import AnyAction, random_play
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, ale_version, resolve
from tasks.arcade.episodes.playing import play, replay
from tasks.arcade.episodes.seeds import chosen_episode, evaluation_seeds
from tasks.arcade.episodes.trace import Trace, TraceError, read_trace, write_trace
from tasks.arcade.episodes.verify import verify, verify_decisions
from tasks.arcade.policies.actor_critic import NetworkPolicy, UniformPolicy, weight_shapes
from tasks.arcade.policies.agent import Agent
from tasks.arcade.policies.features import Features, Statistics
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
def test_random_play_is_the_same_in_training_videoing_and_gymnasium(game: str, kind: str) -> None:
    trace = random_play(kind.format(game), 150)
    found = verify(trace)
    assert (found.ok, found.first_difference, found.steps_checked) == (True, None, trace.length), found.what


def test_an_episode_is_played_to_its_end() -> None:
    trace = random_play("Breakout-ramDeterministic-v4", None)
    assert trace.ended == "terminated"
    assert trace.episode_return == sum(trace.rewards) > 0
    assert verify(trace).ok


def test_an_episode_is_truncated_at_the_games_limit_of_frames() -> None:
    trace = random_play("ALE/Pong-v5", None, max_episode_frames=101)
    assert (trace.ended, trace.frames, trace.length) == ("truncated", 101, 26)
    assert verify(trace).ok


def test_the_same_seeds_give_equal_traces_and_others_do_not(pong: Trace) -> None:
    assert random_play("ALE/Pong-v5", 80) == pong
    assert random_play("ALE/Pong-v5", 80, seed=8).ram_digest != pong.ram_digest


def test_the_digests_are_the_chain_that_the_trace_promises(pong: Trace) -> None:
    emulator = Emulator(pong.game)
    chain = hashlib.sha256(emulator.reset(pong.seed).tobytes()).digest()
    chains = [chain]
    for action in pong.actions:
        emulator.step(action)
        chain = hashlib.sha256(chain + emulator.ram.tobytes()).digest()
        chains.append(chain)
    assert pong.digests == tuple(each.hex()[:8] for each in chains)
    assert pong.ram_digest == chain.hex()


def test_a_player_is_given_the_ram_the_ram_before_and_one_number_a_step() -> None:
    player = AnyAction(6)
    trace = play(player, resolve("Pong-v0"), 3, action_seed=4, deterministic=False, max_steps=30)
    rams = [step.ram.tobytes() for step in replay(trace)]
    uniforms = np.random.default_rng(4).random(30).tolist()
    assert player.seen == list(zip(rams[:-1], [rams[0], *rams[:-2]], uniforms, strict=True))


def test_a_deterministic_player_is_given_no_number() -> None:
    player = AnyAction(6)
    play(player, resolve("Pong-v0"), 3, action_seed=4, deterministic=True, max_steps=5)
    assert [uniform for _, _, uniform in player.seen] == [None] * 5


@pytest.mark.parametrize("resets", [[1], [2], [1, 1], [2, 1], [None, 1]])
def test_an_emulator_made_for_a_seed_plays_as_one_that_was_not(resets: list[int | None]) -> None:
    made, other = Emulator(resolve("ALE/Pong-v5"), 1), Emulator(resolve("ALE/Pong-v5"))
    for seed in resets:
        made.reset(seed)
    other.reset(resets[-1])
    for _ in range(40):
        made.step(2)
        other.step(2)
        assert (made.ram == other.ram).all()


def test_no_step_is_no_episode() -> None:
    with pytest.raises(ValueError, match="at least 1 step"):
        play(AnyAction(6), resolve("Pong-v0"), 3, action_seed=4, deterministic=True, max_steps=0)


def test_a_replay_shows_the_reset_and_every_frame_after_it(pong: Trace) -> None:
    emulator = Emulator(pong.game)
    frames: list[int] = []
    steps = list(replay(pong, emulator=emulator, on_frame=lambda: frames.append(emulator.episode_frames)))
    assert frames == list(range(pong.frames + 1))
    assert [step.number for step in steps] == list(range(pong.length + 1))
    assert [step.frame for step in steps] == list(range(0, pong.frames + 1, 4))


@settings(max_examples=5, deadline=None)
@given(at=st.integers(0, 79), by=st.integers(1, 5))
def test_a_changed_reward_is_found_at_its_step(pong: Trace, at: int, by: int) -> None:
    rewards = other(pong.rewards, at, pong.rewards[at] + by)
    found = verify(tampered(pong, rewards=rewards, episode_return=pong.episode_return + by))
    assert (found.ok, found.first_difference) == (False, at + 1)
    assert found.what == f"reward at step {at + 1} is not the trace's"


@settings(max_examples=5, deadline=None)
@given(at=st.integers(0, 80))
def test_a_changed_digest_is_found_at_its_step(pong: Trace, at: int) -> None:
    digest = "0123abcd"
    changes: dict[str, object] = {"digests": other(pong.digests, at, digest)}
    if at == pong.length:
        changes["ram_digest"] = digest + pong.ram_digest[8:]
    found = verify(tampered(pong, **changes))
    assert (found.ok, found.first_difference, found.steps_checked) == (False, at, at)
    assert found.what == f"RAM at step {at} is not the trace's"


def test_the_whole_digest_counts_too(pong: Trace) -> None:
    found = verify(tampered(pong, ram_digest=pong.digests[-1] + "0" * 56))
    assert (found.ok, found.first_difference) == (False, pong.length)


def first_difference(one: Trace, seed: int, actions: tuple[int, ...]) -> int | None:
    """Where RAM differs first, by emulators alone."""
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
def test_a_changed_action_is_found_where_the_ram_first_feels_it(pong: Trace, at: int) -> None:
    action = 3 if pong.actions[at] in (0, 1, 4, 5) else 2  # LEFT where it was not: the paddle goes the other way
    actions = tuple(int(str(each)) for each in other(pong.actions, at, action))
    wanted = first_difference(pong, pong.seed, actions)
    assert wanted is not None and wanted > at
    assert verify(tampered(pong, actions=actions)).first_difference == wanted


@pytest.mark.parametrize("seed", [8, 9])
def test_a_changed_seed_is_found_where_the_ram_first_feels_it(pong: Trace, seed: int) -> None:
    wanted = first_difference(pong, seed, pong.actions)
    assert wanted is not None
    assert verify(tampered(pong, seed=seed)).first_difference == wanted


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ended": "terminated"}, "end at step 80"),
        ({"frames": 319}, "number of frames at step 80"),
        ({"rom_sha256": "0" * 64}, "the ROM pong of ale-py"),
        ({"actions": (17,) * 80}, "action 17 does not exist: ALE/Pong-v5 has 6 actions"),
    ],
)
def test_other_lies_are_found_too(pong: Trace, changes: dict[str, object], what: str) -> None:
    found = verify(tampered(pong, **changes))
    assert not found.ok
    assert found.what.startswith(what)


def test_a_longer_trace_than_the_game_differs_where_the_game_ends() -> None:
    trace = random_play("ALE/Pong-v5", 26)
    shorter = {**trace.game.model_dump(), "max_episode_frames": 100}
    found = verify(tampered(trace, game=shorter, frames=100))
    assert (found.first_difference, found.what) == (25, "end at step 25 is not the trace's")


def test_another_version_of_ale_py_is_named(pong: Trace) -> None:
    found = verify(tampered(pong, ale_py="0.8.1"))
    assert found.ok
    assert found.what == f"all 80 steps agree; the trace was made with ale-py 0.8.1, this is {ale_version()}"


def test_a_game_that_is_not_here_is_named(pong: Trace) -> None:
    elsewhere = tampered(pong, game={**pong.game.model_dump(), "rom": "pong_two"})
    assert "has no ROM 'pong_two'" in verify(elsewhere).what
    with pytest.raises(TraceError, match="has no ROM 'pong_two'"):
        list(replay(elsewhere))
    with pytest.raises(UnknownEnvironmentError, match="has no ROM 'pong_two'"):
        play(AnyAction(6), elsewhere.game, 1, action_seed=1, deterministic=True, max_steps=1)


def network_agent(seed: int) -> Agent:
    network, generator = NetworkSettings(), np.random.default_rng(seed)
    weights = {
        name: generator.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in weight_shapes(network, 128, 6).items()
    }
    return Agent(Features(FeatureSettings(kind="scaled"), Statistics.empty()), NetworkPolicy(network, 128, weights))


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_checkpoint_decides_the_same_again_and_another_does_not(deterministic: bool) -> None:
    trace = play(network_agent(1), resolve("ALE/Pong-v5"), 5, action_seed=6, deterministic=deterministic, max_steps=120)
    assert verify_decisions(trace, network_agent(1)).ok
    found = verify_decisions(trace, network_agent(2))
    assert not found.ok
    assert found.first_difference == found.steps_checked
    assert f"at step {found.first_difference}, not {trace.actions[(found.first_difference or 0) - 1]}" in found.what


def test_a_changed_action_is_not_what_its_player_decides(pong: Trace) -> None:
    features = Features(FeatureSettings(kind="scaled"), Statistics.empty())
    trace = play(Agent(features, UniformPolicy(6)), pong.game, 5, action_seed=6, deterministic=False, max_steps=60)
    changed = tampered(trace, actions=other(trace.actions, 40, (trace.actions[40] + 1) % 6))
    assert verify_decisions(changed, Agent(features, UniformPolicy(6))).first_difference == 41


def test_a_trace_is_written_whole_and_read_back_equal(pong: Trace, tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.trace.json"
    write_trace(pong, path)
    assert read_trace(path) == pong
    assert json.loads(path.read_text())["schema"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_trace_that_cannot_be_written_leaves_nothing(pong: Trace, tmp_path: Path) -> None:
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
def test_what_is_no_trace_is_refused_in_one_line(content: str, why: str, tmp_path: Path) -> None:
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
def test_a_trace_that_contradicts_itself_is_refused(
    pong: Trace, changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({**json.loads(pong.model_dump_json()), **changes}))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(64 * 1024**2 + 1)
    with pytest.raises(TraceError, match="larger than 64 MiB"):
        read_trace(huge)
    with pytest.raises(TraceError, match="there is no trace"):
        read_trace(tmp_path / "missing.json")


def test_evaluation_seeds_are_apart_from_each_other_and_from_trainings() -> None:
    training = {int(np.random.SeedSequence(0, spawn_key=(0, i)).generate_state(1)[0]) for i in range(1000)}
    evaluation = evaluation_seeds(0, 1000)
    assert len({*evaluation}) == 1000
    assert training.isdisjoint(evaluation)
    assert evaluation[:10] == evaluation_seeds(0, 10)
    assert set(evaluation_seeds(1, 1000)).isdisjoint(evaluation)


@given(returns=st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_the_chosen_episode_is_the_first_with_the_return_that_is_asked_for(returns: list[int]) -> None:
    assert chosen_episode(returns) == returns.index(statistics.median_low(returns))
    assert chosen_episode(returns, "best") == returns.index(max(returns))
    assert chosen_episode(returns, "worst") == returns.index(min(returns))


def test_no_episode_has_no_median() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        chosen_episode([])
