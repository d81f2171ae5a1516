"""Progress of a training run, shared by the learner, the terminal and Prefect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a training run.

    Attributes:
        step: environment steps completed.
        steps: total environment steps of the run.
        steps_per_second: average since the start or resume, training included.
        mean_return: mean unclipped return of the last 100 training episodes; None before the first one ends.
    """

    step: int
    steps: int
    steps_per_second: float
    mean_return: float | None

    @property
    def share(self) -> float:
        """Completed share, between 0 and 1."""
        return min(self.step / self.steps, 1.0)

    @property
    def seconds_left(self) -> float:
        """Estimated seconds left, at the average speed so far."""
        return max(self.steps - self.step, 0) / max(self.steps_per_second, 1e-9)

    def __str__(self) -> str:
        mean = "no episode finished yet" if self.mean_return is None else f"mean return {self.mean_return:.1f}"
        return f"{self.step:,} of {self.steps:,} steps, {self.steps_per_second:,.0f} steps/s, {mean}"
