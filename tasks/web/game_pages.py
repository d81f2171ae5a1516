"""The page of a game: its runs, the videos of one of them, atlas and last comparison."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, resolve
from tasks.arcade.report.formatting import format_duration
from tasks.arcade.scores.published_scores import normalized_score
from tasks.store import (
    REPORT,
    TRAINED,
    ChampionRegistry,
    Evaluated,
    RunSummary,
    Store,
    run_page,
    summaries_of_game,
    summary_of,
)
from tasks.web.addresses import artifact_address
from tasks.web.artifacts import run_id_of
from tasks.web.gallery import best_run, live_page
from tasks.web.game_names import game_page, game_title
from tasks.web.pages import GALLERY, NotFoundError, render_page
from tasks.web.settings import WebSettings

MAX_RUNS = 200
"""Runs of a game that its page lists; MLflow needs about 5 ms for each."""
_POSTER, _ATLAS_PAGE = "atlas/atlas.png", "atlas/atlas.html"


@dataclass(frozen=True)
class Row:
    """A run in the table of a game."""

    run: RunSummary
    is_champion: bool
    is_selected: bool
    normalized: float | None
    age: str
    mlflow: str | None
    prefect: str | None

    @property
    def page(self) -> str:
        assert self.run.env_id is not None
        return game_page(self.run.env_id, self.run.run_id)

    @property
    def report(self) -> str | None:
        """Address of the report of the comparison that compared the run last."""
        return artifact_address(self.run.report, REPORT) if self.run.report else None

    @property
    def live(self) -> str | None:
        """Address of the live view of the run's last evaluated checkpoint."""
        return live_page(self.run.run_id, self.run.evaluated.step) if self.run.evaluated else None

    @property
    def mean(self) -> Evaluated | None:
        return self.run.evaluated

    @property
    def sort_return(self) -> float | str:
        """Value by which the table sorts the returns; empty without one."""
        if self.run.evaluated:
            return self.run.evaluated.mean
        return "" if self.run.training_return is None else self.run.training_return


@dataclass(frozen=True)
class AtlasView:
    """The newest atlas of a game."""

    poster: str
    page: str
    mlflow: str | None


def game(request: Request) -> Response:
    """Answer with the page of a game, with the run `run` selected (default: the champion's, else the best one)."""
    store: Store = request.app.state.store
    settings: WebSettings = request.app.state.settings
    env_id, wanted = str(request.path_params["env_id"]), request.query_params.get("run")
    found = summaries_of_game(store, env_id, MAX_RUNS)
    runs = [run for run in found if run.kind in TRAINED]
    if not runs:
        raise _no_runs(env_id)
    champion = ChampionRegistry(store.address).champion(env_id)
    selected = _select(store, env_id, runs, wanted, champion.run_id if champion else None)
    if selected not in runs:
        runs.append(selected)
    rows = _rows(runs, selected, champion.run_id if champion else None, settings)
    report = next((run.report for run in runs if run.report), None)
    values = {
        "env_id": env_id,
        "rows": rows,
        "selected": next(row for row in rows if row.is_selected),
        "champion": champion,
        "atlas": _atlas(found, settings),
        "report": report and artifact_address(report, REPORT),
        "comparison": report and summary_of(store, report),
        "all_runs": settings.mlflow_page(store.run_list_ui_path(runs[0].run_id)),
        "listed": MAX_RUNS if len(found) >= MAX_RUNS else None,
    }
    return render_page(request, "game.html.j2", values)


def _no_runs(env_id: str) -> NotFoundError:
    try:
        known = resolve(env_id).env_id
    except UnknownEnvironmentError as error:
        return NotFoundError(f"There are no runs of {env_id[:80]!r}. {error}")
    if known != env_id:
        return NotFoundError(f"There are no runs of {env_id}.", [(game_title(known), game_page(known)), *GALLERY])
    return NotFoundError(f"There are no runs of {env_id} yet: `ramreel train {env_id}` makes one.")


def _select(
    store: Store, env_id: str, runs: Sequence[RunSummary], wanted: str | None, champion: str | None
) -> RunSummary:
    """Return the run that is shown.

    Raises:
        NotFoundError: the wanted run is not a run of this game.
    """
    if wanted:
        found = next((run for run in runs if run.run_id == wanted), None) or _older(store, env_id, wanted)
        if found is None:
            raise NotFoundError(
                f"{game_title(env_id)} has no run {wanted[:64]!r}, or it was deleted.",
                [(f"All runs of {game_title(env_id)}", game_page(env_id)), *GALLERY],
            )
        return found
    return next((run for run in runs if run.run_id == champion), None) or best_run(runs)


def _older(store: Store, env_id: str, run_id: str) -> RunSummary | None:
    """Return a run that is too old to be listed."""
    run = summary_of(store, run_id)
    return run if run and run.env_id == env_id and run.kind in TRAINED else None


def _rows(
    runs: Sequence[RunSummary], selected: RunSummary, champion: str | None, settings: WebSettings
) -> tuple[Row, ...]:
    """Return the rows of the table by approach and seed."""
    now = time.time()
    rows = (
        Row(
            run=run,
            is_champion=run.run_id == champion,
            is_selected=run is selected,
            normalized=normalized_score(run.rom, run.evaluated.mean) if run.rom and run.evaluated else None,
            age=format_age(now - run.start_ms / 1000),
            mlflow=settings.mlflow_page(run_page(run.experiment_id, run.run_id)),
            prefect=settings.flow_run_page(run.flow_run_id),
        )
        for run in runs
    )
    return tuple(sorted(rows, key=lambda row: (row.run.approach, row.run.seed or 0, -row.run.start_ms)))


def format_age(seconds: float) -> str:
    """Return an age: `45 s`, `12 min`, `3.2 h`, `4 d`."""
    days = seconds / 86_400
    return f"{days:,.0f} d" if days >= 2 else format_duration(max(0, seconds))


def _atlas(found: Sequence[RunSummary], settings: WebSettings) -> AtlasView | None:
    run = next((run for run in found if run.kind == "atlas" and run.state == "finished"), None)
    if run is None:
        return None
    return AtlasView(
        poster=artifact_address(run.run_id, _POSTER),
        page=artifact_address(run.run_id, _ATLAS_PAGE),
        mlflow=settings.mlflow_page(run_page(run.experiment_id, run.run_id)),
    )


def run(request: Request) -> Response:
    """Redirect from a run to what shows it: the page of its game, a report, an atlas."""
    store: Store = request.app.state.store
    settings: WebSettings = request.app.state.settings
    run_id = run_id_of(request)
    found = summary_of(store, run_id)
    if found is None:
        raise NotFoundError(f"There is no run {run_id}, or it was deleted.")
    if found.kind in TRAINED and found.env_id:
        return RedirectResponse(game_page(found.env_id, run_id))
    if found.kind in ("comparison", "sweep"):
        return RedirectResponse(artifact_address(run_id, REPORT))
    if found.kind == "atlas":
        return RedirectResponse(artifact_address(run_id, _ATLAS_PAGE))
    if page := settings.mlflow_page(run_page(found.experiment_id, run_id)):
        return RedirectResponse(page)
    raise NotFoundError(f"Run {found.name} is not a run of ramreel, and no address of MLflow's UI is known.")
