"""A player, or a trace, plays one episode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.arcade.emulator.emulator import Emulator, Ram, UnknownGameError, ale_version, rom_digest
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.episodes.trace import SHORT, Ended, Trace, TraceError
from tasks.arcade.policies.agent import Decide
from tasks.arcade.settings.game import GameSettings


class Player(Protocol):
    """What plays episodes; one that has `uses_pixels` is shown the pictures of `pixels.FrameStacker` instead of RAM."""

    def begin(self) -> Decide:
        """What decides the actions of one episode that starts now, step by step."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it was played.

    Attributes:
        number: 0 at the reset.
        ram: after the step, uint8 of shape (128,), a copy.
        reward: the game's own, unclipped.
        ended: how the episode ended with this step, if it did.
        frame: frames emulated since the reset.
        digest: the running SHA-256 chain over the RAM, 64 hex digits.
    """

    number: int
    ram: Ram
    reward: int
    ended: Ended | None
    frame: int
    digest: str


class _Episode:
    """Counts and digests the steps of an emulator."""

    def __init__(self, emulator: Emulator, each_frame: Callable[[], object] | None = None) -> None:
        self._emulator, self._each_frame = emulator, each_frame
        self._number, self._chain = 0, b""

    def reset(self, seed: int) -> Step:
        self._emulator.reset(seed)
        if self._each_frame:
            self._each_frame()
        return self._step(0, None)

    def step(self, action: int) -> Step:
        reward, terminated, truncated = self._emulator.step(action, self._each_frame)
        self._number += 1
        return self._step(int(reward), how_it_ended(terminated, truncated))

    def _step(self, reward: int, ended: Ended | None) -> Step:
        ram = self._emulator.ram.copy()
        self._chain = extend_digest(self._chain, ram)
        return Step(self._number, ram, reward, ended, self._emulator.episode_frames, self._chain.hex())


def extend_digest(chain: bytes, ram: Ram) -> bytes:
    """The next link of a chain over RAM: SHA-256 of the one before and the RAM, 32 bytes."""
    return hashlib.sha256(chain + ram.tobytes()).digest()


def how_it_ended(terminated: bool, truncated: bool) -> Ended | None:
    """How an episode ended with a step; none if it goes on."""
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
    """Play one whole seeded episode, without drawing.

    Args:
        player: decides the actions.
        game: what is played.
        seed: of the reset.
        action_seed: of the generator that gives the player one uniform number a step.
        deterministic: give it none.
        max_steps: stop after so many; none: at the game's end.
        checkpoint: digest of the checkpoint that plays, for the trace.
        checkpoint_step: its step, for the trace.

    Raises:
        UnknownGameError: the game cannot be emulated.
        ValueError: `max_steps` is not positive.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps {max_steps} is not possible: an episode has at least 1 step")
    uniforms = np.random.default_rng(action_seed)
    emulator = Emulator(game, seed)
    senses, decide, episode = ObservationBuilder(player, emulator), player.begin(), _Episode(emulator)
    step = episode.reset(seed)
    actions, rewards, digests = list[int](), list[int](), [step.digest[:SHORT]]
    while step.ended is None and len(actions) != max_steps:
        shown = senses(step.ram, starts=not actions)
        action = decide(*shown, None if deterministic else float(uniforms.random()))
        step = episode.step(action)
        actions.append(action)
        rewards.append(step.reward)
        digests.append(step.digest[:SHORT])
    return Trace(
        game=game,
        ale_py=ale_version(),
        rom_sha256=rom_digest(game.rom),
        seed=seed,
        actions=tuple(actions),
        rewards=tuple(rewards),
        digests=tuple(digests),
        ram_digest=step.digest,
        episode_return=sum(rewards),
        length=len(actions),
        frames=step.frame,
        checkpoint=checkpoint,
        checkpoint_step=checkpoint_step,
        action_seed=action_seed,
        deterministic=deterministic,
        ended=step.ended or "limit",
    )


def replay(
    trace: Trace, *, emulator: Emulator | None = None, each_frame: Callable[[], object] | None = None
) -> Iterator[Step]:
    """Play a trace's actions again; the first of its length + 1 steps is the reset.

    Args:
        trace: what is played.
        emulator: a fresh one of `trace.game`, to look at its screen; none: one is made.
        each_frame: called at the reset and after every frame emulated.

    Raises:
        TraceError: the trace cannot be played with what is installed here.
    """
    emulator = emulator or emulator_of(trace)
    if obstacle := _obstacle(trace, emulator):
        raise TraceError(obstacle)
    return _replay(trace, _Episode(emulator, each_frame))


def _replay(trace: Trace, episode: _Episode) -> Iterator[Step]:
    yield episode.reset(trace.seed)
    for action in trace.actions:
        yield episode.step(action)


def emulator_of(trace: Trace, *, sound: bool = False) -> Emulator:
    """A fresh emulator of the trace's game, to be heard or not.

    Raises:
        TraceError: the game cannot be emulated here.
    """
    try:
        return Emulator(trace.game, trace.seed, sound=sound)
    except UnknownGameError as error:
        raise TraceError(str(error)) from None


def _obstacle(trace: Trace, emulator: Emulator) -> str:
    """Why a trace cannot be played here, if it cannot."""
    rom = trace.game.rom
    if trace.rom_sha256 != rom_digest(rom):
        return f"the ROM {rom} of ale-py {ale_version()} is not the one that was played (ale-py {trace.ale_py})"
    if max(trace.actions) >= emulator.n_actions:
        return f"action {max(trace.actions)} does not exist: {trace.game.env_id} has {emulator.n_actions} actions"
    return ""


def difference(step: Step, trace: Trace) -> str:
    """What of a step is not as the trace has it; nothing if all is."""
    last = step.number == trace.length
    if step.digest[:SHORT] != trace.digests[step.number]:
        return "RAM"
    if step.number and step.reward != trace.rewards[step.number - 1]:
        return "reward"
    if step.ended != (trace.ended if last and trace.ended != "limit" else None):
        return "end"
    if last and step.frame != trace.frames:
        return "number of frames"
    return "RAM" if last and step.digest != trace.ram_digest else ""
