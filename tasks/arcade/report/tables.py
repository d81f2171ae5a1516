"""The rows of the report's tables, as plain text and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.report.data import Cost, RunView, best_checkpoint
from tasks.arcade.report.formatting import format_duration, format_interval
from tasks.arcade.report.groups import Group
from tasks.arcade.scores import Verdict, estimate, format_number, format_p_value, format_score, mean
from tasks.arcade.scores.pixels_returns import SOURCES, return_kept
from tasks.arcade.scores.published import REFERENCES


def best_reason(best: float, last: float, episodes: int) -> str:
    """Return why a best checkpoint has a lower return than the last one; empty if it has not."""
    if best >= last:
        return ""
    return f"on the {pluralize(episodes, 'episode')} that did not choose it"


def group_best_reason(group: Group) -> str:
    """Return `best_reason` of an approach's interquartile means."""
    if group.best is None or group.iqm is None:
        return ""
    episodes = sum(len(best.returns) for run in group.runs if (best := best_checkpoint(run)))
    return best_reason(group.best.value, group.iqm.value, episodes)


def run_best_reason(run: RunView) -> str:
    """Return `best_reason` of a run's mean returns."""
    best = best_checkpoint(run)
    if best is None or run.last is None:
        return ""
    return best_reason(best.mean, min(run.last.mean, run.last.iqm), len(best.returns))


def significance(verdict: Verdict) -> str:
    """Return whether a difference is significant, and why it cannot be."""
    if verdict.significant:
        return "yes"
    if verdict.p_value is None:
        return "no: a single seed"
    if verdict.has_too_few_seeds:
        p_value = format_p_value(verdict.smallest_p_value).removeprefix("p = ")
        return f"no: with so few seeds p is at least {p_value}"
    return "no"


def differing_parameters(runs: Sequence[RunView]) -> list[str]:
    """Return the sorted names of the parameters that differ between runs; a missing parameter differs, too."""
    # The name of an approach always differs.
    names = sorted({name for run in runs for name in run.parameters} - {"approach.name", "approach.description"})
    return [name for name in names if len({_parameter(run, name) for run in runs}) > 1]


def parameter_table(ranked: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the differing parameters, one column per approach; of a single approach, per run.

    If the runs of an approach differ, their values are listed in order; `-` marks a missing value.
    """
    columns = [(group.approach, group.runs) for group in ranked]
    if len(columns) == 1:
        columns = [(run.run_name, (run,)) for run in ranked[0].runs]
    table = []
    for name in differing_parameters([run for group in ranked for run in group.runs]):
        values = [[_parameter(run, name) for run in runs] for _, runs in columns]
        table.append([name, *(" · ".join(of_runs if len(set(of_runs)) > 1 else of_runs[:1]) for of_runs in values)])
    return [name for name, _ in columns], table


def _parameter(run: RunView, name: str) -> str:
    return str(run.parameters.get(name, "-"))


def cost_rows(ranked: Sequence[Group]) -> list[tuple[Group, tuple[str, str, str, str]]]:
    """Return each approach's training steps, wall time, CPU time and steps per second, as means over runs."""
    return [(group, _cost_cells(group.runs)) for group in ranked]


def _cost_cells(runs: Sequence[RunView]) -> tuple[str, str, str, str]:
    return (
        f"{fmean(run.steps for run in runs):,.0f}" if any(run.learned for run in runs) else "-",
        format_duration(_known_mean([run.cost.wall_seconds for run in runs])),
        format_duration(_known_mean([run.cost.cpu_seconds for run in runs])),
        _speed(runs),
    )


def _speed(runs: Sequence[RunView]) -> str:
    speed = _known_mean([run.cost.steps_per_second for run in runs])
    return "-" if speed is None else f"{speed:,.0f}"


def _known_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def total_cost(runs: Sequence[RunView]) -> Cost:
    """Return the total cost of all runs, as far as known."""
    wall = [run.cost.wall_seconds for run in runs if run.cost.wall_seconds is not None]
    cpu = [run.cost.cpu_seconds for run in runs if run.cost.cpu_seconds is not None]
    return Cost(wall_seconds=sum(wall) if wall else None, cpu_seconds=sum(cpu) if cpu else None)


def summary_rows(ranked: Sequence[Group]) -> list[dict[str, str | float | int | None]]:
    """Return one row of plain values per approach, best first, for a table artifact."""
    return [
        {
            "approach": group.approach,
            "seeds": group.seeds,
            "episodes": group.episodes,
            "distinct_episodes": group.distinct_episodes,
            "step": max((row.step for row in group.final_rows), default=None),
            "mean_return": group.mean,
            "iqm_return": group.iqm.value if group.iqm else None,
            "iqm_low": group.iqm.low if group.iqm else None,
            "iqm_high": group.iqm.high if group.iqm else None,
            "best_return": group.best.value if group.best else None,
        }
        for group in ranked
    ]


def pixels_table(ranked: Sequence[Group]) -> tuple[list[str], list[tuple[Group, RunView, list[str]]]]:
    """Return header and rows of the mean returns by the RAM that a policy observed, of runs recorded from pixels.

    Each has its 95% interval, and followed and decoded RAM the share of the return over random play that they keep.
    """
    rows = []
    for group in ranked:
        for run in group.runs:
            if row := run.from_pixels:
                kept = return_kept(row.returns)
                cells = [f"{row.step:,}", f"{row.episodes}"]
                for source in SOURCES:
                    returns, share = row.returns.get(source), kept.get(source)
                    text = format_interval(estimate(returns, mean)) if returns else "-"
                    cells.append(text if share is None else f"{text} ({share:.0%})")
                rows.append((group, run, cells))
    return ["step", "episodes", "true RAM", "followed RAM", "decoded RAM", "random actions"], rows


def game_table(ranked: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of mean returns by game, with human-normalized scores in parentheses.

    Empty unless the comparison is normalized.
    """
    games = sorted({run.rom for group in ranked for run in group.runs})
    if not any(group.normalized for group in ranked):
        return [], []
    rows = []
    for game in games:
        reference = REFERENCES[game]
        cells = [_game_cell(group, game) for group in ranked]
        rows.append([game, *cells, format_number(reference.random), format_number(reference.human)])
    return ["game", *(group.approach for group in ranked), "random", "human"], rows


def _game_cell(group: Group, game: str) -> str:
    returns = [value for run, row in group.final_checkpoints if run.rom == game for value in row.returns]
    if not returns:
        return "-"
    scaled = [value for seed in group.returns_by_seed(game) for value in seed]
    return f"{format_number(fmean(returns))} ({format_score(fmean(scaled))})"
