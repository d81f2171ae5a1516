"""A checkpoint's files: everything needed to play from one step of one run, as plain data.

    manifest.json        the SHA-256 of each other file; its own SHA-256 is the checkpoint's digest
    checkpoint.json      settings, step, the game's actions and ROM
    policy.safetensors   the network's weights
    features.safetensors the feature statistics

Reading one executes nothing from it: JSON and safetensors hold numbers and words only. What going on with the
training needs lies beside it (tasks/arcade/checkpoints/training_state.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from tasks.arcade.checkpoints.verified_folder import DamagedError, pack, read_folder, unpack, write_folder
from tasks.arcade.emulator.emulator import UnknownGameError, action_names, rom_digest
from tasks.arcade.errors import RamreelError
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.agent import Agent
from tasks.arcade.policies.factory import check, policy_of
from tasks.arcade.policies.features import Features, Statistics
from tasks.arcade.settings.base import Settings, parsed
from tasks.arcade.settings.run import RunSettings

_FILES = ("checkpoint.json", "policy.safetensors", "features.safetensors")


class CheckpointError(RamreelError, ValueError):
    """A checkpoint cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to play from one step of one run.

    Attributes:
        settings: of the run, resolved.
        step: environment steps trained.
        action_names: ALE's names of the actions, in the policy's order.
        weights: the network's arrays; none for an approach that learns nothing.
        statistics: the feature statistics.
    """

    settings: RunSettings
    step: int
    action_names: tuple[str, ...]
    weights: Weights
    statistics: Statistics

    def agent(self) -> Agent:
        """What decides."""
        approach = self.settings.approach
        policy = policy_of(approach, len(self.action_names), self.weights)
        return Agent(Features(approach.features, self.statistics), policy)


def unlearned_checkpoint(settings: RunSettings) -> Checkpoint:
    """Return the checkpoint of a run whose approach learns nothing, at the run's last step; it takes no rollouts."""
    return Checkpoint(settings, settings.steps, action_names(settings.game), {}, Statistics.empty())


class _Description(Settings):
    step: int = Field(ge=0)
    action_names: tuple[str, ...] = Field(min_length=1, max_length=18)
    rom_sha256: str
    settings: RunSettings


def write(checkpoint: Checkpoint, directory: Path) -> str:
    """Write a checkpoint's files; `directory` appears whole or not at all.

    Returns:
        The checkpoint's digest, 64 hex digits.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    description = _Description(
        step=checkpoint.step,
        action_names=checkpoint.action_names,
        rom_sha256=rom_digest(checkpoint.settings.game.rom),
        settings=checkpoint.settings,
    )
    contents = {
        "checkpoint.json": description.model_dump_json(indent=2).encode(),
        "policy.safetensors": pack(checkpoint.weights),
        "features.safetensors": pack(checkpoint.statistics.arrays()),
    }
    return write_folder(contents, directory)


def read(directory: Path, digest: str | None = None, *, name: str | None = None) -> Checkpoint:
    """Read a checkpoint and check every byte of it against its manifest.

    Args:
        directory: where its files lie.
        digest: what its digest has to be, if known.
        name: what to call it in errors; the directory's name otherwise.

    Raises:
        CheckpointError: it is incomplete, damaged, of a newer schema, or of a game that is not installed.
    """
    try:
        return _read(directory, digest)
    except (DamagedError, UnknownGameError) as error:
        raise CheckpointError(f"checkpoint {name or directory.name}: {error}") from None


def _read(directory: Path, digest: str | None) -> Checkpoint:
    contents = read_folder(directory, _FILES, digest)
    try:
        description = parsed(_Description, contents["checkpoint.json"])
    except ValueError as error:
        raise DamagedError(f"checkpoint.json makes no sense: {error}") from None
    try:
        weights = unpack(contents, "policy.safetensors")
        statistics = Statistics.from_arrays(unpack(contents, "features.safetensors"))
        Features(description.settings.approach.features, statistics)
        _check(description, weights)
    except (DamagedError, UnknownGameError):
        raise
    except ValueError as error:
        raise DamagedError(f"its contents make no sense: {str(error).splitlines()[0]}") from None
    return Checkpoint(description.settings, description.step, description.action_names, weights, statistics)


def _check(description: _Description, weights: Weights) -> None:
    check(description.settings.approach, len(description.action_names), weights)
    installed = rom_digest(description.settings.game.rom)
    if description.rom_sha256 != installed:
        raise ValueError(f"its ROM is {description.rom_sha256[:12]}, the installed one {installed[:12]}")
