"""Returns → estimates with intervals and a verdict, after Agarwal et al. 2021 (arXiv 2108.13264).

The only room that knows scipy.
"""

from tasks.arcade.scores.estimates import (
    CONFIDENCE,
    Estimate,
    FloatArray,
    Returns,
    Statistic,
    distinct,
    estimate,
    estimate_over_distinct,
    interquartile_mean,
    mean,
    normalized,
    without_copies,
)
from tasks.arcade.scores.games import games_p_value, games_probability, iqm_over_games
from tasks.arcade.scores.learning_curves import Band, band_over_seeds, common_grid, curve_on_grid, first_reached
from tasks.arcade.scores.seeds import (
    estimate_over_seeds,
    permutation_p_value,
    probability_of_improvement,
    profile,
    runs_p_value,
)
from tasks.arcade.scores.verdicts import Verdict, judge, judge_games, judge_runs, verdict

__all__ = [
    "CONFIDENCE",
    "Band",
    "Estimate",
    "FloatArray",
    "Returns",
    "Statistic",
    "Verdict",
    "band_over_seeds",
    "common_grid",
    "curve_on_grid",
    "distinct",
    "estimate",
    "estimate_over_distinct",
    "estimate_over_seeds",
    "first_reached",
    "games_p_value",
    "games_probability",
    "interquartile_mean",
    "iqm_over_games",
    "judge",
    "judge_games",
    "judge_runs",
    "mean",
    "normalized",
    "permutation_p_value",
    "probability_of_improvement",
    "profile",
    "runs_p_value",
    "verdict",
    "without_copies",
]
