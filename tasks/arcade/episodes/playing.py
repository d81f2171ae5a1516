"""Episodes: played by a player, or replayed from a trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.arcade.emulator.emulator import Emulator, Ram
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, ale_version, rom_digest
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.episodes.trace import SHORT_DIGEST, EpisodeEnd, Trace, TraceError
from tasks.arcade.policies.agent import ActionSelector
from tasks.arcade.settings.game import GameSettings


class Player(Protocol):
    """Plays episodes; a player with `uses_pixels` observes the frame stack of `FrameStacker` instead of RAM."""

    def start_episode(self) -> ActionSelector:
        """Return the function that decides the actions of one new episode, step by step."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """Result of one step.

    Attributes:
        number: Index of the step; 0 is the reset.
        ram: Copy of the RAM after the step, uint8 of shape (128,).
        reward: Unclipped reward.
        ended: How the episode ended with this step; None if it continues.
        frame: Frames emulated since the reset.
        digest: SHA-256 chain over the RAM so far, 64 hex digits.
    """

    number: int
    ram: Ram
    reward: int
    ended: EpisodeEnd | None
    frame: int
    digest: str


class EpisodeRunner:
    """Steps an emulator and chains the digests of its RAM.

    Args:
        emulator: A new emulator.
        on_frame: Called at the reset and after every emulated frame.
    """

    def __init__(self, emulator: Emulator, on_frame: Callable[[], object] | None = None) -> None:
        self._emulator, self._on_frame = emulator, on_frame
        self._number, self._chain = 0, b""

    def reset(self, seed: int) -> Step:
        """Start the episode and return its step 0."""
        self._emulator.reset(seed)
        if self._on_frame:
            self._on_frame()
        return self._step(0, None)

    def step(self, action: int) -> Step:
        """Run one step with an action."""
        reward, terminated, truncated = self._emulator.step(action, self._on_frame)
        self._number += 1
        return self._step(int(reward), episode_end(terminated, truncated))

    def _step(self, reward: int, ended: EpisodeEnd | None) -> Step:
        ram = self._emulator.ram.copy()
        self._chain = extend_digest(self._chain, ram)
        return Step(self._number, ram, reward, ended, self._emulator.episode_frames, self._chain.hex())


class TraceRecorder:
    """Collects the steps of one episode for its trace.

    Args:
        start: Step 0 of the episode.
    """

    def __init__(self, start: Step) -> None:
        self._last = start
        self._actions, self._rewards, self._human_steps = list[int](), list[int](), list[int]()
        self._digests = [start.digest[:SHORT_DIGEST]]

    def __len__(self) -> int:
        return len(self._actions)

    def append(self, action: int, step: Step, *, by_human: bool = False) -> None:
        """Append an action and the step that it led to.

        Args:
            action: The action.
            step: The step.
            by_human: Whether a person chose the action instead of the player.
        """
        self._last = step
        self._actions.append(action)
        self._rewards.append(step.reward)
        self._digests.append(step.digest[:SHORT_DIGEST])
        if by_human:
            self._human_steps.append(step.number)

    def trace(
        self,
        game: GameSettings,
        seed: int,
        *,
        action_seed: int,
        deterministic: bool,
        checkpoint: str | None,
        checkpoint_step: int | None,
    ) -> Trace:
        """Return the trace of the steps so far; the arguments are those of `play`.

        Raises:
            ValueError: There is no step yet.
        """
        return Trace(
            game=game,
            ale_py=ale_version(),
            rom_sha256=rom_digest(game.rom),
            seed=seed,
            actions=tuple(self._actions),
            rewards=tuple(self._rewards),
            digests=tuple(self._digests),
            ram_digest=self._last.digest,
            episode_return=sum(self._rewards),
            length=len(self._actions),
            frames=self._last.frame,
            checkpoint=checkpoint,
            checkpoint_step=checkpoint_step,
            action_seed=action_seed,
            deterministic=deterministic,
            human_steps=tuple(self._human_steps),
            ended=self._last.ended or "limit",
        )


def extend_digest(chain: bytes, ram: Ram) -> bytes:
    """Return the next digest of the SHA-256 chain over RAM: 32 bytes."""
    return hashlib.sha256(chain + ram.tobytes()).digest()


def episode_end(terminated: bool, truncated: bool) -> EpisodeEnd | None:
    """Return how a step ended the episode, or None if it continues."""
    if terminated:
        return "terminated"
    return "truncated" if truncated else None


def play(
    player: Player,
    game: GameSettings,
    seed: int,
    *,
    action_seed: int,
    deterministic: bool,
    max_steps: int | None = None,
    checkpoint: str | None = None,
    checkpoint_step: int | None = None,
) -> Trace:
    """Play one seeded episode without rendering and return its trace.

    Args:
        player: The player that decides the actions.
        game: Emulator settings.
        seed: Reset seed.
        action_seed: Seed of the generator of the one uniform number per step that the player samples with.
        deterministic: Whether to give the player no uniform number, so that it acts greedily.
        max_steps: Maximum steps (default: until the episode ends).
        checkpoint: Digest of the player's checkpoint, for the trace.
        checkpoint_step: Training step of the player's checkpoint, for the trace.

    Raises:
        UnknownEnvironmentError: The game cannot be emulated.
        ValueError: `max_steps` is not positive.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    uniforms = np.random.default_rng(action_seed)
    emulator = Emulator(game, seed)
    observe, decide, episode = ObservationBuilder(player, emulator), player.start_episode(), EpisodeRunner(emulator)
    step = episode.reset(seed)
    recorder = TraceRecorder(step)
    while step.ended is None and len(recorder) != max_steps:
        observations = observe(step.ram, episode_start=step.number == 0)
        action = decide(*observations, None if deterministic else float(uniforms.random()))
        step = episode.step(action)
        recorder.append(action, step)
    return recorder.trace(
        game,
        seed,
        action_seed=action_seed,
        deterministic=deterministic,
        checkpoint=checkpoint,
        checkpoint_step=checkpoint_step,
    )


