"""Settings of an approach and of a training run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from tasks.arcade.settings.algorithms import ActorCriticSettings, AlgorithmSettings, RecurrentPpoSettings
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.game import GameSettings

ApproachId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""What an approach is called."""


class ApproachSettings(Settings):
    """A named way to train: algorithm, features and hyper-parameters."""

    name: ApproachId = Field(description="what it is called in runs and comparisons")
    description: str = Field(description="what it is, in a line")
    algorithm: AlgorithmSettings = Field(
        discriminator="algorithm", description="how it learns, and its hyper-parameters"
    )
    features: FeatureSettings
    n_envs: int = Field(default=8, ge=1, le=1024, description="environments played side by side")
    reward: Literal["raw", "sign", "scaled", "root"] = Field(
        default="raw",
        description="what is learned from: the game's reward; its sign; the reward divided by the running deviation "
        "of the discounted return; the square root of its size, with its sign, divided likewise. Returns are reported "
        "unclipped whatever this is",
    )

    @field_validator("features")
    @classmethod
    def _pixels_are_convolved(cls, value: FeatureSettings, info: ValidationInfo) -> FeatureSettings:
        algorithm = info.data.get("algorithm")
        convolved = isinstance(algorithm, ActorCriticSettings) and bool(algorithm.network.convolutions)
        if convolved != (value.kind == "pixels"):
            raise ValueError("pixels need convolutions, as ppo-pixels has them; RAM needs none")
        return value


class RunSettings(Settings):
    """A training run, resolved: the same settings give the same weights on the same machine."""

    game: GameSettings
    approach: ApproachSettings
    seed: int = Field(ge=0, lt=2**31)
    steps: int = Field(ge=1, description="steps of training in all; the last rollout is played to its end")
    checkpoint_every: int = Field(ge=1, description="steps between checkpoints; one more is saved at the end")

    @field_validator("approach")
    @classmethod
    def _no_step_is_left_alone(cls, value: ApproachSettings) -> ApproachSettings:
        algorithm = value.algorithm
        if isinstance(algorithm, RecurrentPpoSettings):
            steps = value.n_envs * algorithm.n_steps
            if steps % algorithm.batch_size == 1:
                raise ValueError(
                    f"batches of {algorithm.batch_size} leave one of the {steps:,} steps of a rollout alone, and no "
                    "advantage can be normalized alone: choose another batch_size"
                )
        return value
