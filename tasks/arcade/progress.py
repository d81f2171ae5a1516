"""How far a training is: the value that learner, terminal and Prefect share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: environment steps done.
        steps: environment steps asked for.
        steps_per_second: since the start, learning included.
        mean_return: mean unclipped return of the last 100 training episodes; none before one has ended.
    """

    step: int
    steps: int
    steps_per_second: float
    mean_return: float | None

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return min(self.step / self.steps, 1.0)

    @property
    def seconds_left(self) -> float:
        """At the speed so far."""
        return max(self.steps - self.step, 0) / max(self.steps_per_second, 1e-9)

    def __str__(self) -> str:
        mean = "no episode has ended yet" if self.mean_return is None else f"return {self.mean_return:.1f}"
        return f"{self.step:,} of {self.steps:,} steps, {self.steps_per_second:,.0f} steps/s, {mean}"
