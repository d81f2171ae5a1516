"""The gallery: one card for each game with runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from tasks.arcade.scores.published_scores import normalized_score
from tasks.store import TRAINED, Evaluated, RunSummary
from tasks.web.game_names import game_page, game_title
from tasks.web.overview import MAX_RUNS, Overview, Snapshot
from tasks.web.pages import render_page


@dataclass(frozen=True)
class Card:
    """A game in the gallery.

    Attributes:
        shown: the champion's run, else the run with the best last evaluation, else the newest one.
        evaluated: evaluation of the checkpoint that is shown; None if none was evaluated.
        normalized: its human-normalized score; None if the game has no published human score.
        running: the running training runs, the one started last first.
        newest_ms: start of the newest run, in milliseconds since the epoch.
    """

    env_id: str
    shown: RunSummary
    evaluated: Evaluated | None
    is_champion: bool
    normalized: float | None
    n_runs: int
    running: tuple[RunSummary, ...]
    newest_ms: int

    @property
    def title(self) -> str:
        return game_title(self.env_id)

    @property
    def page(self) -> str:
        return game_page(self.env_id)

    @property
    def clip(self) -> str | None:
        """Address of a video of the checkpoint; None if none was evaluated, and so recorded."""
        return f"/runs/{self.shown.run_id}/clip?step={self.evaluated.step}" if self.evaluated else None

    @property
    def live(self) -> str | None:
        """Address of the live view of the checkpoint."""
        return live_page(self.shown.run_id, self.evaluated.step) if self.evaluated else None


def live_page(run_id: str, step: int) -> str:
    """Return the address of the live view of a checkpoint."""
    return f"/live?{urlencode({'run': run_id, 'step': step})}"


def cards(snapshot: Snapshot) -> tuple[Card, ...]:
    """Return the card of each game with training runs or imported ones, by title."""
    by_game: dict[str, list[RunSummary]] = {}
    for run in snapshot.runs.values():
        if run.env_id and run.kind in TRAINED:
            by_game.setdefault(run.env_id, []).append(run)
    found = (_card(env_id, runs, snapshot) for env_id, runs in by_game.items())
    return tuple(sorted(found, key=lambda card: (card.title.lower(), card.env_id)))


def _card(env_id: str, runs: list[RunSummary], snapshot: Snapshot) -> Card:
    champion = snapshot.champions.get(env_id)
    crowned = snapshot.runs.get(champion.run_id) if champion else None
    shown = crowned or best_run(runs)
    evaluated = snapshot.evaluations.get(env_id) if crowned else shown.evaluated
    rom = next((run.rom for run in runs if run.rom), None)
    return Card(
        env_id=env_id,
        shown=shown,
        evaluated=evaluated,
        is_champion=crowned is not None,
        normalized=normalized_score(rom, evaluated.mean) if rom and evaluated else None,
        n_runs=len(runs),
        running=tuple(sorted((run for run in runs if run.state == "running"), key=lambda run: -run.start_ms)),
        newest_ms=max(run.start_ms for run in runs),
    )


def best_run(runs: Iterable[RunSummary]) -> RunSummary:
    """Return the run with the best last evaluation, else the best training return, else the newest run."""

    def rank(run: RunSummary) -> tuple[float, float, int]:
        lowest = float("-inf")
        return (
            run.evaluated.mean if run.evaluated else lowest,
            lowest if run.training_return is None else run.training_return,
            run.start_ms,
        )

    return max(runs, key=rank)


def gallery(request: Request) -> Response:
    """Answer with the gallery."""
    overview: Overview = request.app.state.overview
    snapshot = overview.snapshot()
    found = cards(snapshot)
    values = {
        "cards": found,
        "snapshot": snapshot,
        "age": snapshot.age,
        "running": [run.run_id for card in found for run in card.running],
        "n_runs": sum(card.n_runs for card in found),
        "most": MAX_RUNS if len(snapshot.runs) >= MAX_RUNS else None,
    }
    return render_page(request, "gallery.html.j2", values)
