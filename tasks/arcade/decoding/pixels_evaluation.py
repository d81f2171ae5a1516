"""Evaluation of a checkpoint on RAM that plays from pictures, beside its play from the RAM itself."""

from __future__ import annotations

from pydantic import Field

from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.scores.pixels_returns import SOURCE_OF, RamSource, return_metrics
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.settings.evaluation import PixelMethod


class PixelsEvaluation(Settings):
    """Results of a checkpoint on RAM that plays from pictures."""

    schema_version: int = SCHEMA
    method: PixelMethod
    decoder: str | None = Field(description="Digest of the decoder with which RAM is read (null: none)")
    evaluation: Evaluation = Field(description="Episodes from pictures, and which of them was recorded")
    returns: dict[RamSource, tuple[float, ...]] = Field(
        description="Returns, one per episode, by what the policy observes: true, followed or decoded RAM; random: "
        "random actions. The same seeds each"
    )

    @property
    def source(self) -> RamSource:
        """What the policy observed in the recorded episode."""
        return SOURCE_OF[self.method]

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log: `from_pixels/return_true`, `from_pixels/return_followed`, ..."""
        return {f"from_pixels/{name}": value for name, value in return_metrics(self.returns).items()}
