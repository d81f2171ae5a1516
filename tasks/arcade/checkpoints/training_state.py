"""What going on with a training needs, beyond what playing needs, so that it goes on to the bit.

manifest.json              the SHA-256 of each other file
training.json              counters, random generators, what is logged next, each environment's generators
optimizer.safetensors      the optimizer's moments
environments.safetensors   each environment's state at its episode's start, with the picture where a policy sees it,
                           its actions since, and what the policy remembers of them where it has a memory
playing.safetensors        the weights that the rollout under way is played with; empty if none is
target.safetensors         the target network's weights, and
replay_buffer.safetensors  the last steps that were played: only where an algorithm has them
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from tasks.arcade.checkpoints.verified_folder import Arrays, DamagedError, pack, read_folder, unpack, write_folder
from tasks.arcade.emulator.emulator import EpisodeStart
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.rollouts.environment import EnvironmentState
from tasks.arcade.settings.base import Settings, parsed

_LONGEST = 1_000_000
"""Steps of an episode; as many as there can be frames in `GameSettings`."""
_LARGEST_START = 1024**2
"""Bytes; ALE's are about 14,000."""
_LARGEST_PICTURE = 256 * 160
"""Pixels, a byte each; the highest picture of ale-py's games has 250 lines."""
_LARGEST_MEMORY = 4 * 1024
"""Numbers; as many as there can be in `RecurrentNetworkSettings`."""
_MOST_ACTIONS = 18
_FILES = ("training.json", "optimizer.safetensors", "environments.safetensors", "playing.safetensors")
_OFF_POLICY_FILES = ("target.safetensors", "replay_buffer.safetensors")


class Counters(Settings):
    """The numbers of a training between two rollouts.

    Floats keep every bit in JSON, as Python writes the shortest text that reads back the same.
    """

    step: int = Field(ge=0, description="environment steps done")
    n_updates: int = Field(ge=0)
    returns: tuple[dict[str, float], ...] = Field(description="the last episodes, as Stable-Baselines3 keeps them")
    pending: dict[str, float] = Field(description="recorded, to be logged with the next rollout")
    numpy_generator: dict[str, Any]
    torch_generator: str = Field(description="hexadecimal")
    reward_scale: dict[str, Any]
    episodes: int = Field(default=0, ge=0, description="that ended; counted where logging goes by it")


@dataclass(frozen=True)
class TrainingState:
    """A training between two rollouts.

    Attributes:
        counters: numbers and generators.
        optimizer: its moments by name.
        environments: every environment in flight; before the rollout under way, if one is.
        playing: the weights that this rollout is played with; none if none is under way.
        target: the target network's weights, where the algorithm has one.
        replay_buffer: what a `TransitionBuffer` holds, where the algorithm has one.
    """

    counters: Counters
    optimizer: Arrays
    environments: tuple[EnvironmentState, ...]
    playing: Weights = field(default_factory=dict)
    target: Weights = field(default_factory=dict)
    replay_buffer: Arrays = field(default_factory=dict)


class _Generators(Settings):
    action_generator: dict[str, Any]
    skip_generator: dict[str, Any]


class _Description(Settings):
    checkpoint: str = Field(description="digest of what playing needs at the same step")
    counters: Counters
    environments: tuple[_Generators, ...]


def write_state(state: TrainingState, checkpoint: str, directory: Path) -> str:
    """Write a training state; `directory` appears whole or not at all.

    Args:
        state: the state.
        checkpoint: digest of the checkpoint at the same step.
        directory: where.

    Returns:
        The folder's digest.
    """
    generators = tuple(
        _Generators(action_generator=one.action_generator, skip_generator=one.start.skip_generator)
        for one in state.environments
    )
    description = _Description(checkpoint=checkpoint, counters=state.counters, environments=generators)
    environments: dict[str, Any] = {}
    for index, one in enumerate(state.environments):
        environments[f"{index}.start"] = np.frombuffer(one.start.state, np.uint8)
        environments[f"{index}.actions"] = np.array(one.actions, np.uint8)
        if one.start.picture:
            environments[f"{index}.picture"] = np.frombuffer(one.start.picture, np.uint8)
        if one.memory:
            environments[f"{index}.memory"] = np.frombuffer(one.memory, np.float32)
    contents = {
        "training.json": description.model_dump_json().encode(),
        "optimizer.safetensors": pack(state.optimizer),
        "environments.safetensors": pack(environments),
        "playing.safetensors": pack(state.playing),
    }
    if state.replay_buffer:
        contents |= dict(zip(_OFF_POLICY_FILES, (pack(state.target), pack(state.replay_buffer)), strict=True))
    return write_folder(contents, directory)


def read_state(directory: Path, checkpoint: str) -> TrainingState:
    """Read a training state and check that it belongs to a checkpoint.

    Raises:
        DamagedError: it is damaged, or another checkpoint's.
    """
    contents = read_folder(directory, _FILES, optional=_OFF_POLICY_FILES)
    try:
        description = parsed(_Description, contents["training.json"])
    except ValueError as error:
        raise DamagedError(f"training.json makes no sense: {error}") from None
    if description.checkpoint != checkpoint:
        raise DamagedError(f"it belongs to checkpoint {description.checkpoint[:12]}, not to {checkpoint[:12]}")
    arrays = unpack(contents, "environments.safetensors")
    environments = tuple(_environment(arrays, index, one) for index, one in enumerate(description.environments))
    return TrainingState(
        description.counters,
        unpack(contents, "optimizer.safetensors"),
        environments,
        unpack(contents, "playing.safetensors"),
        *(unpack(contents, name) for name in _OFF_POLICY_FILES if name in contents),
    )


def _environment(arrays: Arrays, index: int, generators: _Generators) -> EnvironmentState:
    start = _bytes_of(arrays, f"{index}.start", _LARGEST_START)
    actions = _bytes_of(arrays, f"{index}.actions", _LONGEST)
    picture = f"{index}.picture"
    seen = _bytes_of(arrays, picture, _LARGEST_PICTURE) if picture in arrays else b""
    if max(actions, default=0) >= _MOST_ACTIONS:
        raise DamagedError(f"environment {index} took action {max(actions)}: there are {_MOST_ACTIONS}")
    for generator in (generators.skip_generator, generators.action_generator):
        try:
            np.random.PCG64().state = generator  # type: ignore[assignment]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DamagedError(f"environment {index} has a generator that makes no sense") from None
    begin = EpisodeStart(start, generators.skip_generator, seen)
    return EnvironmentState(begin, tuple(actions), generators.action_generator, _memory(arrays, f"{index}.memory"))


def _memory(arrays: Arrays, name: str) -> bytes:
    array = arrays.get(name)
    if array is None:
        return b""
    if array.dtype != np.float32 or array.ndim != 1 or array.size > _LARGEST_MEMORY or not np.isfinite(array).all():
        raise DamagedError(f"environments.safetensors has a {name} that is not up to {_LARGEST_MEMORY} numbers")
    return array.tobytes()


def _bytes_of(arrays: Arrays, name: str, most: int) -> bytes:
    array = arrays.get(name)
    if array is None or array.dtype != np.uint8 or array.ndim != 1 or array.size > most:
        raise DamagedError(f"environments.safetensors has no {name} of up to {most} bytes")
    return array.tobytes()
