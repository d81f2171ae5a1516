"""Significance of the difference between two sides, with a one-sentence summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod

import numpy as np

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.scores.estimates import CONFIDENCE, Estimate, Returns, validate_returns
from tasks.arcade.scores.formatting import format_number, format_p_value, format_score
from tasks.arcade.scores.over_games import Games, games_p_value, games_probability
from tasks.arcade.scores.over_seeds import Seeds, mann_whitney_p_value, permutation_p_value, probability_of_improvement


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of comparing a first side with a second one.

    Attributes:
        sentence: one-sentence summary that names the better side first.
        probability: probability that an episode of the first side has a higher return than one of the second.
        p_value: two-sided p-value of the difference; None if a side has a single seed, which no test of seeds can
            compare.
        smallest_p_value: p-value that the test gives if every episode of one side is above every one of the other.
    """

    sentence: str
    probability: Estimate
    p_value: float | None
    smallest_p_value: float = 0.0

    @property
    def significant(self) -> bool:
        return self.p_value is not None and self.p_value <= 1 - CONFIDENCE

    @property
    def has_too_few_seeds(self) -> bool:
        """Whether no returns could make the difference significant."""
        return self.smallest_p_value > 1 - CONFIDENCE

    @property
    def worse(self) -> bool:
        """Whether the first side is significantly worse than the second."""
        return self.significant and self.probability.value < 0.5


