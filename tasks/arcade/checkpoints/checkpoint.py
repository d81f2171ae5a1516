"""Checkpoint files: everything needed to play the policy of one step of one run, as plain data.

    manifest.json        SHA-256 of each other file; its own SHA-256 is the checkpoint's digest
    checkpoint.json      settings, step, action names and ROM
    policy.safetensors   network weights
    features.safetensors feature statistics

Reading a checkpoint executes no code: JSON and safetensors hold only data. The state needed to resume training is
stored separately (tasks/arcade/checkpoints/training_state.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from tasks.arcade.checkpoints.verified_folder import DamagedFolderError, pack, read_folder, unpack, write_folder
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, rom_digest
from tasks.arcade.errors import RamreelError
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.agent import Agent
from tasks.arcade.policies.algorithms import build_policy, check_policy_weights
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.settings.base import Settings, parse_json
from tasks.arcade.settings.game import MAX_ACTIONS
from tasks.arcade.settings.run import RunSettings

_DESCRIPTION = "checkpoint.json"
_FILES = (_DESCRIPTION, "policy.safetensors", "features.safetensors")


class CheckpointError(RamreelError, ValueError):
    """A checkpoint cannot be used."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to play the policy of one step of one run.

    Attributes:
        settings: Resolved settings of the run.
        step: Environment steps trained.
        action_names: ALE's names of the actions, in the policy's order.
        weights: Network weights; empty for an approach that does not learn.
        statistics: Feature statistics.
    """

    settings: RunSettings
    step: int
    action_names: tuple[str, ...]
    weights: Weights
    statistics: Statistics

    def agent(self) -> Agent:
        """Return the agent: features and policy."""
        approach = self.settings.approach
        policy = build_policy(approach, len(self.action_names), self.weights)
        return Agent(Features(approach.features, self.statistics), policy)


def unlearned_checkpoint(settings: RunSettings) -> Checkpoint:
    """Return the checkpoint of a run whose approach learns nothing, at the run's last step; it takes no rollouts."""
    return Checkpoint(settings, settings.steps, action_names(settings.game), {}, Statistics.empty())


class CheckpointDescription(Settings):
    """Contents of `checkpoint.json`."""

    step: int = Field(ge=0)
    action_names: tuple[str, ...] = Field(min_length=1, max_length=MAX_ACTIONS)
    rom_sha256: str
    settings: RunSettings


def write_checkpoint(checkpoint: Checkpoint, directory: Path) -> str:
    """Write a checkpoint's files atomically.

    Returns:
        The checkpoint's digest, 64 hex digits.

    Raises:
        OSError: The checkpoint cannot be written; no partial folder remains.
    """
    description = CheckpointDescription(
        step=checkpoint.step,
        action_names=checkpoint.action_names,
        rom_sha256=rom_digest(checkpoint.settings.game.rom),
        settings=checkpoint.settings,
    )
    contents = {
        _DESCRIPTION: description.model_dump_json(indent=2).encode(),
        "policy.safetensors": pack(checkpoint.weights),
        "features.safetensors": pack(checkpoint.statistics.arrays()),
    }
    return write_folder(contents, directory)


def read_checkpoint(directory: Path, digest: str | None = None, *, name: str | None = None) -> Checkpoint:
    """Read a checkpoint and verify every byte of it against its manifest.

    Args:
        directory: Folder of the checkpoint.
        digest: Expected digest, if known.
        name: Name of the checkpoint in errors (default: the folder's name).

    Raises:
        CheckpointError: The checkpoint is incomplete, damaged, of a newer schema, or its ROM is not installed.
    """
    try:
        return _read(directory, digest)
    except (DamagedFolderError, UnknownEnvironmentError) as error:
        raise CheckpointError(f"checkpoint {name or directory.name}: {error}") from None


def _read(directory: Path, digest: str | None) -> Checkpoint:
    contents = read_folder(directory, _FILES, digest)
    description = _parse_description(contents[_DESCRIPTION])
    try:
        weights = unpack(contents, "policy.safetensors")
        statistics = Statistics.from_arrays(unpack(contents, "features.safetensors"))
        Features(description.settings.approach.features, statistics)
        _check(description, weights)
    except (DamagedFolderError, UnknownEnvironmentError):
        raise
    except ValueError as error:
        raise DamagedFolderError(f"its contents are invalid: {str(error).splitlines()[0]}") from None
    return Checkpoint(description.settings, description.step, description.action_names, weights, statistics)


def read_description(directory: Path) -> CheckpointDescription:
    """Return the description of a checkpoint that this process has written; its files are not verified."""
    return _parse_description((directory / _DESCRIPTION).read_bytes())


def _parse_description(raw: bytes) -> CheckpointDescription:
    try:
        return parse_json(CheckpointDescription, raw)
    except ValueError as error:
        raise DamagedFolderError(f"{_DESCRIPTION} is invalid: {error}") from None


def _check(description: CheckpointDescription, weights: Weights) -> None:
    check_policy_weights(description.settings.approach, len(description.action_names), weights)
    installed = rom_digest(description.settings.game.rom)
    if description.rom_sha256 != installed:
        raise ValueError(f"its ROM is {description.rom_sha256[:12]}, but the installed one is {installed[:12]}")
