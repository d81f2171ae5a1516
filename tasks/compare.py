"""Comparing's side effects: runs read from MLflow, a report of them written to a run of its own, and to Prefect."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.arcade import report
from tasks.arcade.report import Comparison, Findings
from tasks.arcade.settings.base import Settings
from tasks.execution import provenance
from tasks.runs.comparability import Contenders, contenders
from tasks.runs.report_clips import with_videos
from tasks.runs.report_data import read_run
from tasks.store import Store, open_store

REPORT = "reports/report.html"
NUMBERS = {"reports/numbers.csv": report.to_csv, "reports/numbers.parquet": report.to_parquet}


class ComparedRuns(Settings):
    """A comparison that is in the store."""

    run_id: str
    report: str
    runs: tuple[str, ...]
    verdict: str
    worse: bool


@task(task_run_name="find runs")
def find_runs(references: tuple[str, ...], against: tuple[str, ...], normalized: bool) -> Contenders:
    """The runs that are meant.

    Raises:
        StoreError: one of them is not there, is named ambiguously, or they cannot be compared.
    """
    return contenders(open_store(), references, against, normalized=normalized)


@task(task_run_name="start comparison")
def start_comparison(found: Contenders, name: str | None, experiment: str | None) -> str:
    """Start the comparison's own MLflow run; returns its id."""
    store = open_store()
    first = store.run(found.runs[0])
    return store.start_comparison(
        experiment or first.experiment,
        name or f"comparison of {len(found.everyone)} runs",
        found.everyone,
        **provenance.origin(),
    )


@task(task_run_name="write report")
def write_report(comparison_id: str, found: Contenders) -> ComparedRuns:
    """Read the runs, write report, numbers and metrics to MLflow and the report's tables to Prefect."""
    store = open_store()
    findings = with_videos(store, Findings(_read(store, found)), comparison_id)
    markdown = report.render_markdown(findings)
    store.log_report(comparison_id, report.render_html(findings), markdown)
    for path, made in NUMBERS.items():
        store.log_bytes(comparison_id, made(findings), path)
    for step, figures in report.by_step(findings).items():
        store.log_metrics(comparison_id, {_metric_name(key): value for key, value in figures.items()}, step)
    rows, verdict, title = report.summary_rows(findings.groups), report.verdicts(findings)[0], findings.comparison.title
    create_table_artifact(rows, key=f"comparison-{comparison_id[:8]}", description=f"{title}: {verdict}")
    create_markdown_artifact(markdown, key=f"report-{comparison_id[:8]}", description=title)
    return ComparedRuns(
        run_id=comparison_id, report=REPORT, runs=found.everyone, verdict=verdict, worse=report.worse(findings)
    )


def _metric_name(words: str) -> str:
    """What MLflow takes as a metric's name."""
    return re.sub(r"[^\w./ -]", "-", words)


def _read(store: Store, found: Contenders) -> Comparison:
    runs = tuple(read_run(store, run_id, found) for run_id in found.everyone)
    approaches = list(dict.fromkeys(run.approach for run in runs))
    games = list(dict.fromkeys(run.env_id for run in runs))
    where = games[0] if len(games) == 1 else f"{len(games)} games"
    return Comparison(
        title=f"{_listed(approaches)} on {where}",
        env_id=games[0],
        runs=runs,
        normalized=found.normalized,
        baseline=found.called,
        command=provenance.command(),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        versions=provenance.versions(),
        commit=provenance.commit(),
    )


def _listed(words: list[str]) -> str:
    if len(words) > 4:
        return f"{len(words)} approaches"
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
