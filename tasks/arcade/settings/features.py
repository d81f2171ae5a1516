"""Settings of the feature extraction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.arcade.settings.base import Settings

_Above0 = Annotated[float, Field(gt=0)]


class FeatureSettings(Settings):
    """How 128 RAM bytes, or the screen, become the network's input (tasks/arcade/policies/features.py)."""

    kind: Literal["scaled", "standardized", "bits", "pixels"] = Field(
        description="scaled: byte / 255; standardized: by running mean and deviation, beside the wrapped difference "
        "to the step before, and the gaps between moving_bytes; bits: the 1,024 bits of this step's RAM and of the RAM "
        "before; pixels: no RAM, the last four pictures of the screen, gray and 84 x 84"
    )
    clip: float = Field(default=3.0, gt=0, description="standardized features are cut at plus and minus this")
    difference_scale: float = Field(default=4.0, gt=0, description="the wrapped difference is divided by this")
    moving_bytes: int = Field(
        default=0, ge=0, le=32, description="standardized: so many smoothly moving bytes are compared pair by pair"
    )
    gap_scales: tuple[_Above0, ...] = Field(
        default=(8.0, 24.0, 64.0), description="the difference of two moving_bytes is divided by each of these"
    )
    gap_periods: tuple[_Above0, ...] = Field(
        default=(), description="of sines and cosines of that difference: they tell apart what is close together"
    )
    static_byte_gain: float = Field(
        default=0.25, gt=0, description="what all other bytes count, once there are moving_bytes"
    )
    warmup_steps: int = Field(
        default=8192, ge=1, description="steps of training after which the moving_bytes are chosen"
    )
