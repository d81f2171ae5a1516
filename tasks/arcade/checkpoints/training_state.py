"""Training state: what resuming needs beyond the checkpoint, so that training continues bit-for-bit.

manifest.json              SHA-256 of each other file
training.json              counters, random generators, pending log values, each environment's generators
optimizer.safetensors      optimizer state
environments.safetensors   each environment's state at its episode's start (with the frame for policies on pixels),
                           its actions since, and the recurrent state for policies with memory
playing.safetensors        weights that the current rollout is collected with; empty between rollouts
target.safetensors         target network weights, and
replay_buffer.safetensors  the replay buffer: only for algorithms that have them
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from tasks.arcade.checkpoints.verified_folder import Arrays, DamagedFolderError, pack, read_folder, unpack, write_folder
from tasks.arcade.emulator.emulator import EpisodeStart
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.rollouts.environment import EnvironmentState
from tasks.arcade.settings.base import Settings, parse_json
from tasks.arcade.settings.game import MAX_ACTIONS

_LONGEST = 1_000_000
"""Maximum steps per episode: the maximum number of frames in `GameSettings`."""
_LARGEST_START = 1024**2
"""Maximum bytes of a state; ALE's are about 14,000."""
_LARGEST_FRAME = 256 * 160
"""Maximum pixels of a frame, one byte each; the largest screen of ale-py's games has 250 lines."""
_LARGEST_MEMORY = 4 * 1024
"""Maximum floats of a recurrent state: the maximum in `RecurrentNetworkSettings`."""
_FILES = ("training.json", "optimizer.safetensors", "environments.safetensors", "playing.safetensors")
_OFF_POLICY_FILES = ("target.safetensors", "replay_buffer.safetensors")


class Counters(Settings):
    """Counters and generators of a training run between two rollouts.

    JSON preserves floats exactly: Python writes the shortest text that reads back the same.
    """

    step: int = Field(ge=0, description="Environment steps trained")
    n_updates: int = Field(ge=0)
    returns: tuple[dict[str, float], ...] = Field(description="Stable-Baselines3's buffer of the last episodes")
    pending: dict[str, float] = Field(description="Values to be logged with the next rollout")
    numpy_generator: dict[str, Any]
    torch_generator: str = Field(description="State of PyTorch's generator in hexadecimal")
    reward_scale: dict[str, Any]
    episodes: int = Field(default=0, ge=0, description="Completed episodes, counted where logging depends on it")


@dataclass(frozen=True)
class TrainingState:
    """State of a training run between two rollouts.

    Attributes:
        counters: Counters and generators.
        optimizer: Optimizer state by name.
        environments: State of every environment, before the current rollout if one has started.
        playing: Weights that the current rollout is collected with; empty if none has started.
        target: Target network weights, if the algorithm has one.
        replay_buffer: Contents of the `TransitionBuffer`, if the algorithm has one.
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
    checkpoint: str = Field(description="Digest of the checkpoint at the same step")
    counters: Counters
    environments: tuple[_Generators, ...]


def write_state(state: TrainingState, checkpoint: str, directory: Path) -> str:
    """Write a training state atomically.

    Args:
        state: The training state.
        checkpoint: Digest of the checkpoint at the same step.
        directory: Folder to write, which must not exist yet.

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
        if one.start.frame:
            environments[f"{index}.picture"] = np.frombuffer(one.start.frame, np.uint8)
        if one.recurrent_state:
            environments[f"{index}.memory"] = np.frombuffer(one.recurrent_state, np.float32)
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
        DamagedFolderError: The training state is damaged or belongs to another checkpoint.
    """
    contents = read_folder(directory, _FILES, optional=_OFF_POLICY_FILES)
    try:
        description = parse_json(_Description, contents["training.json"])
    except ValueError as error:
        raise DamagedFolderError(f"training.json is invalid: {error}") from None
    if description.checkpoint != checkpoint:
        raise DamagedFolderError(f"it belongs to checkpoint {description.checkpoint[:12]}, not to {checkpoint[:12]}")
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
    key = f"{index}.picture"
    frame = _bytes_of(arrays, key, _LARGEST_FRAME) if key in arrays else b""
    if max(actions, default=0) >= MAX_ACTIONS:
        raise DamagedFolderError(f"environment {index} has action {max(actions)}; the maximum is {MAX_ACTIONS - 1}")
    for generator in (generators.skip_generator, generators.action_generator):
        try:
            np.random.PCG64().state = generator  # type: ignore[assignment]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DamagedFolderError(f"environment {index} has an invalid generator state") from None
    begin = EpisodeStart(start, generators.skip_generator, frame)
    return EnvironmentState(begin, tuple(actions), generators.action_generator, _memory(arrays, f"{index}.memory"))


def _memory(arrays: Arrays, name: str) -> bytes:
    array = arrays.get(name)
    if array is None:
        return b""
    if array.dtype != np.float32 or array.ndim != 1 or array.size > _LARGEST_MEMORY or not np.isfinite(array).all():
        raise DamagedFolderError(
            f"environments.safetensors has an invalid {name}: expected up to {_LARGEST_MEMORY} finite floats"
        )
    return array.tobytes()


def _bytes_of(arrays: Arrays, name: str, max_size: int) -> bytes:
    array = arrays.get(name)
    if array is None or array.dtype != np.uint8 or array.ndim != 1 or array.size > max_size:
        raise DamagedFolderError(f"environments.safetensors has no {name} of up to {max_size} bytes")
    return array.tobytes()
