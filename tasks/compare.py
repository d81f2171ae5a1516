"""Comparing's side effects: runs read from MLflow, a report of them written to a run of its own, and to Prefect."""

from __future__ import annotations

import multiprocessing as mp
import os
import re
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks import provenance
from tasks.arcade import report
from tasks.arcade.clip import Clip, clip
from tasks.arcade.episode import read_trace
from tasks.arcade.report import Comparison, FilmView, Findings, WantedFilm
from tasks.arcade.settings import Settings
from tasks.arcade.workers import cores
from tasks.audience import audience
from tasks.contenders import Contenders, contenders
from tasks.reading import read_run
from tasks.store import Film, Store, open_store

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
def find_runs(references: tuple[str, ...], against: tuple[str, ...], normalised: bool) -> Contenders:
    """The runs that are meant.

    Raises:
        StoreError: one of them is not there, is named ambiguously, or they cannot be compared.
    """
    return contenders(open_store(), references, against, normalised=normalised)


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
    findings = _with_films(store, Findings(_read(store, found)), comparison_id)
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
        normalised=found.normalised,
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


# --- films ---


def _with_films(store: Store, findings: Findings, comparison_id: str) -> Findings:
    """The findings with small films of its runs, drawn again from the traces that were recorded."""
    comparison = findings.comparison
    films = {run.run_id: store.films(run.run_id) for run in comparison.runs}
    evaluated = {run.run_id: {row.step for row in run.checkpoints} for run in comparison.runs}
    filmed = {run_id: sorted(films[run_id].keys() & evaluated[run_id]) for run_id in films}
    wanted = report.wanted_films(findings.groups, filmed)
    if not wanted:
        return findings
    audience().said(f"drawing {len(wanted)} films for the report")
    reports = _folder(store.artifact_uri(comparison_id, "reports"))
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name, _processes(len(wanted)) as pool:
        folders = [Path(name) / str(number) for number in range(len(wanted))]
        traces = [
            store.fetch_artifact(one.run_id, films[one.run_id][one.step].trace, folder)
            for one, folder in zip(wanted, folders, strict=True)
        ]
        jobs = [pool.submit(_draw, trace, one.frames) for trace, one in zip(traces, wanted, strict=True)]
        made: dict[str, list[FilmView]] = {}
        for one, job in zip(wanted, jobs, strict=True):
            film = films[one.run_id][one.step]
            made.setdefault(one.run_id, []).append(_view(one, film, job.result(), _from(store, reports, one, film)))
    runs = tuple(run.model_copy(update={"films": tuple(made.get(run.run_id, ()))}) for run in comparison.runs)
    return Findings(comparison.model_copy(update={"runs": runs}))


def _processes(most: int) -> ProcessPoolExecutor:
    # The emulator holds Python's lock: only processes of their own draw side by side.
    return ProcessPoolExecutor(min(most, cores()), mp_context=mp.get_context("spawn"))


class _Drawn(Settings):
    clip: Clip
    mp4: bytes
    episode_return: float
    episode_frames: int


def _draw(path: Path, frames: int) -> _Drawn:
    trace = read_trace(path)
    mp4 = path.with_suffix(".mp4")
    made = clip(trace, mp4, frames)
    return _Drawn(clip=made, mp4=mp4.read_bytes(), episode_return=trace.episode_return, episode_frames=trace.frames + 1)


def _view(wanted: WantedFilm, film: Film, drawn: _Drawn, whole: str | None) -> FilmView:
    return FilmView(
        step=wanted.step,
        episode_return=drawn.episode_return,
        mp4=drawn.mp4,
        frames=drawn.clip.frames,
        episode_frames=drawn.episode_frames,
        fps=drawn.clip.fps,
        score=drawn.clip.score,
        whole=whole,
        path=film.mp4,
    )


def _from(store: Store, reports: Path | None, wanted: WantedFilm, film: Film) -> str | None:
    """Where the whole film lies, as seen from the report's folder; none where they are not on one disk."""
    whole = _folder(store.artifact_uri(wanted.run_id, film.mp4))
    return os.path.relpath(whole, reports) if whole and reports else None


def _folder(uri: str) -> Path | None:
    """The path that a local artifact's address means."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
