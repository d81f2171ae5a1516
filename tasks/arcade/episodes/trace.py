"""One episode as it was played, as a file.

Steps are counted as everywhere: step 0 is the reset, step t is what the t-th action led to.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import ConfigDict, Field, model_validator

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import SCHEMA, NewerSchemaError, Settings, parsed
from tasks.arcade.settings.game import GameSettings

_LONGEST = 1_000_000
"""Steps; as many as there can be frames in `GameSettings`."""
_LARGEST_FILE = 64 * 1024**2
"""Bytes; the longest trace has about 20 a step."""
SHORT = 8
"""Hex digits that a trace keeps of each step's digest."""

Ended = Literal["terminated", "truncated"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShortDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class TraceError(RamreelError, ValueError):
    """A trace cannot be read, or cannot be played here; the message says why."""


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
    frames: int = Field(ge=1, description="frames emulated; a video draws these and the reset's picture")
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
        if self.ram_digest[:SHORT] != self.digests[-1]:
            raise ValueError("ram_digest is not the last of digests")
        return self


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
