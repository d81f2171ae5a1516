"""Values → the rows of the report's tables: plain text and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from tasks.arcade.report.data import Cost, RunView
from tasks.arcade.report.formatting import duration, number, score
from tasks.arcade.report.groups import Group
from tasks.arcade.scores.published import REFERENCES


def differing_parameters(runs: Sequence[RunView]) -> list[str]:
    """Names of the parameters that are not the same in all runs, sorted; one that a run lacks is not the same."""
    # What an approach is called differs always.
    names = sorted({name for run in runs for name in run.parameters} - {"approach.name", "approach.description"})
    return [name for name in names if len({_parameter(run, name) for run in runs}) > 1]


def parameter_table(ranked: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of what differs: a column an approach, or, of one approach alone, a column a run.

    An approach whose runs differ shows the values of all of them, in their order; `-` stands for a missing one.
    """
    columns = [(group.approach, group.runs) for group in ranked]
    if len(columns) == 1:
        columns = [(run.run_name, (run,)) for run in ranked[0].runs]
    table = []
    for name in differing_parameters([run for group in ranked for run in group.runs]):
        values = [[_parameter(run, name) for run in runs] for _, runs in columns]
        table.append([name, *(" · ".join(of_runs if len(set(of_runs)) > 1 else of_runs[:1]) for of_runs in values)])
    return [head for head, _ in columns], table


def _parameter(run: RunView, name: str) -> str:
    return str(run.parameters.get(name, "-"))


def cost_rows(ranked: Sequence[Group]) -> list[tuple[Group, tuple[str, str, str, str]]]:
    """What the runs of each approach took: steps trained, wall time, CPU time and speed; a mean a run."""
    return [(group, _cost_cells(group.runs)) for group in ranked]


def _cost_cells(runs: Sequence[RunView]) -> tuple[str, str, str, str]:
    return (
        f"{fmean(run.steps for run in runs):,.0f}",
        duration(_known_mean([run.cost.wall_seconds for run in runs])),
        duration(_known_mean([run.cost.cpu_seconds for run in runs])),
        _speed(runs),
    )


def _speed(runs: Sequence[RunView]) -> str:
    speed = _known_mean([run.cost.steps_per_second for run in runs])
    return "-" if speed is None else f"{speed:,.0f}"


def _known_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def total_cost(runs: Sequence[RunView]) -> Cost:
    """What all runs took together, as far as it is known."""
    walls = [run.cost.wall_seconds for run in runs if run.cost.wall_seconds is not None]
    spent = [run.cost.cpu_seconds for run in runs if run.cost.cpu_seconds is not None]
    return Cost(wall_seconds=sum(walls) if walls else None, cpu_seconds=sum(spent) if spent else None)


def summary_rows(ranked: Sequence[Group]) -> list[dict[str, str | float | int | None]]:
    """One row an approach, best first, of plain values: for a table artifact."""
    return [
        {
            "approach": group.approach,
            "seeds": group.seeds,
            "episodes": group.episodes,
            "distinct_episodes": group.distinct_episodes,
            "step": max((row.step for row in group.rows), default=None),
            "mean_return": group.mean,
            "iqm_return": group.iqm.value if group.iqm else None,
            "iqm_low": group.iqm.low if group.iqm else None,
            "iqm_high": group.iqm.high if group.iqm else None,
            "best_return": group.best.value if group.best else None,
        }
        for group in ranked
    ]


def game_table(ranked: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of several games: mean return, and in brackets the human-normalized score; none for one game."""
    games = sorted({run.rom for group in ranked for run in group.runs})
    if not any(group.normalized for group in ranked):
        return [], []
    rows = []
    for game in games:
        reference = REFERENCES[game]
        cells = [_on_game(group, game) for group in ranked]
        rows.append([game, *cells, number(reference.random), number(reference.human)])
    return ["game", *(group.approach for group in ranked), "random", "human"], rows


def _on_game(group: Group, game: str) -> str:
    returns = [value for run, row in group.finals if run.rom == game for value in row.returns]
    if not returns:
        return "-"
    scaled = [value for seed in group.returns_by_seed(game) for value in seed]
    return f"{number(fmean(returns))} ({score(fmean(scaled))})"
