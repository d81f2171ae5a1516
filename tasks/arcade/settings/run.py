"""Settings of an approach and of a training run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.settings.algorithms import AlgorithmSettings
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.game import GameSettings

ApproachId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""Name of an approach."""


class ApproachSettings(Settings):
    """A named approach: algorithm, hyperparameters and observation."""

    name: ApproachId = Field(description="Name in run names and comparisons")
    description: str = Field(description="One-line description")
    algorithm: AlgorithmSettings = Field(
        discriminator="algorithm", description="Learning algorithm and its hyperparameters"
    )
    features: FeatureSettings = Field(description="Observation and feature extraction")
    n_envs: int = Field(default=8, ge=1, le=1024, description="Number of parallel environments")
    reward: Literal["raw", "sign", "scaled", "root"] = Field(
        default="raw",
        description="Reward transformation for learning. raw: the game's reward; sign: its sign; scaled: divided by "
        "the running standard deviation of the discounted return; root: signed square root, then divided likewise. "
        "Reported returns are never transformed",
    )

    @field_validator("features")
    @classmethod
    def _validate_convolutions(cls, value: FeatureSettings, info: ValidationInfo) -> FeatureSettings:
        algorithm = info.data.get("algorithm")
        # None if the algorithm itself is invalid.
        convolutional = algorithm is not None and algorithm.convolutional
        if convolutional != value.uses_pixels:
            raise ValueError("pixels require convolutions, as in ppo-pixels; RAM requires a network without any")
        return value

    @field_validator("features")
    @classmethod
    def _validate_value_embeddings(cls, value: FeatureSettings, info: ValidationInfo) -> FeatureSettings:
        network = getattr(info.data.get("algorithm"), "network", None)
        embeddings = getattr(network, "value_embeddings", 0)
        if value.value_indices != embeddings:
            raise ValueError(
                f"value_indices of the features is {value.value_indices}, value_embeddings of the network "
                f"{embeddings}: they must be equal (feedforward PPO and A2C only)"
            )
        if value.value_indices and value.kind != "standardized":
            raise ValueError(f"value_indices require standardized features, not {value.kind}")
        return value


class RunSettings(Settings):
    """All settings of a training run, resolved: the same settings give the same weights on the same machine."""

    game: GameSettings = Field(description="Emulator settings")
    approach: ApproachSettings = Field(description="Approach")
    seed: int = Field(ge=0, lt=2**31, description="Training seed")
    steps: int = Field(ge=1, description="Total environment steps; the last rollout is always completed")
    checkpoint_every: int = Field(
        ge=1, description="Environment steps between checkpoints; the final step is always saved"
    )

    @property
    def rollout_steps(self) -> int:
        """Environment steps of a rollout, in all environments together."""
        return self.approach.n_envs * self.approach.algorithm.n_steps

    @property
    def last_step(self) -> int:
        """Environment step at which training ends: `steps`, rounded up to whole rollouts if the approach learns."""
        if not self.approach.algorithm.learns:
            return self.steps
        return -(-self.steps // self.rollout_steps) * self.rollout_steps

    @property
    def rounding(self) -> str:
        """How `steps` are rounded up, in one line; empty if they are not."""
        if self.last_step == self.steps:
            return ""
        rollouts = self.last_step // self.rollout_steps
        of = pluralize(rollouts, "rollout")
        length = f"{self.rollout_steps:,} steps"
        return f"{self.steps:,} steps are rounded up to {self.last_step:,}, {of} of {length}"

    @field_validator("approach")
    @classmethod
    def _validate_batch_size(cls, value: ApproachSettings) -> ApproachSettings:
        value.algorithm.check_rollout_size(value.n_envs * value.algorithm.n_steps)
        return value
