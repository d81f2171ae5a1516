"""Milestones of a training run, and which of them an evaluated checkpoint reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tasks.arcade import scores
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.scores.published import MILESTONE_RETURNS, REFERENCES, Reference
from tasks.arcade.settings.base import Settings

MILESTONE_STEPS = 1_000_000
"""Training steps between two milestones."""
MILESTONE_SCORES = (0.25, 0.5, 1.0, 2.0)
"""Human-normalized scores that are milestones: (return - random) / (human - random) (Mnih et al. 2015)."""


class Milestone(Settings):
    """A milestone.

    Attributes:
        name: Unique name; a run reaches it once.
        message: Predicate that follows the run's name in a sentence.
    """

    name: str
    message: str


@dataclass(frozen=True)
class EvaluatedCheckpoint:
    """An evaluated checkpoint, as milestones are derived from it.

    Attributes:
        step: Training step.
        mean: Mean return of its episodes, with the confidence interval over the distinct ones.
        rom: ALE's name of the ROM.
        best_before: Highest mean return of any earlier checkpoint of the game in all runs; None if it is the first.
    """

    step: int
    mean: scores.Estimate
    rom: str
    best_before: float | None

    @property
    def lower_bound(self) -> float | None:
        """Lower bound of the mean return's confidence interval; None with a single distinct episode."""
        # Distinct episodes of equal return, as in perfect play, have no variance and thus no interval.
        return self.mean.value if self.mean.low is None and self.mean.n > 1 else self.mean.low

    @property
    def reference(self) -> Reference:
        return REFERENCES.get(self.rom, Reference())


def evaluated_checkpoint(evaluation: Evaluation, rom: str, best_before: float | None) -> EvaluatedCheckpoint:
    """Return the evaluated checkpoint of an evaluation."""
    return EvaluatedCheckpoint(
        step=evaluation.step, mean=evaluation.estimate(scores.mean), rom=rom, best_before=best_before
    )


def _above_random(at: EvaluatedCheckpoint) -> list[Milestone]:
    floor = at.reference.random
    if floor is None or at.lower_bound is None or at.lower_bound <= floor:
        return []
    return [Milestone(name="above-random", message=f"plays better than random ({floor:g})")]


def _returns(at: EvaluatedCheckpoint) -> list[Milestone]:
    passed = [value for value in MILESTONE_RETURNS.get(at.rom, ()) if at.mean.value >= value]
    return [Milestone(name=f"return-{value:g}", message=f"reaches a mean return of {value:g}") for value in passed]


def _human_normalized(at: EvaluatedCheckpoint) -> list[Milestone]:
    random, human = at.reference.random, at.reference.human
    if random is None or human is None:
        return []
    score = (at.mean.value - random) / (human - random)
    passed = [value for value in MILESTONE_SCORES if score >= value]
    return [
        Milestone(name=f"human-{value:g}", message=f"reaches a human-normalized score of {value:.0%}")
        for value in passed
    ]


def _new_best(at: EvaluatedCheckpoint) -> list[Milestone]:
    # Of many equal checkpoints one is always slightly better by chance: a new best must be significant.
    if at.best_before is None or at.lower_bound is None or at.lower_bound <= at.best_before:
        return []
    return [
        Milestone(
            name=f"best-{at.step}",
            message=f"sets a new best mean return for the game (previously {at.best_before:.1f})",
        )
    ]


def _steps(at: EvaluatedCheckpoint) -> list[Milestone]:
    done = at.step // MILESTONE_STEPS * MILESTONE_STEPS
    return [Milestone(name=f"steps-{done}", message=f"has trained for {done:,} steps")] if done else []


MILESTONES: tuple[Callable[[EvaluatedCheckpoint], list[Milestone]], ...] = (
    _above_random,
    _returns,
    _human_normalized,
    _new_best,
    _steps,
)


def new_milestones(at: EvaluatedCheckpoint, before: Collection[str]) -> tuple[Milestone, ...]:
    """Return the milestones of a checkpoint that its run has not reached before.

    Args:
        at: The evaluated checkpoint.
        before: Names of the milestones the run has reached.
    """
    reached = [milestone for find in MILESTONES for milestone in find(at)]
    return tuple(milestone for milestone in reached if milestone.name not in before)
