"""Settings of an evaluation and of its videos."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.arcade.settings.base import Settings

PixelMethod = Literal["follow", "decode"]
"""How RAM is obtained from pictures: a second emulator follows them, or a trained decoder reads them."""

FRESH_EPISODES = 30
"""Evaluation episodes where checkpoints of different runs are compared, on seeds that none of them was selected on."""


class EvaluationSettings(Settings):
    """How a checkpoint is evaluated: whole seeded episodes, on seeds that training never uses."""

    episodes: int = Field(default=10, ge=1, le=10_000, description="Evaluation episodes per checkpoint")
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Evaluation seed; the same seed gives every checkpoint the same episodes"
    )
    deterministic: bool = Field(default=False, description="Choose the most probable action instead of sampling")


class VideoSettings(Settings):
    """Which evaluation episodes of a checkpoint are recorded, and what their videos show."""

    episode: Literal["median", "best", "worst", "all"] = Field(
        default="median",
        description="Episodes to record, by return; all records every one, and the median is the checkpoint's video",
    )
    panel: bool = Field(
        default=True, description="Show the policy's observation and decision in a panel beside the game"
    )
    highlight: float | None = Field(
        default=None,
        ge=1,
        le=600,
        exclude_if=lambda seconds: seconds is None,
        description="Also write the liveliest stretch of each checkpoint's video, of this many seconds, as a small "
        "video for sharing (default: no such video)",
    )
