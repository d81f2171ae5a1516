"""An untrained checkpoint, which costs as much to play as a trained one."""

from __future__ import annotations

import numpy as np

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.policies.algorithms import policy_weight_shapes
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings


def untrained_checkpoint(game: GameSettings, approach: ApproachSettings) -> Checkpoint:
    """Return a checkpoint of an approach with random weights."""
    names, rng = action_names(game), np.random.default_rng(0)
    shapes = policy_weight_shapes(approach, len(names))
    weights = {name: (rng.normal(size=shape) / 16).astype(np.float32) for name, shape in shapes.items()}
    run = RunSettings(game=game, approach=approach, seed=0, steps=1, checkpoint_every=1)
    return Checkpoint(run, 0, names, weights, Statistics.empty())
