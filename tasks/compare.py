"""Tasks of the compare flow: the selected runs, the comparison's MLflow run, the report."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from tasks.arcade import report
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.report import Comparison
from tasks.arcade.settings.base import Settings
from tasks.execution import provenance
from tasks.execution.automatic_runs import automatic_tag
from tasks.execution.links import page_url
from tasks.runs.comparability import RunSelection, select_runs
from tasks.runs.report_clips import with_clips
from tasks.runs.report_data import read_runs
from tasks.runs.run_description import describe_comparison
from tasks.store import REPORT, Store, open_store

TABLES = {"reports/numbers.csv": report.to_csv, "reports/numbers.parquet": report.to_parquet}


class ComparedRuns(Settings):
    """A comparison in the store; `report` is an artifact path.

    Attributes:
        best: the run with the highest final mean return among those of the best approach; None without evaluations.
        published: published scores of the only game, e.g. `random 0.1, human 12.1`; empty if there are none.
    """

    run_id: str
    report: str
    runs: tuple[str, ...]
    verdict: str
    worse: bool
    best: str | None = None
    published: str = ""


@task(task_run_name="select runs")
def find_compared_runs(references: tuple[str, ...], against: tuple[str, ...], normalized: bool) -> RunSelection:
    """Resolve the runs of the comparison and check that they are comparable.

    Raises:
        StoreError: a reference matches no run or several, or the runs are not comparable.
    """
    return select_runs(open_store(), references, against, normalized=normalized)


@task(task_run_name="start comparison")
def start_comparison(selection: RunSelection, name: str | None, experiment: str | None) -> str:
    """Start the comparison's own MLflow run and return its run id."""
    store = open_store()
    first = store.run(selection.runs[0])
    comparison_id = store.start_comparison(
        experiment or first.experiment,
        name or f"comparison of {pluralize(len(selection.all_runs), 'run')}",
        selection.all_runs,
        **provenance.origin(),
    )
    for key, value in automatic_tag().items():
        store.set_tag(comparison_id, key, value)
    return comparison_id


@task(task_run_name="write report")
def write_comparison_report(comparison_id: str, selection: RunSelection) -> ComparedRuns:
    """Log report, tables and metrics to MLflow, and create artifacts of the report in Prefect."""
    store = open_store()
    findings = with_clips(store, report.analyze(_comparison(store, selection)), comparison_id)
    markdown = report.render_report_markdown(findings)
    store.log_report(comparison_id, report.render_report_html(findings), markdown)
    for path, export in TABLES.items():
        store.log_bytes(comparison_id, export(findings), path)
    for step, figures in report.metrics_by_step(findings).items():
        store.log_metrics(comparison_id, {_metric_name(key): value for key, value in figures.items()}, step)
    verdict, title = report.verdicts(findings)[0], findings.comparison.title
    describe_comparison(store, comparison_id, selection.all_runs, verdict)
    get_run_logger().info("%s", verdict)
    link = f"[Report with curves and videos]({page_url(store, comparison_id, REPORT)})"
    heading, _, rest = markdown.partition("\n")
    key = f"comparison-{comparison_id[:8]}"
    create_markdown_artifact(f"{heading}\n\n{link}\n{rest}", key=key, description=f"{title}: {verdict}")
    return ComparedRuns(
        run_id=comparison_id,
        report=REPORT,
        runs=selection.all_runs,
        verdict=verdict,
        worse=report.worse(findings),
        best=report.best_run(findings),
        published=", ".join(line.name for line in report.reference_lines(findings)),
    )


def _metric_name(name: str) -> str:
    """Replace characters that MLflow does not accept in a metric's name."""
    return re.sub(r"[^\w./ -]", "-", name)


def _comparison(store: Store, selection: RunSelection) -> Comparison:
    runs = read_runs(store, selection)
    approaches = list(dict.fromkeys(run.approach for run in runs))
    games = list(dict.fromkeys(run.env_id for run in runs))
    where = games[0] if len(games) == 1 else f"{len(games)} games"
    return Comparison(
        title=f"{_enumerate(approaches)} on {where}",
        env_id=games[0],
        runs=runs,
        normalized=selection.normalized,
        baseline=selection.baseline_name,
        command=provenance.command(),
        created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        versions=provenance.versions(),
        commit=provenance.commit(),
    )


def _enumerate(names: list[str]) -> str:
    if len(names) > 4:
        return f"{len(names)} approaches"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
