"""`ramreel compare`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    announce,
    configure_prefect,
    flow_session,
    open_checked_store,
    validated,
    validating,
)
from tasks.arcade.inputs.forms import CompareSettings

if TYPE_CHECKING:
    from tasks.compare import ComparedRuns
    from tasks.store import Store

WORSE = 3
"""Exit code of a comparison that came out worse."""


@options_of(CompareSettings)
def compare(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> int:
    """Compare runs by approach, across seeds, and log a report with curves and videos to an MLflow run."""
    settings = validated(CompareSettings, given)
    announce(f"compare {settings.title}", quiet=quiet)
    from tasks.runs.comparability import CHAMPION, select_runs

    store = open_checked_store(tracking_uri)
    with validating():
        run_ids = tuple(map(store.resolve_run, settings.runs))
        champion = settings.against == (CHAMPION,)
        baseline = settings.against if champion else tuple(map(store.resolve_run, settings.against))
        selected = select_runs(store, run_ids, baseline, normalized=settings.normalized)
    if len(selected.all_runs) == 1:
        name = store.run(selected.runs[0]).name
        raise InvalidInputError(f"{name!r} is the only run to compare: name another one, or a baseline with --against")
    settings = settings.model_copy(
        update={"runs": selected.runs, "against": baseline if champion else selected.baseline}
    )
    configure_prefect()
    with flow_session("flows.compare", as_json, quiet) as terminal:
        from flows.compare import compare as flow

        compared = flow(settings)
        terminal.results(comparison_lines(store, compared), compared.model_dump())
    return WORSE if compared.worse else 0


def comparison_lines(store: Store, compared: ComparedRuns) -> list[str]:
    """Return the printed results of a comparison: the sentence, the links, and the commands that come next."""
    from tasks.execution.links import mlflow_url

    published = [f"published scores: {compared.published} (without sticky actions)"] if compared.published else []
    report = f"report: {mlflow_url(store, compared.run_id, compared.report)}"
    if compared.best is None:
        return [compared.verdict, *published, report, f"next: `{program()} up` shows everything in the browser"]
    videos = store.videos(compared.best)
    video = [f"video: {mlflow_url(store, compared.best, videos[max(videos)].mp4)}"] if videos else []
    others = [store.artifact_uri(run, at) for run in compared.runs for at in store.video_folders(run)]
    return [
        *(f"videos: {folder}" for folder in others),
        compared.verdict,
        *published,
        *video,
        report,
        f"next: `{program()} up` shows everything in the browser, `{program()} watch {compared.best[:8]}` plays live, "
        f"`{program()} reel {compared.best[:8]}` records the progress",
    ]


def program() -> str:
    """Return how this program is called: by its name, or by its path where that is not on the PATH."""
    path = Path(sys.argv[0])
    if path.name != "ramreel" or shutil.which("ramreel") == str(path):
        return "ramreel"
    return os.path.relpath(path)
