"""Export a checkpoint as a zip that `PPO.load`, `A2C.load`, `DQN.load` and sb3-contrib's algorithms read.

The exported policy observes `gymnasium.wrappers.FrameStackObservation(env, 2)` over a RAM environment, that is the
previous and the current RAM, or the last four frames (tasks/arcade/emulator/frame_stack.py). It computes the features
itself, with the same code as everywhere else, so ramreel must be installed where it is loaded.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from tasks.arcade.atomic_write import atomic_file
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.verified_folder import Arrays
from tasks.arcade.errors import RamreelError
from tasks.arcade.policies.algorithms import algorithm_of
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features, observation_kind
from tasks.arcade.settings.algorithms import OffPolicySettings
from tasks.arcade.settings.features import FeatureSettings


class ExportError(RamreelError, ValueError):
    """A checkpoint cannot be exported."""


class RamFeatures(BaseFeaturesExtractor):
    """Feature extractor for observations of shape (n, 2, 128): the previous and the current RAM."""

    def __init__(self, observation_space: spaces.Box, settings: FeatureSettings, statistics: Arrays) -> None:
        features = Features(settings, Statistics.from_arrays(statistics))
        super().__init__(observation_space, features.size)
        self._features = features

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        rams = observations.to(torch.uint8).cpu().numpy()
        return torch.from_numpy(self._features(rams[:, 1], rams[:, 0])).to(observations.device)


def export(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint as a Stable-Baselines3 zip, atomically.

    Args:
        checkpoint: the checkpoint.
        path: the zip, in an existing folder.

    Raises:
        ExportError: If the approach does not learn.
        OSError: If the zip cannot be written.
    """
    model = _build(checkpoint)
    weights = {name: torch.from_numpy(array.copy()) for name, array in checkpoint.weights.items()}
    # Checkpoints have no target network: initialize it from the online network.
    targets = [name for name in model.policy.state_dict() if "_target." in name]
    weights |= {name: weights[name.replace("_target.", ".")] for name in targets}
    model.policy.load_state_dict(weights)
    model.num_timesteps = checkpoint.step
    # Stable-Baselines3 appends .zip to a path without it.
    with atomic_file(path, suffix=".zip") as temporary:
        model.save(temporary)


def _build(checkpoint: Checkpoint) -> BaseAlgorithm:
    approach = checkpoint.settings.approach
    training = algorithm_of(approach).training
    if training is None:
        raise ExportError(f"{approach.name} does not learn: there are no weights to export")
    kind, policy, arguments_of = map(resolve_name, (training.exported, training.policy, training.arguments))
    arguments: dict[str, Any] = arguments_of(approach.algorithm)
    shape = observation_kind(approach.features).observation_shape
    if not approach.features.uses_pixels:
        shape = (2, *shape)
        extractor = {"settings": approach.features, "statistics": checkpoint.statistics.arrays()}
        arguments["policy_kwargs"] |= {
            "features_extractor_class": RamFeatures,
            "features_extractor_kwargs": extractor,
        }
    # Without an environment, the attributes that Stable-Baselines3 would derive from it are set below.
    model: BaseAlgorithm = kind(policy, None, device="cpu", _init_setup_model=False, **arguments)
    model.observation_space = spaces.Box(0, 255, shape, np.uint8)
    model.action_space = spaces.Discrete(len(checkpoint.action_names))
    model.n_envs = approach.n_envs
    model._setup_model()
    if isinstance(approach.algorithm, OffPolicySettings):
        model.exploration_rate = approach.algorithm.exploration_final_eps  # type: ignore[attr-defined]
    return model
