"""What is worth a message: milestones, declared as data, and which of them an evaluated checkpoint reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tasks.arcade import scores
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.scores.published import REFERENCES, RETURNS, Reference
from tasks.arcade.settings.base import Settings

STEPS = 1_000_000
"""Every so many steps of training are a milestone."""
HUMAN_NORMALIZED = (0.25, 0.5, 1.0, 2.0)
"""(return - random) / (human - random), of published figures: 0 is random, 1 human (Mnih et al. 2015)."""


class Milestone(Settings):
    """One that is reached.

    Attributes:
        name: under which a run reaches it once.
        words: what was reached, to follow a run's name.
    """

    name: str
    words: str


@dataclass(frozen=True)
class Reached:
    """What is known when a checkpoint has been evaluated.

    Attributes:
        step: of training.
        mean: mean return of its episodes, with the interval of the distinct ones.
        rom: ALE's name.
        best_before: the best mean of any earlier checkpoint of the game, of all runs; none if this is the first.
    """

    step: int
    mean: scores.Estimate
    rom: str
    best_before: float | None

    @property
    def surely(self) -> float | None:
        """What the mean is above by more than chance: its interval's lower end; none where there is one episode."""
        # Distinct episodes of one return, as in perfect play, vary in nothing that an interval could show.
        return self.mean.value if self.mean.low is None and self.mean.n > 1 else self.mean.low

    @property
    def reference(self) -> Reference:
        return REFERENCES.get(self.rom, Reference())


def facts(evaluation: Evaluation, rom: str, best_before: float | None) -> Reached:
    """What an evaluation says, for `reached`."""
    return Reached(step=evaluation.step, mean=evaluation.estimate(scores.mean), rom=rom, best_before=best_before)


def _above_random(at: Reached) -> list[Milestone]:
    floor = at.reference.random
    if floor is None or at.surely is None or at.surely <= floor:
        return []
    return [Milestone(name="above-random", words=f"plays better than random ({floor:g})")]


def _returns(at: Reached) -> list[Milestone]:
    passed = [value for value in RETURNS.get(at.rom, ()) if at.mean.value >= value]
    return [Milestone(name=f"return-{value:g}", words=f"reaches a return of {value:g}") for value in passed]


def _human_normalized(at: Reached) -> list[Milestone]:
    random, human = at.reference.random, at.reference.human
    if random is None or human is None:
        return []
    score = (at.mean.value - random) / (human - random)
    passed = [value for value in HUMAN_NORMALIZED if score >= value]
    return [Milestone(name=f"human-{value:g}", words=f"reaches {value:.0%} of a human's score") for value in passed]


def _new_best(at: Reached) -> list[Milestone]:
    # Of many equal checkpoints one is always a little better: a best is one that chance does not explain.
    if at.best_before is None or at.surely is None or at.surely <= at.best_before:
        return []
    return [Milestone(name=f"best-{at.step}", words=f"plays the game best so far (before: {at.best_before:.1f})")]


def _steps(at: Reached) -> list[Milestone]:
    done = at.step // STEPS * STEPS
    return [Milestone(name=f"steps-{done}", words=f"has trained {done:,} steps")] if done else []


MILESTONES: tuple[Callable[[Reached], list[Milestone]], ...] = (
    _above_random,
    _returns,
    _human_normalized,
    _new_best,
    _steps,
)


def reached(at: Reached, before: Collection[str]) -> tuple[Milestone, ...]:
    """The milestones of a checkpoint that its run has not reached before.

    Args:
        at: what is known of the checkpoint.
        before: names of those that the run has reached.
    """
    found = [milestone for look in MILESTONES for milestone in look(at)]
    return tuple(milestone for milestone in found if milestone.name not in before)
