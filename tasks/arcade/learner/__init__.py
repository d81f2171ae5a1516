"""Stable-Baselines3 over whole rollouts: the room where learning happens, and the only one that knows it and torch."""

from tasks.arcade.learner.factory import build, ppo_arguments, schedule
from tasks.arcade.learner.networks import PlainRamPolicy, RamPolicy
from tasks.arcade.learner.on_policy import RolloutPPO
from tasks.arcade.learner.reward_scaling import RewardScale
from tasks.arcade.learner.sb3_export import ExportError, export
from tasks.arcade.learner.sb3_import import ForeignModel, read_zip
from tasks.arcade.learner.training import Listener, Start, train
from tasks.arcade.learner.vec_env import DivergedError

__all__ = [
    "DivergedError",
    "ExportError",
    "ForeignModel",
    "Listener",
    "PlainRamPolicy",
    "RamPolicy",
    "RewardScale",
    "RolloutPPO",
    "Start",
    "build",
    "export",
    "ppo_arguments",
    "read_zip",
    "schedule",
    "train",
]
