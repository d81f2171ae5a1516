"""A checkpoint's files: everything needed to play from one step of one run, as plain data.

    manifest.json        the SHA-256 of each other file; its own SHA-256 is the checkpoint's digest
    checkpoint.json      settings, step, the game's actions and ROM
    policy.safetensors   the network's weights
    features.safetensors the feature statistics

Reading one executes nothing from it: JSON and safetensors hold numbers and words only. What going on with the
training needs lies beside it (tasks/arcade/training_state.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from tasks.arcade.features import Features, Statistics, feature_size
from tasks.arcade.folder import DamagedError, pack, read_folder, unpack, write_folder
from tasks.arcade.game import UnknownGameError, rom_digest
from tasks.arcade.policy import Agent, NetworkPolicy, Weights, check_weights, unlearned_policy
from tasks.arcade.q_policy import QPolicy, check_q_weights
from tasks.arcade.settings import ActorCriticSettings, OffPolicySettings, RunSettings, Settings, UnlearnedSettings

_FILES = ("checkpoint.json", "policy.safetensors", "features.safetensors")


class CheckpointError(ValueError):
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
        algorithm = self.settings.approach.algorithm
        features = Features(self.settings.approach.features, self.statistics)
        if isinstance(algorithm, ActorCriticSettings):
            return Agent(features, NetworkPolicy(algorithm.network, features.size, self.weights))
        if isinstance(algorithm, OffPolicySettings):
            return Agent(features, QPolicy(algorithm, features.size, self.weights))
        return Agent(features, unlearned_policy(algorithm.algorithm, len(self.action_names)))


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
        description = _Description.model_validate_json(contents["checkpoint.json"])
        weights = unpack(contents["policy.safetensors"])
        statistics = Statistics.from_arrays(unpack(contents["features.safetensors"]))
        Features(description.settings.approach.features, statistics)
        _check(description, weights)
    except (ValidationError, ValueError) as error:
        raise DamagedError(f"its contents make no sense: {str(error).splitlines()[0]}") from None
    return Checkpoint(description.settings, description.step, description.action_names, weights, statistics)


def _check(description: _Description, weights: Weights) -> None:
    approach = description.settings.approach
    if isinstance(approach.algorithm, ActorCriticSettings):
        check_weights(approach.algorithm.network, feature_size(approach.features), weights)
        n_actions = len(weights["action_net.bias"])
    elif isinstance(approach.algorithm, OffPolicySettings):
        n_actions = check_q_weights(approach.algorithm, feature_size(approach.features), weights)
    else:
        n_actions = len(description.action_names)
    if n_actions != len(description.action_names):
        raise ValueError("the network has another number of actions than the game")
    if isinstance(approach.algorithm, UnlearnedSettings) and weights:
        raise ValueError("an approach that learns nothing has weights")
    installed = rom_digest(description.settings.game.rom)
    if description.rom_sha256 != installed:
        raise ValueError(f"its ROM is {description.rom_sha256[:12]}, the installed one {installed[:12]}")
