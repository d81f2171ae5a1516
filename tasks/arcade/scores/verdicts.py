"""Is the difference real? One plain sentence, and whether it may be acted upon."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.arcade.scores.estimates import CONFIDENCE, Estimate, Returns, checked
from tasks.arcade.scores.games import Games, games_p_value, games_probability
from tasks.arcade.scores.seeds import Seeds, permutation_p_value, probability_of_improvement, runs_p_value


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of two sides, the first named against the second.

    Attributes:
        sentence: it in words, the better side first.
        probability: that an episode of the first side scores above one of the second.
        p_value: how often chance alone makes such a difference.
    """

    sentence: str
    probability: Estimate
    p_value: float

    @property
    def decided(self) -> bool:
        return self.p_value <= 1 - CONFIDENCE

    @property
    def worse(self) -> bool:
        """Whether the first side is worse than the second, with confidence."""
        return self.decided and self.probability.value < 0.5


def judge(name_a: str, a: Seeds, name_b: str, b: Seeds, seed: int = 0, *, copies: bool = False) -> Verdict:
    """Two approaches on one game, judged by their seeds.

    `ppo-tuned beats ppo: P = 0.98 [0.91, 1.00], 5 seeds`;
    `3 seeds cannot tell ppo-tuned and ppo apart: P = 0.84 [0.60, 1.00], p = 0.20`;
    `1 seed cannot tell ppo-tuned and ppo apart: P = 0.93 between these runs`.

    Args:
        name_a: what the first side is called.
        a: for each seed its returns.
        name_b: what the second side is called.
        b: likewise.
        seed: of the generators.
        copies: some episodes are copies of others; then seeds alone are resampled.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    probability = probability_of_improvement(a, b, seed, copies=copies)
    p_value = permutation_p_value(a, b, seed)
    sizes = len(a), len(b)
    return _verdict((name_a, name_b), sizes, probability, p_value, "seed", alone=probability.n == 1)


def judge_runs(name_a: str, a: Returns, name_b: str, b: Returns, seed: int = 0) -> Verdict:
    """Two trained agents, judged by their distinct episodes.

    `ppo seed 1 beats ppo seed 2: P = 0.98 [0.91, 1.00], 30 episodes`. It says which of the two plays better, and
    nothing of the approaches that they came from.

    Raises:
        ValueError: no return, or one that is not finite.
    """
    # An episode of an agent is drawn as a seed of an approach is: each is a whole of its own.
    x, y = ([[value] for value in checked(returns)] for returns in (a, b))
    probability = probability_of_improvement(x, y, seed, copies=True)
    return _verdict((name_a, name_b), (len(x), len(y)), probability, runs_p_value(a, b), "episode")


def judge_games(name_a: str, a: Games, name_b: str, b: Games, seed: int = 0) -> Verdict:
    """Two approaches on several games, judged by their seeds on each, in human-normalized scores.

    `ppo-tuned beats ppo: P = 0.98 [0.91, 1.00], 2 games, 4 seeds each`.

    Raises:
        ValueError: not the same games, none, no seed, or a score that is not finite.
    """
    probability, p_value = games_probability(a, b, seed), games_p_value(a, b, seed)
    sizes = min(map(len, a)), min(map(len, b))
    games = f"{len(a)} games, " if len(a) > 1 else "1 game, "
    return _verdict((name_a, name_b), sizes, probability, p_value, "seed", before=games, alone=min(sizes) == 1)


def verdict(name_a: str, a: Seeds, name_b: str, b: Seeds, seed: int = 0) -> str:
    """The sentence of `judge`."""
    return judge(name_a, a, name_b, b, seed).sentence


def _verdict(
    names: tuple[str, str],
    sizes: tuple[int, int],
    probability: Estimate,
    p_value: float,
    what: str,
    *,
    before: str = "",
    alone: bool = False,
) -> Verdict:
    better, worse, shown, counts = *names, probability, sizes
    if probability.value < 0.5:
        better, worse, shown, counts = worse, better, _turned(probability), counts[::-1]
    many = before + _count(counts, what)
    if p_value <= 1 - CONFIDENCE:
        sentence = f"{better} beats {worse}: P = {shown}, {many}"
    else:
        known = " between these runs" if alone else f", p = {p_value:.2f}"
        sentence = f"{many} cannot tell {better} and {worse} apart: P = {shown}{known}"
    return Verdict(sentence, probability, p_value)


def _turned(estimate: Estimate) -> Estimate:
    """The same seen from the other side."""
    if estimate.low is None or estimate.high is None:
        return Estimate(1 - estimate.value, None, None, estimate.n)
    return Estimate(1 - estimate.value, 1 - estimate.high, 1 - estimate.low, estimate.n)


def _count(sizes: tuple[int, int], what: str) -> str:
    first, second = sizes
    if first != second:
        return f"{first} and {second} {what}s"
    return f"1 {what}" if first == 1 else f"{first} {what}s"
