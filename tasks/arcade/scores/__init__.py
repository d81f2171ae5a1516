"""Statistics of returns: estimates with intervals, tests and verdicts, after Agarwal et al. 2021 (arXiv 2108.13264).

The only package that imports scipy.
"""

from tasks.arcade.scores.estimates import (
    CONFIDENCE,
    Estimate,
    FloatArray,
    Returns,
    Statistic,
    count_distinct,
    drop_duplicates,
    estimate,
    estimate_over_distinct,
    human_normalized,
    interquartile_mean,
    mean,
)
from tasks.arcade.scores.formatting import format_number, format_p_value, format_score
from tasks.arcade.scores.learning_curves import (
    Band,
    band_over_seeds,
    common_grid,
    first_step_reaching,
    interpolate_curve,
    iqm_over_seeds,
)
from tasks.arcade.scores.over_games import games_p_value, games_probability, iqm_over_games
from tasks.arcade.scores.over_seeds import (
    estimate_over_seeds,
    mann_whitney_p_value,
    performance_profile,
    permutation_p_value,
    probability_of_improvement,
)
from tasks.arcade.scores.verdicts import Verdict, compare_agents, compare_approaches, compare_over_games

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
    "compare_agents",
    "compare_approaches",
    "compare_over_games",
    "count_distinct",
    "drop_duplicates",
    "estimate",
    "estimate_over_distinct",
    "estimate_over_seeds",
    "first_step_reaching",
    "format_number",
    "format_p_value",
    "format_score",
    "games_p_value",
    "games_probability",
    "human_normalized",
    "interpolate_curve",
    "interquartile_mean",
    "iqm_over_games",
    "iqm_over_seeds",
    "mann_whitney_p_value",
    "mean",
    "performance_profile",
    "permutation_p_value",
    "probability_of_improvement",
]
