"""Every number of a comparison as one long table, in CSV and Parquet: the only room that knows pyarrow."""

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
"""A row is one number. `table` says of what: `episode`, `training`, `checkpoint`, `run`, `approach` or `pair`."""


def to_csv(found: Findings) -> bytes:
    """All rows as CSV with a head, UTF-8; what a row does not have is empty."""
    import pyarrow as pa
    from pyarrow import csv

    with pa.BufferOutputStream() as stream:
        csv.write_csv(_table(found), stream)
        return bytes(stream.getvalue().to_pybytes())


def to_parquet(found: Findings) -> bytes:
    """All rows as one Parquet file, with the comparison's title in its metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    with pa.BufferOutputStream() as stream:
        parquet.write_table(_table(found), stream, compression="zstd")
        return bytes(stream.getvalue().to_pybytes())


def _table(found: Findings) -> Any:
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    return pa.Table.from_pylist(list(rows(found)), schema.with_metadata({"title": found.comparison.title}))


def rows(found: Findings) -> Iterator[dict[str, Any]]:
    """The rows as dictionaries of `COLUMNS`; what a row does not have is left out."""
    for run in found.comparison.runs:
        about = {
            "approach": run.approach,
            "env_id": run.env_id,
            "run_id": run.run_id,
            "run_name": run.run_name,
            "seed": run.seed,
        }
        for row in _of_run(run):
            yield about | row
    for group in found.groups:
        about = {"table": "approach", "approach": group.approach, "seeds": group.seeds, "episodes": group.episodes}
        for name, estimate in (("iqm", group.iqm), ("best", group.best)):
            if estimate:
                yield about | {"name": name, **_ends(estimate)}
        if group.mean is not None:
            yield about | {"name": "mean", "value": group.mean}
    for one, other, verdict in found.pairs:
        about = {"table": "pair", "approach": one, "against": other}
        yield about | {"name": "probability_of_improvement", **_ends(verdict.probability)}
        yield about | {"name": "p_value", "value": verdict.p_value}


def _of_run(run: RunView) -> Iterator[dict[str, Any]]:
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
        about = {"table": "checkpoint", "step": row.step, "episodes": row.episodes}
        yield about | {"name": "mean", "value": row.mean, "low": row.low, "high": row.high}
        for name in ("iqm", "median", "std", "distinct_episodes"):
            yield about | {"name": name, "value": getattr(row, name)}
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


def _ends(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
