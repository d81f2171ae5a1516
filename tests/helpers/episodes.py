"""Checkpoints with random weights, and episodes they play."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.arcade.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tasks.arcade.checkpoints.served_policy import Batch
from tasks.arcade.emulator.emulator import Emulator, Ram, action_names
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.episodes.playing import emulator_for_trace, play, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.policies.agent import ActionSelector
from tasks.arcade.policies.algorithms import policy_weight_shapes
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.video.panel import Caption
from tasks.arcade.video.policy_view import PolicyReadout, PolicyView

STEPS = 24
ENDING = 120
"""Frames of a panel video's ending: two seconds."""
CAPTION = Caption("ALE/Breakout-v5  ·  ppo-tuned", "median of 10 episodes")


def network_checkpoint(env_id: str = "ALE/Breakout-v5", name: str = "ppo-tuned") -> Checkpoint:
    """Return a checkpoint with random weights and the feature statistics of random play."""
    game, settings = resolve(env_id), approach(name)
    emulator, rng = Emulator(game), np.random.default_rng(0)
    emulator.reset(0)
    rams = []
    for _ in range(200):
        emulator.step(int(rng.integers(emulator.n_actions)))
        rams.append(emulator.ram.copy())
    shapes = policy_weight_shapes(settings, emulator.n_actions)
    weights = {key: (rng.normal(size=shape) * 2 / shape[-1] ** 0.5).astype(np.float32) for key, shape in shapes.items()}
    run = RunSettings(game=game, approach=settings, seed=0, steps=10, checkpoint_every=10)
    return Checkpoint(run, 10, emulator.action_names, weights, Statistics.empty().updated(np.array(rams)))


def play_checkpoint(checkpoint: Checkpoint, steps: int = STEPS) -> Trace:
    return play(checkpoint.agent(), checkpoint.settings.game, 3, action_seed=4, deterministic=False, max_steps=steps)


def write_random_checkpoint(
    env_id: str, directory: Path, max_frames: int = 600, name: str = "random", seed: int = 0
) -> str:
    game = resolve(env_id).model_copy(update={"max_episode_frames": max_frames})
    settings = RunSettings(game=game, approach=approach(name), seed=seed, steps=10, checkpoint_every=10)
    names = action_names(game)
    return write_checkpoint(Checkpoint(settings, 10, names, {}, Statistics.empty()), directory)


class UniformPlayer:
    """Samples uniformly from the first `n_actions` actions; records its inputs."""

    def __init__(self, n_actions: int) -> None:
        self.n_actions = n_actions
        self.inputs: list[tuple[bytes, bytes, float | None]] = []

    def start_episode(self) -> ActionSelector:
        return self.decide

    def decide(self, ram: Ram, previous: Ram, uniform: float | None) -> int:
        self.inputs.append((ram.tobytes(), previous.tobytes(), uniform))
        return 0 if uniform is None else int(uniform * self.n_actions)


def random_play(env_id: str, steps: int | None, *, seed: int = 7, **changes: int) -> Trace:
    game = resolve(env_id).model_copy(update=changes)
    player = UniformPlayer(len(action_names(game)))
    return play(player, game, seed, action_seed=seed + 1, deterministic=False, max_steps=steps, checkpoint_step=250_000)


def observed(checkpoint: Checkpoint, trace: Trace) -> Batch:
    """Return the observations that a trace's actions were decided on, as one batch."""
    agent, emulator = checkpoint.agent(), emulator_for_trace(trace)
    observe, rows = ObservationBuilder(agent, emulator), []
    for step in replay(trace, emulator=emulator):
        if step.number == trace.length:
            break
        now, before = observe(step.ram, episode_start=step.number == 0)
        rows.append(now.copy() if agent.uses_pixels else np.array([before, now]))
    return np.array(rows)


def readouts(checkpoint: Checkpoint, trace: Trace) -> list[PolicyReadout]:
    """Return what the video of a trace shows of the policy at each step."""
    view, batch = PolicyView(checkpoint), observed(checkpoint, trace)
    return [
        view(row, row, action) if view.agent.uses_pixels else view(row[1], row[0], action)
        for row, action in zip(batch, trace.actions, strict=True)
    ]
