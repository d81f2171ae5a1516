"""Comparison of what a run has stored twice: returns in evaluations, in metrics and in traces."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.episodes.trace import Trace
from tasks.store import Store

_METRIC = "eval/mean_reward"


def metric_contradictions(store: Store, run_id: str, evaluations: Sequence[Evaluation]) -> dict[int, str]:
    """Return by step how the metric of the mean return contradicts the returns of an evaluation."""
    if not evaluations:
        return {}
    logged = dict(store.history(run_id, _METRIC))
    return {
        one.step: f"{_METRIC} is {logged[one.step]:g}, the returns of its evaluation have a mean of {one.mean_return:g}"
        for one in evaluations
        if one.step in logged and not isclose(logged[one.step], one.mean_return, rel_tol=1e-6, abs_tol=1e-6)
    }


def trace_contradiction(trace: Trace, evaluation: Evaluation) -> str:
    """Return how a trace contradicts the evaluation that it is an episode of; empty if it does not."""
    episode = next((one for one in evaluation.episodes if one.seed == trace.seed), None)
    if episode is None:
        return f"the run's evaluation has no episode of seed {trace.seed}"
    for name, ours, theirs in (
        ("return", trace.episode_return, episode.episode_return),
        ("length", trace.length, episode.length),
        ("RAM digest", trace.ram_digest, episode.ram_digest),
    ):
        if ours != theirs:
            return f"the {name} of the episode of seed {trace.seed} is {ours}, in the run's evaluation {theirs}"
    return ""
