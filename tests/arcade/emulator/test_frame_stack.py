"""A policy on pixels observes the usual frame stacks wherever it plays, and supports the same operations as on RAM."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium import spaces
from helpers.episodes import CAPTION, network_checkpoint, play_checkpoint
from helpers.training_runs import Recorder, equal_weights, small_approach, small_run, without_timings
from stable_baselines3 import PPO
from threadpoolctl import threadpool_limits

from tasks.arcade.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from tasks.arcade.checkpoints.training_state import read_state, write_state
from tasks.arcade.drawing.canvas import Canvas
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.emulator.frame_stack import STACK_SHAPE, FrameStacker, downsample
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.episodes.playing import emulator_for_trace, replay
from tasks.arcade.episodes.verify import verify, verify_decisions
from tasks.arcade.inputs.settings_file import HyperparameterError, with_hyperparameters
from tasks.arcade.inputs.settings_file import read_settings_file as own_approach
from tasks.arcade.learner import RamPolicy, ResumePoint, export, train
from tasks.arcade.learner.networks import weights_as_arrays
from tasks.arcade.policies.actor_critic import NetworkPolicy, sample, weight_shapes
from tasks.arcade.policies.convolutions import output_shape
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.rollouts.on_policy import RolloutPlayer, RolloutSettings
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.run import ApproachSettings
from tasks.arcade.video.panel import HEIGHT, WIDTH, PanelRenderer
from tasks.arcade.video.render import render_video
from tasks.arcade.video.verify import verify_frames

Stacks = npt.NDArray[np.uint8]


def the_network() -> Any:
    algorithm = approach("ppo-pixels").algorithm
    assert isinstance(algorithm, PpoSettings)
    return algorithm.network


def some_stacks(n: int) -> Stacks:
    return np.random.default_rng(0).integers(0, 256, (n, *STACK_SHAPE), dtype=np.uint8)


def small_pixels(n_envs: int = 3, n_steps: int = 16) -> ApproachSettings:
    settings = small_approach("ppo-pixels", n_envs=n_envs)
    algorithm = settings.algorithm.model_copy(update={"n_steps": n_steps, "batch_size": 24})
    return settings.model_copy(update={"algorithm": algorithm})


@pytest.mark.parametrize("size", [(210, 160), (250, 160), (30, 20)])
def test_downsampling_averages_equal_areas(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    down, across = (84 // np.gcd(84, n) for n in size)
    parts = frame.repeat(down, axis=0).repeat(across, axis=1).reshape(84, size[0] * down // 84, 84, -1)
    assert (downsample(frame) == np.rint(parts.mean(axis=(1, 3)))).all()


@pytest.mark.parametrize(("env_id", "skip"), [("ALE/Asteroids-v5", 4), ("SeaquestNoFrameskip-v4", 1)])
def test_the_stack_holds_gymnasiums_max_pooled_frames(env_id: str, skip: int) -> None:
    """Gymnasium's grayscale environment plays the same frame by frame; a step's last two frames are max-pooled."""
    game = resolve(env_id)
    emulator = Emulator(game, 5)
    stacker, env = FrameStacker(emulator), make_env(game.model_copy(update={"frame_skip": 1}), obs_type="grayscale")
    frames = [env.reset(seed=5)[0]] * 2
    emulator.reset(5)
    stacker.reset()
    expected = [downsample(frames[0])] * 4
    differ = 0
    for action in np.random.default_rng(6).integers(emulator.n_actions, size=60).tolist():
        assert (stacker.stack == np.stack(expected[-4:])).all()
        frames += [env.step(action)[0] for _ in range(skip)]
        emulator.step(action)
        stacker.append()
        expected.append(downsample(np.maximum(*frames[-2:])))
        differ += bool((frames[-2] != frames[-1]).any())
    assert differ > 20
    env.close()


def test_the_numpy_forward_pass_equals_torchs_for_any_batch_and_number_of_threads() -> None:
    network, stacks = the_network(), some_stacks(9)
    torch.manual_seed(0)
    theirs = RamPolicy(spaces.Box(0, 255, STACK_SHAPE, np.uint8), spaces.Discrete(6), lambda _: 0.0, network=network)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    ours, rows = NetworkPolicy(network, stacks[0].size, weights_as_arrays(theirs)), stacks.reshape(9, -1)
    logits, values = ours.logits(rows), ours.values(rows)
    actions, log_probs = sample(logits, np.random.default_rng(1).random(9))
    with torch.no_grad():
        torch_values, torch_log_probs, _ = theirs.evaluate_actions(torch.from_numpy(stacks), torch.from_numpy(actions))
    assert np.ptp(values) > 0.05, "values differ between inputs"
    assert np.abs(values - torch_values[:, 0].numpy()).max() < 1e-5
    assert np.abs(log_probs - torch_log_probs.numpy()).max() < 1e-5
    for low, high in [(0, 1), (3, 4), (2, 8)]:
        assert (ours.logits(rows[low:high]) == logits[low:high]).all()
        assert (ours.values(rows[low:high]) == values[low:high]).all()
    with threadpool_limits(1):
        assert all(
            (one == other).all() for one, other in zip(ours.logits_and_values(rows), (logits, values), strict=True)
        )


def test_a_restored_environment_has_its_first_frame_even_if_ales_state_lacks_it() -> None:
    """Berzerk's first reset draws another frame than later resets; ALE's state does not contain it."""
    settings = RolloutSettings(resolve("ALE/Berzerk-v5"), small_pixels(n_envs=2, n_steps=3), seed=3)
    assert isinstance(settings.approach.algorithm, PpoSettings)
    shapes = weight_shapes(settings.approach.algorithm.network, int(np.prod(STACK_SHAPE)), 18)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    one, other = ({name: np.zeros(*of) for name, of in settings.layout().items()} for _ in range(2))
    first = RolloutPlayer(settings, range(2), one)
    first.play(weights, Statistics.empty(), lambda: None)
    states = first.states(before=True)
    second = RolloutPlayer(settings, range(2), other)
    second.play(weights, Statistics.empty(), lambda: None)
    second.restore(states)
    for array in other.values():
        array[:] = 0
    second.play(weights, Statistics.empty(), lambda: None)
    assert one["features"].dtype == np.uint8
    assert all((one[name] == other[name]).all() for name in one)


def test_resume_is_bit_for_bit(tmp_path: Path) -> None:
    settings = small_run(small_pixels(), steps=140, every=40).model_copy(
        update={"game": resolve("ALE/Berzerk-v5").model_copy(update={"max_episode_frames": 100})}
    )
    whole, resumed = Recorder(), Recorder()
    train(settings, 2, whole)
    checkpoint, state = whole.checkpoints[0], whole.states[0]
    digest = write_checkpoint(checkpoint, tmp_path / "checkpoint")
    write_state(state, digest, tmp_path / "state")
    start = ResumePoint(read_checkpoint(tmp_path / "checkpoint", digest), read_state(tmp_path / "state", digest))
    assert start.state.environments == state.environments
    train(settings, 1, resumed, start)
    assert equal_weights(resumed.checkpoints[-1].weights, whole.checkpoints[-1].weights)
    assert not equal_weights(resumed.checkpoints[-1].weights, checkpoint.weights)
    assert resumed.states[-1].environments == whole.states[-1].environments
    logged = [(step, without_timings(values)) for step, values in whole.logged if step > checkpoint.step]
    assert [(step, without_timings(values)) for step, values in resumed.logged] == logged


def test_a_video_shows_the_observation_and_the_checkpoint_repeats_its_decisions(tmp_path: Path) -> None:
    checkpoint, path = network_checkpoint("ALE/Asteroids-v5", "ppo-pixels"), tmp_path / "video.mp4"
    trace = play_checkpoint(checkpoint, 6)
    assert verify(trace).ok
    assert verify_decisions(trace, checkpoint.agent()).ok
    weights = {**checkpoint.weights, "action_net.weight": -checkpoint.weights["action_net.weight"]}
    assert not verify_decisions(trace, replace(checkpoint, weights=weights).agent()).ok
    render_video(trace, path, partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    assert verify_frames(path).ok
    emulator = emulator_for_trace(trace)
    stacker = FrameStacker(emulator)
    with Mp4Decoder(path) as decoder:
        frames = [frame.copy() for frame in decoder]
    for step in replay(trace, emulator=emulator):
        if step.number == trace.length:
            break
        stacker.append() if step.number else stacker.reset()
        luma = Canvas(WIDTH, HEIGHT, frame=frames[4 * step.number + 2 * bool(step.number)]).luma.astype(int)
        expected = 16 + stacker.stack * (219 / 255)
        newest = expected[-1].repeat(176, axis=0).repeat(176, axis=1)[42::84, 42::84]
        assert np.abs(luma[54:230, 884:1060] - newest).mean() < 2, step.number
        for number, (y, x) in enumerate([(54, 1084), (54, 1176), (146, 1084), (146, 1176)]):
            assert np.abs(luma[y : y + 84, x : x + 84] - expected[number]).mean() < 2, (step.number, number)


def test_stable_baselines3_loads_an_export_and_plays_the_same_actions(tmp_path: Path) -> None:
    checkpoint = network_checkpoint("ALE/Pong-v5", "ppo-pixels")
    export(checkpoint, tmp_path / "model.zip")
    model, agent = PPO.load(tmp_path / "model.zip", device="cpu"), checkpoint.agent()
    assert model.observation_space == spaces.Box(0, 255, STACK_SHAPE, np.uint8)
    chosen = set()
    for at, noise in enumerate(some_stacks(16)):
        # Uniform noise looks alike to any network; noise in different quadrants does not.
        observation = noise * np.kron([[at & 1, at & 2], [at & 4, at & 8]], np.ones((42, 42))).astype(np.bool_)
        action, _ = model.predict(observation, deterministic=True)
        assert action == agent.start_episode()(observation, observation, None)
        chosen.add(int(action))
    assert len(chosen) > 1


def test_a_zoo_file_needs_cnn_policy_for_pixels(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('approach = "ppo-pixels"\npolicy = "CnnPolicy"\nn_epochs = 3')
    assert own_approach(path).approach.features.kind == "pixels"
    path.write_text('approach = "ppo-pixels"\npolicy = "MlpPolicy"')
    with pytest.raises(HyperparameterError, match="pixel observations need a CnnPolicy, got 'MlpPolicy'"):
        own_approach(path)


def test_pixels_and_convolutions_require_each_other() -> None:
    for name, features in (("ppo-pixels", "scaled"), ("ppo", "pixels")):
        with pytest.raises(HyperparameterError, match="pixels require convolutions"):
            with_hyperparameters(approach(name), {"features": {"kind": features}})
    with pytest.raises(ValueError, match="a 4 x 4 kernel is larger than its 3 x 3 input"):
        output_shape(the_network().convolutions, (4, 16, 16))
