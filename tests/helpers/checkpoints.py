"""A checkpoint with random weights, and a forged manifest of its files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.policies.algorithms import policy_weight_shapes
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.run import RunSettings

CHECKPOINT_FILES = ["manifest.json", "checkpoint.json", "policy.safetensors", "features.safetensors"]


def random_checkpoint(name: str = "ppo-tuned", step: int = 4096) -> Checkpoint:
    """Return a checkpoint of Pong with random weights and feature statistics."""
    game, settings = resolve("ALE/Pong-v5"), approach(name)
    run = RunSettings(game=game, approach=settings, seed=1, steps=10_000, checkpoint_every=4096)
    generator = np.random.default_rng(0)
    shapes = policy_weight_shapes(settings, 6)
    weights = {key: generator.normal(0, 0.1, shape).astype(np.float32) for key, shape in shapes.items()}
    statistics = Statistics.empty().updated(generator.integers(256, size=(50, 128), dtype=np.uint8))
    return Checkpoint(run, step, action_names(game), weights, statistics)


def forge_manifest(directory: Path) -> None:
    """Replace the hashes in a manifest by those of the modified files."""
    path = directory / "manifest.json"
    fields = json.loads(path.read_text())
    fields["files"] = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in fields["files"]}
    path.write_text(json.dumps(fields))
