"""The replay buffer samples exactly the collected transitions; truncation is not termination."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.training_runs import small_approach

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import feature_size
from tasks.arcade.policies.q_network import EXPLORATION, q_weight_shapes
from tasks.arcade.rollouts.off_policy import StepEnd, TransitionPlayer, Transitions, TransitionSettings
from tasks.arcade.rollouts.replay_buffer import Batch, TransitionBuffer
from tasks.arcade.settings.algorithms import DqnSettings

N_ENVS, ROLLOUTS = 4, 16
SETTINGS = TransitionSettings(
    resolve("ALE/Breakout-v5").model_copy(update={"max_episode_frames": 720}), small_approach("dqn"), seed=3
)
Transition = tuple[bytes, bytes, int, float, bytes, bool, bool]


@pytest.fixture(scope="module")
def rollouts() -> list[Transitions]:
    """Return rollouts of random play in Breakout; episodes terminate, or are truncated after 180 steps."""
    assert isinstance(SETTINGS.approach.algorithm, DqnSettings)
    shapes = q_weight_shapes(SETTINGS.approach.algorithm, feature_size(SETTINGS.approach.features), 4)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    arrays = {name: np.zeros(shape, kind) for name, (shape, kind) in SETTINGS.layout().items()}
    player = TransitionPlayer(SETTINGS, range(N_ENVS), arrays)
    found = []
    for _ in range(ROLLOUTS):
        episodes = player.play({**weights, EXPLORATION: np.float32(1)}, Statistics.empty(), lambda: None)
        found.append(SETTINGS.collected({name: array.copy() for name, array in arrays.items()}, tuple(episodes)))
    return found


def concatenated(rollouts: list[Transitions], name: str) -> np.ndarray:
    return np.concatenate([getattr(rollout, name) for rollout in rollouts])


def test_transitions_match_gymnasium(rollouts: list[Transitions]) -> None:
    names = ("rams", "actions", "rewards", "starts", "next_rams", "ends")
    rams, actions, rewards, starts, next_rams, ends = (concatenated(rollouts, name) for name in names)
    assert np.bincount(actions.ravel(), minlength=4).min() > 0.2 * actions.size, "actions are random"
    assert set(StepEnd) == set(ends.ravel().tolist())
    for column in range(N_ENVS):
        env = make_env(SETTINGS.game)
        reset_seed, _ = np.random.SeedSequence(3, spawn_key=(0, column)).generate_state(2)
        (ram, info), begins = env.reset(seed=int(reset_seed)), True
        for step in range(len(rams)):
            assert (rams[step, column] == ram).all()
            assert starts[step, column] == begins
            lives = info["lives"]
            ram, reward, terminated, truncated, info = env.step(actions[step, column])
            assert (next_rams[step, column] == ram).all()
            assert rewards[step, column] == reward
            lost = StepEnd.LOST_LIFE if info["lives"] < lives else StepEnd.NONE
            assert ends[step, column] == (
                StepEnd.TERMINATED if terminated else StepEnd.TRUNCATED if truncated else lost
            )
            if begins := terminated or truncated:
                ram, info = env.reset()
        env.close()


def collected_transitions(rollouts: list[Transitions]) -> list[set[Transition]]:
    """Return the transitions of each step."""
    names = ("rams", "actions", "rewards", "starts", "next_rams", "ends")
    rams, actions, rewards, starts, next_rams, ends = (concatenated(rollouts, name) for name in names)
    steps: list[set[Transition]] = []
    for at in range(len(rams)):
        steps.append(set())
        for env in range(N_ENVS):
            ram, previous = rams[at, env], rams[at if starts[at, env] else at - 1, env]
            terminated = bool(ends[at, env] == StepEnd.TERMINATED)
            after = b"" if terminated else next_rams[at, env].tobytes()
            step = (
                ram.tobytes(),
                previous.tobytes(),
                int(actions[at, env]),
                float(rewards[at, env]),
                after,
                terminated,
                bool(ends[at, env] == StepEnd.LOST_LIFE),
            )
            steps[-1].add(step)
    return steps


def sampled_transitions(batch: Batch) -> set[Transition]:
    return {
        (
            ram.tobytes(),
            previous.tobytes(),
            int(action),
            float(reward),
            b"" if ends[0] else after.tobytes(),
            *map(bool, ends),
        )
        for ram, previous, action, reward, after, *ends in zip(*vars(batch).values(), strict=True)
    }


@pytest.mark.parametrize("size", [20, 600, 10_000])
def test_sampled_transitions_are_exactly_the_collected_ones(rollouts: list[Transitions], size: int) -> None:
    """Buffers smaller than a rollout, overwritten several times, and never full."""
    steps, buffer = collected_transitions(rollouts), TransitionBuffer(size, N_ENVS)
    for count, rollout in enumerate(rollouts, 1):
        buffer.add(rollout)
        n_played = 32 * count
        assert len(buffer) == min(n_played, buffer.rows)
        # The RAM before a full ring's oldest step is gone.
        oldest = n_played - buffer.rows + 1 if n_played >= buffer.rows else 0
        wanted = set.union(*steps[oldest:n_played])
        found = sampled_transitions(buffer.sample(25 * N_ENVS * len(buffer)))
        assert found == wanted, count


def test_truncated_episodes_do_not_continue_in_steps_added_later(rollouts: list[Transitions]) -> None:
    buffer = TransitionBuffer(10_000, N_ENVS)
    buffer.add(rollouts[0])
    buffer.truncate_episodes()
    other = rollouts[9]
    buffer.add(type(other)(**{**vars(other), "starts": np.ones_like(other.starts)}))
    found = sampled_transitions(buffer.sample(20_000))
    assert set.union(*collected_transitions(rollouts[:1])) <= found, "the last steps keep their successors"


def test_restored_buffer_continues_identically(rollouts: list[Transitions]) -> None:
    for size in (600, 10_000):
        buffer, again = TransitionBuffer(size, N_ENVS), TransitionBuffer(size, N_ENVS)
        for rollout in rollouts[:9]:
            buffer.add(rollout)
        again.restore(buffer.arrays(), 4)
        for one in (buffer, again):
            one.add(rollouts[9])
        for name, array in buffer.arrays().items():
            assert (again.arrays()[name] == array).all(), name
        np.random.seed(1)
        first = buffer.sample(500)
        np.random.seed(1)
        for name, array in vars(again.sample(500)).items():
            assert (array == getattr(first, name)).all(), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rams", np.zeros((288, N_ENVS, 127), np.uint8)),
        ("actions", np.full((288, N_ENVS), 4, np.uint8)),
        ("ends", np.full((288, N_ENVS), 4, np.uint8)),
        ("ends", np.zeros((288, N_ENVS), np.uint8)),
        ("rewards", np.full((288, N_ENVS), np.nan, np.float32)),
        ("rewards", np.zeros((288, N_ENVS), np.float64)),
        ("added", np.array([-1])),
        ("added", np.array([289])),
        ("cut_rams", np.zeros((1, 128), np.uint8)),
    ],
)
def test_invalid_arrays_are_rejected(rollouts: list[Transitions], name: str, value: np.ndarray) -> None:
    buffer = TransitionBuffer(10_000, N_ENVS)
    for rollout in rollouts[:9]:
        buffer.add(rollout)
    arrays = buffer.arrays()
    TransitionBuffer(10_000, N_ENVS).restore(arrays, 4)
    with pytest.raises(ValueError, match="the replay buffer"):
        TransitionBuffer(10_000, N_ENVS).restore({**arrays, name: value}, 4)
