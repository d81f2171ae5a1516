"""A player, or a trace, plays one episode; traces are written, read and proved.

Steps are counted as everywhere in a trace: step 0 is the reset, step t is what the t-th action led to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self
from uuid import uuid4

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from threadpoolctl import threadpool_limits

from tasks.arcade.agent import Decide
from tasks.arcade.errors import RamreelError
from tasks.arcade.game import Emulator, Ram, UnknownGameError, ale_version, make_env, rom_digest
from tasks.arcade.pixels import Senses
from tasks.arcade.settings import SCHEMA, GameSettings, NewerSchemaError, Settings, parsed

_LONGEST = 1_000_000
"""Steps; as many as there can be frames in `GameSettings`."""
_LARGEST_FILE = 64 * 1024**2
"""Bytes; the longest trace has about 20 a step."""
_SHORT = 8

Ended = Literal["terminated", "truncated"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShortDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class TraceError(RamreelError, ValueError):
    """A trace cannot be read, or cannot be played here; the message says why."""


class Player(Protocol):
    """What plays episodes; one that has `sees_pixels` is shown the pictures of `pixels.Eye` instead of RAM."""

    def begin(self) -> Decide:
        """What decides the actions of one episode that starts now, step by step."""
        ...


class Trace(Settings):
    """One episode as it was played: enough to play and draw it again without the policy."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)
    game: GameSettings
    ale_py: str = Field(pattern=r"^[\w.+-]{1,40}$", description="version of ale-py that it was played with")
    rom_sha256: Sha256
    seed: int = Field(ge=0, lt=2**32, description="given to the emulator at the reset")
    actions: tuple[Annotated[int, Field(ge=0, lt=18)], ...] = Field(min_length=1, max_length=_LONGEST)
    rewards: tuple[int, ...] = Field(max_length=_LONGEST, description="the game's own, unclipped, one a step")
    digests: tuple[ShortDigest, ...] = Field(
        max_length=_LONGEST + 1,
        description="first 8 hex digits of the RAM's SHA-256 chain at the reset and after each step: "
        "d0 = sha256(ram), d = sha256(d before, ram)",
    )
    ram_digest: Sha256 = Field(description="the chain's last value, whole")
    episode_return: int = Field(description="sum of the rewards")
    length: int = Field(ge=1, description="steps")
    frames: int = Field(ge=1, description="frames emulated; a film draws these and the reset's picture")
    checkpoint: Sha256 | None = Field(description="digest of the checkpoint that played; none: another player")
    checkpoint_step: int | None = Field(ge=0)
    action_seed: int = Field(ge=0, description="of the generator (NumPy's default) that samples the actions")
    deterministic: bool = Field(description="the likeliest actions, none sampled")
    ended: Ended | Literal["limit"] = Field(description="limit: play was stopped after so many steps")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        steps = {len(self.actions), len(self.rewards), len(self.digests) - 1, self.length}
        if len(steps) != 1:
            raise ValueError("length, actions, rewards and digests disagree on the number of steps")
        if not self.length <= self.frames <= self.game.max_episode_frames:
            raise ValueError("frames is not between the number of steps and the game's max_episode_frames")
        if sum(self.rewards) != self.episode_return:
            raise ValueError("episode_return is not the sum of rewards")
        if self.ram_digest[:_SHORT] != self.digests[-1]:
            raise ValueError("ram_digest is not the last of digests")
        return self


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


class Verification(Settings):
    """Whether a trace is what really happens.

    `first_difference` is the step at which something differs first, 0 being the reset; none if nothing differs or if
    the trace could not be played at all. `what` says it in words.
    """

    ok: bool
    steps_checked: int
    first_difference: int | None
    what: str
    ale_py: str = Field(description="that the trace was made with")
    ale_py_here: str = Field(description="that it was checked with")


def write_trace(trace: Trace, path: Path) -> None:
    """Write a trace as JSON; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(trace.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_trace(path: Path) -> Trace:
    """Read a trace and check that it agrees with itself; `verify` checks that it is true.

    Raises:
        TraceError: no such file, not a trace, or one of a newer schema.
    """
    if not path.is_file():
        raise TraceError(f"there is no trace {path}")
    with path.open("rb") as file:
        raw = file.read(_LARGEST_FILE + 1)
    if len(raw) > _LARGEST_FILE:
        raise TraceError(f"{path} is no trace: it is larger than {_LARGEST_FILE // 1024**2} MiB")
    try:
        return parsed(Trace, raw)
    except NewerSchemaError as error:
        raise TraceError(f"{path} has {error}") from None
    except ValueError as error:
        raise TraceError(f"{path} is no trace: {error}") from None


def evaluation_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Reset seeds of evaluation episodes; training's come from the spawn keys (0, i), these from (1, k)."""
    return _seeds(seed, 1, episodes)


def action_seeds(seed: int, episodes: int, of_run: int) -> tuple[int, ...]:
    """Seeds that sample the actions of evaluation episodes.

    Runs of other seeds play the same starts with other actions: what does not learn would play copies otherwise, and
    its seeds would be no evidence of how much it varies.

    Args:
        seed: of the evaluation.
        episodes: how many.
        of_run: the seed of the run that is evaluated.
    """
    return _seeds((seed, of_run), 2, episodes)


def _seeds(entropy: int | tuple[int, int], purpose: int, episodes: int) -> tuple[int, ...]:
    """One for each episode, apart from those of other purposes: spawn keys (purpose, k)."""
    keys = (np.random.SeedSequence(entropy, spawn_key=(purpose, number)) for number in range(episodes))
    return tuple(int(key.generate_state(1)[0]) for key in keys)


