"""Trace: the record of one episode, as a JSON file.

Step 0 is the reset; step t is the result of the t-th action.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tasks.arcade.atomic_write import atomic_file
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import SCHEMA, NewerSchemaError, Settings, parse_json
from tasks.arcade.settings.evaluation import PixelMethod
from tasks.arcade.settings.game import MAX_ACTIONS, GameSettings

_LONGEST = 1_000_000
"""Maximum steps: the maximum number of frames in `GameSettings`."""
_LARGEST_FILE = 64 * 1024**2
"""Maximum bytes; a trace has about 20 per step."""
SHORT_DIGEST = 8
"""Hex digits of each step's digest in a trace."""

EpisodeEnd = Literal["terminated", "truncated"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShortDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class TraceError(RamreelError, ValueError):
    """A trace cannot be read, or cannot be replayed with the installed ale-py."""


class ReadFromPixels(Settings):
    """The RAM that a player observed, where it was read from the screens instead of the emulator."""

    method: PixelMethod
    decoder: Sha256 | None = Field(description="Digest of the decoder (null: none)")
    digests: tuple[ShortDigest, ...] = Field(
        max_length=_LONGEST + 1, description="First 8 hex digits of the SHA-256 chain over the observed RAM, likewise"
    )


class Trace(Settings):
    """Record of one episode: enough to replay and render it without the policy."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)
    game: GameSettings
    ale_py: str = Field(pattern=r"^[\w.+-]{1,40}$", description="Version of ale-py the episode was played with")
    rom_sha256: Sha256
    seed: int = Field(ge=0, lt=2**32, description="Reset seed of the emulator")
    actions: tuple[Annotated[int, Field(ge=0, lt=MAX_ACTIONS)], ...] = Field(min_length=1, max_length=_LONGEST)
    rewards: tuple[int, ...] = Field(max_length=_LONGEST, description="Unclipped rewards, one per step")
    digests: tuple[ShortDigest, ...] = Field(
        max_length=_LONGEST + 1,
        description="First 8 hex digits of the RAM's SHA-256 chain at the reset and after each step: "
        "d[0] = sha256(ram), d[t] = sha256(d[t - 1] + ram)",
    )
    ram_digest: Sha256 = Field(description="Full last digest of the chain")
    episode_return: int = Field(description="Sum of the rewards")
    length: int = Field(ge=1, description="Steps")
    frames: int = Field(ge=1, description="Emulated frames; a video shows these and the frame of the reset")
    checkpoint: Sha256 | None = Field(description="Digest of the checkpoint (null: other player)")
    checkpoint_step: int | None = Field(ge=0, description="Training step of the checkpoint")
    action_seed: int = Field(ge=0, description="Seed of NumPy's default generator that samples the actions")
    deterministic: bool = Field(description="Whether actions were greedy instead of sampled")
    human_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(),
        max_length=_LONGEST,
        exclude_if=lambda steps: not steps,
        description="Steps, in ascending order, whose action a person chose in a live view instead of the player",
    )
    from_pixels: ReadFromPixels | None = Field(
        default=None,
        exclude_if=lambda observed: observed is None,
        description="Observed RAM, if the player observed what was read from the screens (default: the RAM itself)",
    )
    ended: EpisodeEnd | Literal["limit"] = Field(description="Why the episode ended; limit: stopped at `max_steps`")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        steps = {len(self.actions), len(self.rewards), len(self.digests) - 1, self.length}
        if len(steps) != 1:
            raise ValueError("length, actions, rewards and digests disagree on the number of steps")
        if not self.length <= self.frames <= self.game.max_episode_frames:
            raise ValueError("frames is not between the number of steps and max_episode_frames")
        if self.from_pixels is not None and len(self.from_pixels.digests) != len(self.digests):
            raise ValueError("from_pixels and digests disagree on the number of steps")
        if sum(self.rewards) != self.episode_return:
            raise ValueError("episode_return is not the sum of rewards")
        if self.ram_digest[:SHORT_DIGEST] != self.digests[-1]:
            raise ValueError("ram_digest is not the last of digests")
        if sorted(set(self.human_steps)) != list(self.human_steps) or max(self.human_steps, default=0) > self.length:
            raise ValueError("human_steps are not steps of the episode in ascending order")
        return self


def write_trace(trace: Trace, path: Path) -> None:
    """Write a trace as JSON atomically.

    Raises:
        OSError: The file cannot be written; no partial file remains.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(trace.model_dump_json(), "utf-8")


def read_trace(path: Path) -> Trace:
    """Read a trace and check that it is consistent; `verify` checks it against the emulator.

    Raises:
        TraceError: The file does not exist, is not a trace, or has a newer schema.
    """
    if not path.is_file():
        raise TraceError(f"{path} does not exist. Expected a trace, e.g. step-000250000.trace.json")
    with path.open("rb") as file:
        raw = file.read(_LARGEST_FILE + 1)
    if len(raw) > _LARGEST_FILE:
        raise TraceError(f"{path} is not a trace: it is larger than {_LARGEST_FILE // 1024**2} MiB")
    try:
        return parse_json(Trace, raw)
    except NewerSchemaError as error:
        raise TraceError(f"{path} has {error}") from None
    except ValueError as error:
        raise TraceError(f"{path} is not a trace: {error}") from None
