"""Training by Stable-Baselines3 with rollouts from worker processes; the only package that imports it and torch."""

from tasks.arcade.learner.model_builder import build_model
from tasks.arcade.learner.model_state import ResumePoint
from tasks.arcade.learner.networks import PlainRamPolicy, RamPolicy
from tasks.arcade.learner.on_policy import RolloutPPO
from tasks.arcade.learner.reward_scaling import RewardScaler
from tasks.arcade.learner.sb3_arguments import ppo_arguments, schedule
from tasks.arcade.learner.sb3_export import ExportError, export
from tasks.arcade.learner.sb3_import import ExternalModel, read_sb3_zip
from tasks.arcade.learner.training import TrainingCallback, train
from tasks.arcade.learner.vec_env import BatchVecEnv, DivergedError

__all__ = [
    "BatchVecEnv",
    "DivergedError",
    "ExportError",
    "ExternalModel",
    "PlainRamPolicy",
    "RamPolicy",
    "ResumePoint",
    "RewardScaler",
    "RolloutPPO",
    "TrainingCallback",
    "build_model",
    "export",
    "ppo_arguments",
    "read_sb3_zip",
    "schedule",
    "train",
]
