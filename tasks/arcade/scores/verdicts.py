"""Significance of the difference between two sides, with a one-sentence summary."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.arcade.scores.estimates import CONFIDENCE, Estimate, Returns, validate_returns
from tasks.arcade.scores.over_games import Games, games_p_value, games_probability
from tasks.arcade.scores.over_seeds import Seeds, mann_whitney_p_value, permutation_p_value, probability_of_improvement


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of comparing a first side with a second one.

    Attributes:
        sentence: one-sentence summary that names the better side first.
        probability: probability that an episode of the first side has a higher return than one of the second.
        p_value: two-sided p-value of the difference.
    """

    sentence: str
    probability: Estimate
    p_value: float

    @property
    def significant(self) -> bool:
        return self.p_value <= 1 - CONFIDENCE

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
    - `Too few seeds to compare ppo-tuned and ppo: probability of improvement 0.93 between these runs (1 seed each)`

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
    p_value = permutation_p_value(a, b, seed)
    sizes = len(a), len(b)
    return _verdict((name_a, name_b), sizes, probability, p_value, "seed", single_seed=probability.n == 1)


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
    sizes = min(map(len, a)), min(map(len, b))
    games = f"{len(a)} games, " if len(a) > 1 else "1 game, "
    return _verdict((name_a, name_b), sizes, probability, p_value, "seed", games=games, single_seed=min(sizes) == 1)


def format_p_value(p_value: float) -> str:
    """`p = 0.20`, `p = 0.029`, `p < 0.001`."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def _verdict(
    names: tuple[str, str],
    sizes: tuple[int, int],
    probability: Estimate,
    p_value: float,
    unit: str,
    *,
    games: str = "",
    single_seed: bool = False,
) -> Verdict:
    better, worse, shown, counts = *names, probability, sizes
    if probability.value < 0.5:
        better, worse, shown, counts = worse, better, _complement(probability), counts[::-1]
    size = games + _size(counts, unit)
    if p_value <= 1 - CONFIDENCE:
        claim, evidence = f"{better} is better than {worse}", f"{shown} ({format_p_value(p_value)}, {size})"
    elif single_seed:
        claim, evidence = f"Too few seeds to compare {better} and {worse}", f"{shown} between these runs ({size})"
    else:
        claim = f"No significant difference between {better} and {worse}"
        evidence = f"{shown} ({format_p_value(p_value)}, {size})"
    return Verdict(f"{claim}: probability of improvement {evidence}", probability, p_value)


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
