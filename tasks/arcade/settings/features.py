"""Settings of the observation: which kind it is, and how features are computed from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.arcade.settings.base import Settings

_Above0 = Annotated[float, Field(gt=0)]


ObservationKindName = Literal["scaled", "standardized", "bits", "pixels"]
"""Names of the observation kinds; tasks/arcade/policies/features.py specifies each."""


class FeatureSettings(Settings):
    """How the network's input is computed from RAM or from the screen (tasks/arcade/policies/features.py)."""

    kind: ObservationKindName = Field(
        description="Observation kind. scaled: RAM bytes / 255; standardized: RAM bytes by running mean and standard "
        "deviation, their differences to the previous step modulo 256, and the gaps between moving bytes; bits: the "
        "1,024 bits of this step's RAM and those of the previous step; pixels: the last four frames of the screen "
        "instead of RAM, grayscale, 84 x 84"
    )
    clip: float = Field(default=3.0, gt=0, description="Standardized features are clipped to [-clip, clip]")
    difference_scale: float = Field(default=4.0, gt=0, description="Divisor of the differences to the previous step")
    moving_bytes: int = Field(
        default=0, ge=0, le=32, description="Number of smoothly moving bytes whose pairwise gaps are features"
    )
    controlled_bytes: int = Field(
        default=0,
        ge=0,
        le=4,
        description="Number of bytes controlled by the actions whose gaps to all position bytes are features, too",
    )
    position_bytes: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Number of bytes with the most values that can hold positions, even if they rarely change or jump",
    )
    gap_scales: tuple[_Above0, ...] = Field(
        default=(8.0, 24.0, 64.0), description="Divisors of the gaps; each one adds a feature per pair"
    )
    gap_periods: tuple[_Above0, ...] = Field(
        default=(), description="Periods of the sine and cosine features of the gaps (Fourier features)"
    )
    static_byte_gain: float = Field(
        default=0.25, gt=0, description="Scale of all other bytes' features once the moving bytes are selected"
    )
    value_indices: int = Field(
        default=0,
        ge=0,
        le=32_768,
        description="Number of pairs of a byte and a value, in order of their first appearance in training, that are "
        "inputs of the network's value embeddings; equal to the network's value_embeddings",
    )
    warmup_steps: int = Field(
        default=8192, ge=1, description="Training steps after which moving, controlled and position bytes are selected"
    )

    @property
    def uses_pixels(self) -> bool:
        """Whether the observation is the screen instead of RAM."""
        return self.kind == "pixels"
