"""Settings of an evaluation, and of the videos recorded with it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.arcade.settings.base import Settings


class EvaluationSettings(Settings):
    """How a checkpoint is judged: whole seeded episodes, on seeds apart from training's."""

    episodes: int = Field(default=10, ge=1, le=10_000, description="that each checkpoint plays")
    seed: int = Field(default=0, ge=0, lt=2**31, description="the same seed is the same episodes for every checkpoint")
    deterministic: bool = Field(default=False, description="the likeliest action instead of a sampled one")


class VideoSettings(Settings):
    """Which of a checkpoint's episodes are recorded, and what the videos show."""

    episode: Literal["median", "best", "worst", "all"] = Field(
        default="median", description="by their returns; all: every one, and the median one is the checkpoint's video"
    )
    panel: bool = Field(default=True, description="beside the game what the policy sees and decides")
