"""A checkpoint as an ordinary zip of Stable-Baselines3, for `PPO.load`, `A2C.load`, `DQN.load` and their kin.

What it observes is what `gymnasium.wrappers.FrameStackObservation(env, 2)` gives over an environment of RAM: the RAM
one step before and the RAM now. A policy on pixels observes the last four pictures (tasks/arcade/emulator/frame_stack.py). The
features are computed within the policy, by the same code as everywhere, so loading one needs ramreel to be installed
where it is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from tasks.arcade.atomic_write import atomic_file
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.verified_folder import Arrays
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import STACK_SHAPE
from tasks.arcade.errors import RamreelError
from tasks.arcade.learner.factory import arguments, off_policy_arguments, ppo_arguments
from tasks.arcade.learner.networks import RamPolicy
from tasks.arcade.learner.off_policy import RamQPolicy, RamQuantilePolicy
from tasks.arcade.learner.recurrent import RecurrentRamPolicy
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features
from tasks.arcade.settings.algorithms import (
    A2cSettings,
    DqnSettings,
    OffPolicySettings,
    PpoSettings,
    QrDqnSettings,
    RecurrentPpoSettings,
)
from tasks.arcade.settings.features import FeatureSettings


class ExportError(RamreelError, ValueError):
    """There is nothing to export; the message says why."""


class RamFeatures(BaseFeaturesExtractor):
    """The features of a checkpoint, of observations of shape (n, 2, 128): the RAM before, and the RAM now."""

    def __init__(self, observation_space: spaces.Box, settings: FeatureSettings, statistics: Arrays) -> None:
        features = Features(settings, Statistics.from_arrays(statistics))
        super().__init__(observation_space, features.size)
        self._features = features

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        rams = observations.to(torch.uint8).cpu().numpy()
        return torch.from_numpy(self._features(rams[:, 1], rams[:, 0])).to(observations.device)


def export(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint as a zip of Stable-Baselines3; it appears whole or not at all.

    Args:
        checkpoint: what plays.
        path: the zip, in a folder that exists.

    Raises:
        ExportError: the checkpoint's approach learns nothing.
        OSError: it cannot be written.
    """
    model = _model(checkpoint)
    weights = {name: torch.from_numpy(array.copy()) for name, array in checkpoint.weights.items()}
    algorithm = checkpoint.settings.approach.algorithm
    if isinstance(model, DQN | QRDQN) and isinstance(algorithm, OffPolicySettings):
        # The target network is no part of what plays: it begins anew, as at its last renewal.
        weights |= {_target_of(name): tensor for name, tensor in weights.items()}
        model.exploration_rate = algorithm.exploration_final_eps
    model.policy.load_state_dict(weights)
    model.num_timesteps = checkpoint.step
    # Stable-Baselines3 appends .zip to a path without it.
    with atomic_file(path, suffix=".zip") as temporary:
        model.save(temporary)


def _target_of(name: str) -> str:
    net, rest = name.split(".", 1)
    return f"{net}_target.{rest}"


Exported = PPO | RecurrentPPO | A2C | DQN | QRDQN


def _model(checkpoint: Checkpoint) -> Exported:
    approach = checkpoint.settings.approach
    kind: type[Exported]
    policy: Any = RamPolicy
    match approach.algorithm:
        case PpoSettings():
            kind, given = PPO, ppo_arguments(approach.algorithm)
        case RecurrentPpoSettings():
            kind, policy, given = RecurrentPPO, RecurrentRamPolicy, ppo_arguments(approach.algorithm)
        case A2cSettings():
            kind, given = A2C, arguments(approach.algorithm)
        case DqnSettings():
            kind, policy, given = DQN, RamQPolicy, off_policy_arguments(approach.algorithm)
        case QrDqnSettings():
            kind, policy, given = QRDQN, RamQuantilePolicy, off_policy_arguments(approach.algorithm)
        case _:
            raise ExportError(f"{approach.name} learns nothing: there are no weights to export")
    kwargs: dict[str, Any] = given["policy_kwargs"]
    seen: tuple[int, ...] = STACK_SHAPE
    if approach.features.kind != "pixels":
        seen = (2, RAM_SIZE)
        extractor = {"settings": approach.features, "statistics": checkpoint.statistics.arrays()}
        kwargs |= {"features_extractor_class": RamFeatures, "features_extractor_kwargs": extractor}
    # There is no environment here; what would be read of one is set below.
    env: Any = None
    model = kind(policy, env, device="cpu", _init_setup_model=False, **given | {"policy_kwargs": kwargs})
    model.observation_space = spaces.Box(0, 255, seen, np.uint8)
    model.action_space = spaces.Discrete(len(checkpoint.action_names))
    model.n_envs = approach.n_envs
    model._setup_model()
    return model
