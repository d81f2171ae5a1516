"""A checkpoint's files: plain data, written whole or not at all, checked when read.

    manifest.json        schema, and the SHA-256 of each other file; its own SHA-256 is the checkpoint's digest
    checkpoint.json      settings, step, the game's actions and ROM
    policy.safetensors   the network's weights
    features.safetensors the feature statistics

Reading one executes nothing from it: JSON and safetensors hold numbers and words only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from tasks.arcade.features import Features, Statistics, feature_size
from tasks.arcade.game import UnknownGameError, rom_digest
from tasks.arcade.policy import Agent, NetworkPolicy, UniformPolicy, Weights, check_weights
from tasks.arcade.settings import SCHEMA, PpoSettings, RunSettings, Settings

MANIFEST = "manifest.json"
_FILES = ("checkpoint.json", "policy.safetensors", "features.safetensors")
_LARGEST_FILE = 2 * 1024**3


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
        if isinstance(algorithm, PpoSettings):
            return Agent(features, NetworkPolicy(algorithm.network, features.size, self.weights))
        return Agent(features, UniformPolicy(len(self.action_names)))


class _Manifest(Settings):
    format: Literal["ramreel checkpoint"] = "ramreel checkpoint"
    version: int = SCHEMA
    files: dict[str, str]


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
        "policy.safetensors": _pack(checkpoint.weights),
        "features.safetensors": _pack(checkpoint.statistics.arrays()),
    }
    manifest = _Manifest(files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})
    contents[MANIFEST] = manifest.model_dump_json(indent=2).encode()
    _write_whole(contents, directory)
    return hashlib.sha256(contents[MANIFEST]).hexdigest()


def _pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    return bytes(save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _write_whole(contents: Mapping[str, bytes], directory: Path) -> None:
    temporary = directory.with_name(f".{directory.name}.{uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        for name, data in contents.items():
            with (temporary / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read(directory: Path, digest: str | None = None, *, name: str | None = None) -> Checkpoint:
    """Read a checkpoint and check every byte of it against its manifest.

    Args:
        directory: where its files lie.
        digest: what the manifest's own digest has to be, if known.
        name: what to call it in errors; the directory's name otherwise.

    Raises:
        CheckpointError: it is incomplete, damaged, of a newer schema, or of a game that is not installed.
    """
    try:
        return _read(directory, digest)
    except (CheckpointError, UnknownGameError) as error:
        raise CheckpointError(f"checkpoint {name or directory.name}: {error}") from None


def _read(directory: Path, digest: str | None) -> Checkpoint:
    raw = _bytes(directory / MANIFEST)
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest:
        raise CheckpointError(f"its digest is {found[:12]}, not {digest[:12]} as recorded when it was saved")
    manifest = _manifest(raw)
    contents = {file: _bytes(directory / file) for file in _FILES}
    for file, data in contents.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[file]:
            raise CheckpointError(f"{file} is damaged: its SHA-256 is not the manifest's")
    try:
        description = _Description.model_validate_json(contents["checkpoint.json"])
        weights = load_arrays(contents["policy.safetensors"])
        statistics = Statistics.from_arrays(load_arrays(contents["features.safetensors"]))
        _check(description, weights)
    except (ValidationError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"its contents make no sense: {str(error).splitlines()[0]}") from None
    return Checkpoint(description.settings, description.step, description.action_names, weights, statistics)


def _bytes(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise CheckpointError(f"{path.name} is missing")
    if path.stat().st_size > _LARGEST_FILE:
        raise CheckpointError(f"{path.name} is larger than 2 GiB")
    return path.read_bytes()


def _manifest(raw: bytes) -> _Manifest:
    try:
        fields = json.loads(raw)
    except ValueError:
        raise CheckpointError(f"{MANIFEST} is damaged: it is not JSON") from None
    version = fields.get("version") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        raise CheckpointError(f"it has schema {version}; this ramreel reads up to {SCHEMA}: update ramreel")
    try:
        manifest = _Manifest.model_validate(fields)
    except ValidationError as error:
        raise CheckpointError(f"{MANIFEST} makes no sense: {error.errors()[0]['msg']}") from None
    if set(manifest.files) != set(_FILES):
        raise CheckpointError(f"{MANIFEST} lists {', '.join(sorted(manifest.files))}, not {', '.join(_FILES)}")
    return manifest


def _check(description: _Description, weights: Weights) -> None:
    approach = description.settings.approach
    if isinstance(approach.algorithm, PpoSettings):
        check_weights(approach.algorithm.network, feature_size(approach.features), weights)
        if len(weights["action_net.bias"]) != len(description.action_names):
            raise ValueError("the network has another number of actions than the game")
    elif weights:
        raise ValueError("an approach that learns nothing has weights")
    installed = rom_digest(description.settings.game.rom)
    if description.rom_sha256 != installed:
        raise ValueError(f"its ROM is {description.rom_sha256[:12]}, the installed one {installed[:12]}")
