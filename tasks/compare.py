"""Comparing's side effects: runs read from MLflow, a report of them written to a run of its own, and to Prefect."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks import provenance
from tasks.arcade.evaluation import Evaluation
from tasks.arcade.report import (
    Comparison,
    FilmView,
    RunView,
    checkpoint_row,
    render_html,
    render_markdown,
    summary_rows,
    verdicts,
)
from tasks.arcade.settings import Settings
from tasks.runs import comparable
from tasks.store import Store, open_store

REPORT = "reports/report.html"


class ComparedRuns(Settings):
    """A comparison that is in the store."""

    run_id: str
    report: str
    runs: tuple[str, ...]
    verdict: str


@task(task_run_name="find runs")
def find_runs(references: tuple[str, ...]) -> tuple[str, ...]:
    """MLflow's ids of the runs, each once, in the order they were named.

    Raises:
        StoreError: one of them is not there, is named ambiguously, or they are not of the same game.
    """
    return comparable(open_store(), references)


@task(task_run_name="start comparison")
def start_comparison(run_ids: tuple[str, ...], name: str | None, experiment: str | None) -> str:
    """Start the comparison's own MLflow run; returns its id."""
    store = open_store()
    first = store.run(run_ids[0])
    return store.start_comparison(
        experiment or first.experiment,
        name or f"comparison of {len(run_ids)} runs",
        run_ids,
        **provenance.origin(),
    )


@task(task_run_name="write report")
def write_report(comparison_id: str, run_ids: tuple[str, ...]) -> ComparedRuns:
    """Read the runs, write the report to MLflow and its table to Prefect."""
    store = open_store()
    comparison = _read(store, run_ids)
    markdown = render_markdown(comparison)
    store.log_report(comparison_id, render_html(comparison), markdown)
    rows, verdict = summary_rows(comparison), verdicts(comparison)[0]
    for row in rows:
        figures = {
            f"final/{key}/{row['approach']}": float(value)
            for key, value in row.items()
            if key.startswith(("mean", "iqm")) and value is not None
        }
        store.log_metrics(comparison_id, figures, step=int(row["step"] or 0))
    key = f"comparison-{comparison_id[:8]}"
    create_table_artifact(rows, key=key, description=f"{comparison.title}: {verdict}")
    create_markdown_artifact(markdown, key=f"report-{comparison_id[:8]}", description=comparison.title)
    return ComparedRuns(run_id=comparison_id, report=REPORT, runs=run_ids, verdict=verdict)


def _read(store: Store, run_ids: tuple[str, ...]) -> Comparison:
    runs = tuple(_view(store, run_id) for run_id in run_ids)
    approaches = " and ".join(dict.fromkeys(run.approach for run in runs))
    return Comparison(title=f"{approaches} on {runs[0].env_id}", env_id=runs[0].env_id, runs=runs)


def _view(store: Store, run_id: str) -> RunView:
    run = store.run(run_id)
    assert run.settings is not None
    evaluations = {step: store.fetch_evaluation(run_id, step) for step in store.evaluations(run_id)}
    rows = [
        checkpoint_row(step, evaluation.returns, [episode.ram_digest for episode in evaluation.episodes])
        for step, evaluation in evaluations.items()
    ]
    return RunView(
        run_id=run_id,
        run_name=run.name,
        approach=run.settings.approach.name,
        seed=run.settings.seed,
        env_id=run.settings.game.env_id,
        steps=int(run.metrics.get("time/total_timesteps", 0)),
        steps_per_second=run.metrics.get("time/fps"),
        checkpoints=tuple(rows),
        curve=tuple(store.history(run_id, "rollout/ep_rew_mean")),
        films=_films(store, run_id, evaluations),
        parameters=dict(run.params),
        command=run.tags.get("ramreel.command", ""),
        versions=run.versions,
        commit=run.tags.get("ramreel.commit"),
    )


def _films(store: Store, run_id: str, evaluations: Mapping[int, Evaluation]) -> tuple[FilmView, ...]:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        return tuple(
            FilmView(
                step=step,
                episode_return=evaluations[step].episodes[evaluations[step].filmed].episode_return,
                mp4=store.fetch_artifact(run_id, film.preview or film.mp4, Path(folder)).read_bytes(),
                still=store.fetch_artifact(run_id, film.still, Path(folder)).read_bytes() if film.still else b"",
                caption=evaluations[step].choice,
            )
            for step, film in store.whole_films(run_id).items()
            if step in evaluations
        )