def compare_approaches(
    name_a: str, a: Seeds, name_b: str, b: Seeds, seed: int = 0, *, has_duplicates: bool = False
) -> Verdict:
    """Compare two approaches on one game over their seeds.

    The sentence is one of

    - `ppo-tuned is better than ppo: probability of improvement 0.98 [0.91, 1.00] (p = 0.008, 5 seeds each)`
    - `No significant difference between ppo-tuned and ppo: probability of improvement 0.84 [0.60, 1.00]
      (p = 0.20, 3 seeds each)`
    - `This ppo-tuned agent scored -5.2, this ppo one -20.0 (5 episodes each, P = 1.00). One seed each says nothing
      about the approaches.`

    Args:
        name_a: name of the first side.
        a: returns of each of its seeds.
        name_b: name of the second side.
        b: returns of each of its seeds.
        seed: seed of the resampling.
        has_duplicates: some episodes duplicate others, so only seeds are resampled.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    probability = probability_of_improvement(a, b, seed, has_duplicates=has_duplicates)
    names, sizes = (name_a, name_b), (len(a), len(b))
    if min(sizes) == 1:
        means = tuple(format_number(_pooled_mean(side)) for side in (a, b))
        return Verdict(_about_agents(names, means, sizes, _episodes([a], [b]), probability), probability, None, 1.0)
    smallest = 2 / comb(sum(sizes), sizes[0])
    return _verdict(names, sizes, probability, permutation_p_value(a, b, seed), "seed", smallest=smallest)


def compare_agents(name_a: str, a: Returns, name_b: str, b: Returns, seed: int = 0) -> Verdict:
    """Compare two trained agents over their distinct episodes.

    The verdict applies to these two agents, not to the approaches that they were trained with:
    `ppo seed 1 is better than ppo seed 2: probability of improvement 0.98 [0.91, 1.00] (p < 0.001, 30 episodes each)`.

    Raises:
        ValueError: no return, or a return that is not finite.
    """
    # Episodes of an agent are resampled the way seeds of an approach are: each is a unit of its own.
    x, y = ([[value] for value in validate_returns(returns)] for returns in (a, b))
    probability = probability_of_improvement(x, y, seed, has_duplicates=True)
    return _verdict((name_a, name_b), (len(x), len(y)), probability, mann_whitney_p_value(a, b), "episode")


def compare_over_games(name_a: str, a: Games, name_b: str, b: Games, seed: int = 0) -> Verdict:
    """Compare two approaches on several games over their seeds, in human-normalized scores.

    `ppo-tuned is better than ppo: probability of improvement 0.98 [0.91, 1.00] (p = 0.008, 2 games, 4 seeds each)`.

    Raises:
        ValueError: the sides differ in games, or there is no game, no seed, or a score that is not finite.
    """
    probability, p_value = games_probability(a, b, seed), games_p_value(a, b, seed)
    names, sizes = (name_a, name_b), (min(map(len, a)), min(map(len, b)))
    games = pluralize(len(a), "game")
    if min(sizes) == 1:
        means = tuple(format_score(float(np.mean([_pooled_mean(game) for game in side]))) for side in (a, b))
        evidence = f"human-normalized, {games}, {_episodes(a, b)}"
        agents = tuple(sum(map(len, side)) for side in (a, b))
        return Verdict(_about_agents(names, means, agents, evidence, probability), probability, None, 1.0)
    smallest = 2 / prod(2 ** min(len(x), len(y)) for x, y in zip(a, b, strict=True))
    return _verdict(names, sizes, probability, p_value, "seed", games=f"{games}, ", smallest=smallest)


def _pooled_mean(side: Seeds) -> float:
    return float(np.mean(np.concatenate([validate_returns(returns) for returns in side])))


def _episodes(a: Games, b: Games) -> str:
    first, second = (sum(len(returns) for game in side for returns in game) for side in (a, b))
    return _size((first, second), "episode")


def _about_agents(
    names: Sequence[str], means: Sequence[str], agents: Sequence[int], evidence: str, probability: Estimate
) -> str:
    """Return what is known about trained agents of which one side has a single seed, and what is not known.

    Args:
        names: names of the two sides.
        means: their mean returns.
        agents: their numbers of agents.
        evidence: numbers of episodes.
        probability: probability of improvement of the first side.
    """
    order = (1, 0) if probability.value < 0.5 else (0, 1)
    shown = _complement(probability) if order[0] else probability
    first, second = (
        _agents(names[side], agents[side], "agent" if side == order[0] else "one", first=side == order[0])
        for side in order
    )
    known = f"{first} scored {means[order[0]]}, {second} {means[order[1]]} ({evidence}, P = {shown.value:.2f})"
    if min(agents) == max(agents):
        return f"{known}. One seed each says nothing about the approaches."
    single = names[agents.index(min(agents))]
    return f"{known}. One seed of {single} says nothing about the approaches."


def _agents(name: str, count: int, noun: str, *, first: bool) -> str:
    if count == 1:
        return f"{'This' if first else 'this'} {name} {noun}"
    return f"{'The' if first else 'the'} {count} {name} {noun}s"


def _verdict(
    names: tuple[str, str],
    sizes: tuple[int, int],
    probability: Estimate,
    p_value: float,
    unit: str,
    *,
    games: str = "",
    smallest: float = 0.0,
) -> Verdict:
    better, worse, shown, counts = *names, probability, sizes
    if probability.value < 0.5:
        better, worse, shown, counts = worse, better, _complement(probability), counts[::-1]
    size = games + _size(counts, unit)
    if p_value <= 1 - CONFIDENCE:
        claim, evidence = f"{better} is better than {worse}", f"{shown} ({format_p_value(p_value)}, {size})"
    else:
        claim = f"No significant difference between {better} and {worse}"
        evidence = f"{shown} ({format_p_value(p_value)}, {size})"
    return Verdict(f"{claim}: probability of improvement {evidence}", probability, p_value, smallest)


def _complement(estimate: Estimate) -> Estimate:
    """Return the probability of improvement of the second side over the first."""
    if estimate.low is None or estimate.high is None:
        return Estimate(1 - estimate.value, None, None, estimate.n)
    return Estimate(1 - estimate.value, 1 - estimate.high, 1 - estimate.low, estimate.n)


def _size(sizes: tuple[int, int], unit: str) -> str:
    first, second = sizes
    if first != second:
        return f"{first} and {second} {unit}s"
    return f"{first} {unit}{'' if first == 1 else 's'} each"
