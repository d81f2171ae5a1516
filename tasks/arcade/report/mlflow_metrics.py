"""What MLflow's own charts and its compare view draw of a comparison."""

from __future__ import annotations

from statistics import fmean

from tasks.arcade.report.findings import Findings
from tasks.arcade.report.tables import summary_rows


def by_step(of: Findings) -> dict[int, dict[str, float]]:
    """What MLflow's own charts draw: step → figures by name; the last step of all has what the comparison came to."""
    found: dict[int, dict[str, float]] = {}
    for group in of.groups:
        rows = [(run, row) for run in group.runs for row in run.checkpoints]
        for step in sorted({row.step for _, row in rows}):
            at_step = [fmean(group.scaled(run, row.returns)) for run, row in rows if row.step == step]
            found.setdefault(step, {})[f"eval/mean_return/{group.approach}"] = fmean(at_step)
    last = max(found, default=0)
    for row in summary_rows(of.groups):
        figures = {name: value for name, value in row.items() if name.startswith(("mean", "iqm", "best"))}
        known = {f"final/{name}/{row['approach']}": value for name, value in figures.items() if value is not None}
        found.setdefault(last, {}).update({name: float(value) for name, value in known.items()})
    for one, other, verdict in of.pairs:
        found.setdefault(last, {})[f"final/probability/{one} over {other}"] = verdict.probability.value
    return found