def replay(
    trace: Trace, *, emulator: Emulator | None = None, on_frame: Callable[[], object] | None = None
) -> Iterator[Step]:
    """Replay a trace's actions and yield its length + 1 steps, of which the first is the reset.

    Args:
        trace: The trace.
        emulator: A new emulator of `trace.game`, e.g. to read its screen (default: a new one).
        on_frame: Called at the reset and after every emulated frame.

    Raises:
        TraceError: The trace cannot be replayed with the installed ale-py.
    """
    emulator = emulator or emulator_for_trace(trace)
    if problem := _incompatibility(trace, emulator):
        raise TraceError(problem)
    return _replay(trace, EpisodeRunner(emulator, on_frame))


def _replay(trace: Trace, episode: EpisodeRunner) -> Iterator[Step]:
    yield episode.reset(trace.seed)
    for action in trace.actions:
        yield episode.step(action)


def emulator_for_trace(trace: Trace, *, sound: bool = False) -> Emulator:
    """Return a new emulator for a trace's game and seed, optionally with sound.

    Raises:
        TraceError: The game cannot be emulated.
    """
    try:
        return Emulator(trace.game, trace.seed, sound=sound)
    except UnknownEnvironmentError as error:
        raise TraceError(str(error)) from None


def _incompatibility(trace: Trace, emulator: Emulator) -> str:
    """Return why a trace cannot be replayed here; empty if it can."""
    rom = trace.game.rom
    if trace.rom_sha256 != rom_digest(rom):
        return f"the ROM {rom} of ale-py {ale_version()} differs from the trace's ROM (ale-py {trace.ale_py})"
    if max(trace.actions) >= emulator.n_actions:
        return f"action {max(trace.actions)} does not exist: {trace.game.env_id} has {emulator.n_actions} actions"
    return ""


def trace_difference(step: Step, trace: Trace) -> str:
    """Return what of a step differs from the trace (RAM, reward, end, ...); empty if nothing does."""
    last = step.number == trace.length
    if step.digest[:SHORT_DIGEST] != trace.digests[step.number]:
        return "RAM"
    if step.number and step.reward != trace.rewards[step.number - 1]:
        return "reward"
    if step.ended != (trace.ended if last and trace.ended != "limit" else None):
        return "end"
    if last and step.frame != trace.frames:
        return "number of frames"
    return "RAM" if last and step.digest != trace.ram_digest else ""