def chosen_episode(returns: Sequence[float], choice: Literal["median", "best", "worst"] = "median") -> int:
    """Index of the first episode whose return is the median (the lower one of an even number), highest or lowest.

    Raises:
        ValueError: there is no episode.
    """
    if not returns:
        raise ValueError(f"no episodes: there is no {choice} one")
    place = {"median": (len(returns) - 1) // 2, "best": -1, "worst": 0}[choice]
    return returns.index(sorted(returns)[place])


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
        return self._step(int(reward), _ended(terminated, truncated))

    def _step(self, reward: int, ended: Ended | None) -> Step:
        ram = self._emulator.ram.copy()
        self._chain = _link(self._chain, ram)
        return Step(self._number, ram, reward, ended, self._emulator.episode_frames, self._chain.hex())


def _link(chain: bytes, ram: Ram) -> bytes:
    return hashlib.sha256(chain + ram.tobytes()).digest()


def _ended(terminated: bool, truncated: bool) -> Ended | None:
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
    senses, decide, episode = Senses(player, emulator), player.begin(), _Episode(emulator)
    step = episode.reset(seed)
    actions, rewards, digests = list[int](), list[int](), [step.digest[:_SHORT]]
    while step.ended is None and len(actions) != max_steps:
        shown = senses(step.ram, starts=not actions)
        action = decide(*shown, None if deterministic else float(uniforms.random()))
        step = episode.step(action)
        actions.append(action)
        rewards.append(step.reward)
        digests.append(step.digest[:_SHORT])
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
    if step.digest[:_SHORT] != trace.digests[step.number]:
        return "RAM"
    if step.number and step.reward != trace.rewards[step.number - 1]:
        return "reward"
    if step.ended != (trace.ended if last and trace.ended != "limit" else None):
        return "end"
    if last and step.frame != trace.frames:
        return "number of frames"
    return "RAM" if last and step.digest != trace.ram_digest else ""


def _drawn(trace: Trace) -> Iterator[Step]:
    emulator = emulator_of(trace)
    picture = emulator.screen()
    return replay(trace, emulator=emulator, each_frame=lambda: emulator.screen(picture))


def _gymnasium(trace: Trace) -> Iterator[Step]:
    with closing(make_env(trace.game)) as env:
        ram, info = env.reset(seed=trace.seed)
        chain = _link(b"", ram)
        yield Step(0, ram, 0, None, info["episode_frame_number"], chain.hex())
        for number, action in enumerate(trace.actions, 1):
            ram, reward, terminated, truncated, info = env.step(action)
            chain = _link(chain, ram)
            ended = _ended(terminated, truncated)
            yield Step(number, ram, int(float(reward)), ended, info["episode_frame_number"], chain.hex())


_WITNESSES: dict[str, Callable[[Trace], Iterator[Step]]] = {
    "the emulator as training builds it": replay,
    "the emulator as filming builds it": _drawn,
    "Gymnasium's own environment": _gymnasium,
}


def verify(trace: Trace) -> Verification:
    """Play a trace three times, as training, filming (every frame drawn) and Gymnasium do, and compare every step.

    RAM digests, rewards, the number of frames and the end have to be the trace's in all three.
    """
    try:
        witnesses = [play_again(trace) for play_again in _WITNESSES.values()]
    except TraceError as error:
        return _verification(trace, 0, None, str(error))
    for steps in zip(*witnesses, strict=True):
        found = dict(zip(_WITNESSES, (difference(step, trace) for step in steps), strict=True))
        if any(found.values()):
            number = steps[0].number
            return _verification(trace, number, number, _in_words(found, number))
    return _verification(trace, trace.length, None, "")


def _in_words(found: dict[str, str], number: int) -> str:
    what = next(filter(None, found.values()))
    if all(found.values()):
        return f"{what} at step {number} is not the trace's"
    return f"{what} at step {number} is not the trace's in {' and in '.join(name for name in found if found[name])}"


def verify_decisions(trace: Trace, player: Player) -> Verification:
    """Play a trace again and ask its player for every action; `verify` says whether the RAM is right.

    Raises:
        TraceError: the trace cannot be played with what is installed here.
    """
    uniforms, emulator = np.random.default_rng(trace.action_seed), emulator_of(trace)
    senses, decide = Senses(player, emulator), player.begin()
    # On as many threads as when it was played: how products are shared out changes their last bits.
    with threadpool_limits(1):
        for step, action in zip(replay(trace, emulator=emulator), trace.actions, strict=False):
            uniform = None if trace.deterministic else float(uniforms.random())
            decided = decide(*senses(step.ram, starts=step.number == 0), uniform)
            if decided != action:
                at, what = step.number + 1, f"action {decided} is decided at step {step.number + 1}, not {action}"
                return _verification(trace, at, at, what)
    return _verification(trace, trace.length, None, "")


def _verification(trace: Trace, steps: int, first_difference: int | None, wrong: str) -> Verification:
    here = ale_version()
    other = f"; the trace was made with ale-py {trace.ale_py}, this is {here}" if trace.ale_py != here else ""
    return Verification(
        ok=not wrong,
        steps_checked=steps,
        first_difference=first_difference,
        what=(wrong or f"all {steps} steps agree") + other,
        ale_py=trace.ale_py,
        ale_py_here=here,
    )
