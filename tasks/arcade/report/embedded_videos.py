"""Which films a report holds: so many that it stays small, of as many approaches and checkpoints as there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.arcade.report.data import FilmView, RunView
from tasks.arcade.report.groups import Group
from tasks.arcade.settings.base import Settings

FILM_BYTES = 6_500_000
"""Of MP4 in one report, which are 8.7 MB of text in it; with plotly.js it is a page below 15 MB."""
MOST_FILMS = 24
_ALL_FRAMES, _FEWEST, _MOST = 60_000, 1_500, 10_800
"""Of all films in a report together; of each: at least 25 seconds of play, at most three minutes."""


class WantedFilm(Settings):
    """A film to make for a report."""

    run_id: str
    step: int
    frames: int


def wanted_films(ranked: Sequence[Group], filmed: Mapping[str, Sequence[int]]) -> tuple[WantedFilm, ...]:
    """The films to make for a report, of runs and checkpoints that have a trace.

    Of each approach the run whose last interquartile mean is the median one; then, while there is room, the others.
    Of each run checkpoints evenly spread over its training, the last one always.

    Args:
        ranked: the approaches.
        filmed: steps of the checkpoints with a trace, by run id.
    """
    runs = _shown_runs(ranked, filmed)
    if not runs:
        return ()
    each = max(1, MOST_FILMS // len(runs))
    chosen = [(run.run_id, step) for run in runs for step in _spread(sorted(filmed[run.run_id]), each)]
    frames = int(np.clip(_ALL_FRAMES // len(chosen), _FEWEST, _MOST))
    return tuple(WantedFilm(run_id=run_id, step=step, frames=frames) for run_id, step in chosen)


def _shown_runs(ranked: Sequence[Group], filmed: Mapping[str, Sequence[int]]) -> list[RunView]:
    """The median run of each approach, then others while all films of all of them are few enough."""
    able = [[run for run in group.runs if filmed.get(run.run_id)] for group in ranked]
    first = [_median(runs) for runs in able if runs][:MOST_FILMS]
    others = [run for runs in able for run in runs if run not in first]
    total = sum(len(filmed[run.run_id]) for run in first)
    for run in others:
        if total + len(filmed[run.run_id]) > MOST_FILMS:
            break
        total += len(filmed[run.run_id])
        first.append(run)
    # Runs of one approach stand side by side.
    return [run for group in ranked for run in group.runs if run in first]


def _median(runs: Sequence[RunView]) -> RunView:
    ordered = sorted(runs, key=lambda run: run.last.iqm if run.last else -np.inf)
    return ordered[(len(ordered) - 1) // 2]


def _spread(steps: Sequence[int], most: int) -> list[int]:
    if len(steps) <= most:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, most) if most > 1 else [len(steps) - 1]
    return [steps[round(float(place))] for place in places]


def within_budget(runs: Sequence[RunView], limit: int = FILM_BYTES) -> dict[str, tuple[FilmView, ...]]:
    """The films that a report holds, by run id, in rising order of steps.

    While they are more than `limit` bytes together, every run gives up the film that it needs least: the last one and
    the first are kept longest.
    """
    held = {run.run_id: _by_worth(run.films) for run in runs}
    while sum(len(film.mp4) for films in held.values() for film in films) > limit:
        longest = max(held.values(), key=len)
        longest.pop()
    return {run_id: tuple(sorted(films, key=lambda film: film.step)) for run_id, films in held.items()}


def _by_worth(films: Sequence[FilmView]) -> list[FilmView]:
    """The last film, the first, the middle one, and so on, halving what lies between."""
    ordered = sorted(films, key=lambda film: film.step)
    ranks = sorted(range(len(ordered)), key=lambda place: (_level(place, len(ordered)), -place))
    return [ordered[place] for place in ranks]


def _level(place: int, count: int) -> int:
    """How often a row of films has to be halved until this one is at an end of a part."""
    if place in (0, count - 1):
        return 0
    low, high, level = 0, count - 1, 0
    while place not in (low, high):
        middle, level = (low + high) // 2, level + 1
        low, high = (low, middle) if place <= middle else (middle, high)
    return level
