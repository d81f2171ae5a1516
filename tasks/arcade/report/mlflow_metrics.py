"""A comparison's results as metrics, for MLflow's charts and its compare view."""

from __future__ import annotations

from statistics import fmean

from tasks.arcade.report.findings import Findings
from tasks.arcade.report.groups import Group
from tasks.arcade.report.tables import summary_rows


def metrics_by_step(findings: Findings) -> dict[int, dict[str, float]]:
    """Return metrics by step: mean returns of each evaluated step, and the final results at the last step.

    An approach that does not learn has its constant mean return at every step.
    """
    metrics: dict[int, dict[str, float]] = {}
    for group in findings.groups:
        if group.learned:
            for step in sorted({row.step for run in group.runs for row in run.checkpoints}):
                metrics.setdefault(step, {})[f"eval/mean_return/{group.approach}"] = _mean_at(group, step)
    steps = list(metrics) or [max((row.step for group in findings.groups for row in group.final_rows), default=0)]
    for group in findings.groups:
        if not group.learned and group.mean is not None:
            for step in steps:
                metrics.setdefault(step, {})[f"eval/mean_return/{group.approach}"] = group.mean
    final = metrics.setdefault(max(steps), {})
    for row in summary_rows(findings.groups):
        values = {name: value for name, value in row.items() if name.startswith(("mean", "iqm", "best"))}
        final |= {
            f"final/{name}/{row['approach']}": float(value) for name, value in values.items() if value is not None
        }
    for first, second, verdict in findings.pairs:
        final[f"final/probability/{first} over {second}"] = verdict.probability.value
    return metrics


def _mean_at(group: Group, step: int) -> float:
    returns = [group.scaled(run, row.returns) for run in group.runs for row in run.checkpoints if row.step == step]
    return fmean(map(fmean, returns))
