"""Exports all numbers of a comparison as one table in long format, as CSV and Parquet; the only module that imports
pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.arcade.report.data import RunView, best_checkpoint
from tasks.arcade.report.findings import Findings
from tasks.arcade.scores import Estimate

COLUMNS = {
    "table": "string",
    "approach": "string",
    "against": "string",
    "env_id": "string",
    "run_id": "string",
    "run_name": "string",
    "seed": "int64",
    "step": "int64",
    "episode": "int64",
    "name": "string",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "seeds": "int64",
    "episodes": "int64",
}
"""Each row is one number; `table` is its kind: `episode`, `training`, `checkpoint`, `run`, `approach` or `pair`."""


def to_csv(findings: Findings) -> bytes:
    """Return all rows as UTF-8 CSV with a header; missing values are empty."""
    import pyarrow as pa
    from pyarrow import csv

    with pa.BufferOutputStream() as stream:
        csv.write_csv(_table(findings), stream)
        return bytes(stream.getvalue().to_pybytes())


def to_parquet(findings: Findings) -> bytes:
    """Return all rows as a Parquet file whose metadata holds the comparison's title."""
    import pyarrow as pa
    from pyarrow import parquet

    with pa.BufferOutputStream() as stream:
        parquet.write_table(_table(findings), stream, compression="zstd")
        return bytes(stream.getvalue().to_pybytes())


def _table(findings: Findings) -> Any:
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    return pa.Table.from_pylist(list(table_rows(findings)), schema.with_metadata({"title": findings.comparison.title}))


def table_rows(findings: Findings) -> Iterator[dict[str, Any]]:
    """Yield the rows as dictionaries of `COLUMNS`; missing values are left out."""
    for run in findings.comparison.runs:
        common = {
            "approach": run.approach,
            "env_id": run.env_id,
            "run_id": run.run_id,
            "run_name": run.run_name,
            "seed": run.seed,
        }
        for row in _run_rows(run):
            yield common | row
    for group in findings.groups:
        common = {"table": "approach", "approach": group.approach, "seeds": group.seeds, "episodes": group.episodes}
        for name, estimate in (("iqm", group.iqm), ("best", group.best)):
            if estimate:
                yield common | {"name": name, **_estimate(estimate)}
        if group.mean is not None:
            yield common | {"name": "mean", "value": group.mean}
    for first, second, verdict in findings.pairs:
        common = {"table": "pair", "approach": first, "against": second}
        yield common | {"name": "probability_of_improvement", **_estimate(verdict.probability)}
        yield common | {"name": "p_value", "value": verdict.p_value}


def _run_rows(run: RunView) -> Iterator[dict[str, Any]]:
    for step, value in run.curve:
        yield {"table": "training", "step": step, "name": "rollout/ep_rew_mean", "value": value}
    for row in run.checkpoints:
        for episode, value in enumerate(row.returns):
            yield {
                "table": "episode",
                "step": row.step,
                "episode": episode,
                "name": "episode_return",
                "value": value,
            }
        for episode, length in enumerate(row.lengths):
            yield {"table": "episode", "step": row.step, "episode": episode, "name": "episode_length", "value": length}
        common = {"table": "checkpoint", "step": row.step, "episodes": row.episodes}
        yield common | {"name": "mean", "value": row.mean, "low": row.low, "high": row.high}
        for name in ("iqm", "median", "std", "distinct_episodes"):
            yield common | {"name": name, "value": getattr(row, name)}
    if best := best_checkpoint(run):
        yield {
            "table": "run",
            "step": best.step,
            "name": "best_mean",
            "value": best.mean,
            "episodes": len(best.returns),
        }
    for name, value in run.cost.model_dump().items():
        if value is not None:
            yield {"table": "run", "name": name, "value": value}
    for action, count in run.actions:
        yield {"table": "run", "name": f"action {action}", "value": count}


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
