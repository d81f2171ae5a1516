"""A small approach that learns, for training runs that take a moment and save several checkpoints."""

from __future__ import annotations

from pathlib import Path

from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import NetworkSettings
from tasks.arcade.settings.run import ApproachSettings

N_STEPS = 64
FAST = ApproachSettings(
    name="fast",
    description="PPO with short rollouts and a tiny network",
    algorithm=PpoSettings(n_steps=N_STEPS, batch_size=64, n_epochs=1, network=NetworkSettings(pi=(16,), vf=(16,))),
    features=FeatureSettings(kind="scaled"),
    n_envs=2,
)
_TOML = f"""\
approach = "ppo"
name = "fast"
n_steps = {N_STEPS}
batch_size = 64
n_epochs = 1
n_envs = 1
policy_kwargs.net_arch = [16]
"""


def settings_file(folder: Path) -> Path:
    """Write the same approach as a settings file, for commands; returns its path."""
    path = folder / "fast.toml"
    path.write_text(_TOML)
    return path
