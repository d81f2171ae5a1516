"""Values → one HTML file, or Markdown, that compares runs: verdict, learning curves, films.

The HTML needs nothing beside it and no network: plotly.js and the films are inside, and a Content-Security-Policy in
the file forbids it to load anything. Names come from users: whatever they hold is shown as text.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from tasks.arcade import curves, scores
from tasks.arcade.curves import Curve, Family, Point
from tasks.arcade.pages import render
from tasks.arcade.scores import Estimate
from tasks.arcade.settings import Settings

FILM_BYTES = 12_000_000
"""Of MP4 in one report; beyond it only the last and the best film of each run are inside."""

# Okabe and Ito's colours, told apart by colour-blind eyes; where they begin anew the dashes differ.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")


class FilmView(Settings):
    """A film of one checkpoint."""

    step: int = Field(ge=0, description="the checkpoint's")
    episode_return: float
    mp4: bytes = Field(min_length=1, repr=False, description="the file, H.264")
    still: bytes = Field(default=b"", repr=False, description="PNG to show before the film plays")
    caption: str = Field(default="", description="one line under the film")


class CheckpointRow(Settings):
    """What a checkpoint's seeded episodes came to; `checkpoint_row` works it out."""

    step: int = Field(ge=0)
    episodes: int = Field(ge=1)
    distinct_episodes: int = Field(ge=1, description="by their RAM digests")
    mean: float
    iqm: float
    median: float
    std: float = Field(ge=0, description="between the episodes")
    low: float | None = Field(description="of the mean's 95% interval over distinct episodes; none: there is none")
    high: float | None
    returns: tuple[float, ...] = Field(description="of every episode")

    @model_validator(mode="after")
    def _one_return_an_episode(self) -> CheckpointRow:
        if len(self.returns) != self.episodes:
            raise ValueError(f"{self.episodes} episodes have {self.episodes} returns: got {len(self.returns)}")
        return self


class RunView(Settings):
    """A run, as the report shows it."""

    run_id: str
    run_name: str
    approach: str
    seed: int
    env_id: str
    steps: int = Field(ge=0, description="trained")
    steps_per_second: float | None = None
    checkpoints: tuple[CheckpointRow, ...] = Field(default=(), description="those that are evaluated")
    curve: tuple[tuple[int, float], ...] = Field(default=(), description="(step, rollout/ep_rew_mean) in training")
    films: tuple[FilmView, ...] = ()
    parameters: dict[str, str | int | float | bool | None] = Field(default={}, description="as MLflow has them")
    command: str = Field(default="", description="that started it")
    versions: dict[str, str] = Field(default={}, description="library: version")
    commit: str | None = None


class Comparison(Settings):
    """Runs to set side by side."""

    title: str
    env_id: str
    runs: tuple[RunView, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one approach, as one row of the report.

    Attributes:
        finals: each evaluated run's last checkpoint, beside its run.
        iqm: of the last checkpoints' episodes, with its interval over seeds; none before any evaluation.
    """

    approach: str
    colour: str
    dash: str
    symbol: str
    runs: tuple[RunView, ...]
    finals: tuple[tuple[RunView, CheckpointRow], ...]
    iqm: Estimate | None

    @property
    def rows(self) -> tuple[CheckpointRow, ...]:
        return tuple(row for _, row in self.finals)

    @property
    def mean(self) -> float | None:
        """Mean return of all episodes of the last checkpoints."""
        return scores.mean([value for row in self.rows for value in row.returns]) if self.finals else None

    @property
    def seeds(self) -> int:
        """Evaluated ones: a seed trained twice is one seed."""
        return len({run.seed for run, _ in self.finals})

    def returns_by_seed(self) -> list[list[float]]:
        by_seed: dict[int, list[float]] = {}
        for run, row in self.finals:
            by_seed.setdefault(run.seed, []).extend(row.returns)
        return list(by_seed.values())


def checkpoint_row(step: int, returns: Sequence[float], digests: Sequence[str], seed: int = 0) -> CheckpointRow:
    """A checkpoint's row from its episodes: the statistics are of all of them, the interval of the distinct ones.

    Args:
        step: the checkpoint's.
        returns: of the episodes, shape (episodes,).
        digests: of their RAM, one an episode, by which copies are known.
        seed: of the bootstrap's generator.

    Raises:
        ValueError: no return, one that is not finite, or not as many digests.
    """
    interval = scores.estimate(scores.without_copies(returns, digests), scores.mean, seed)
    return CheckpointRow(
        step=step,
        episodes=len(returns),
        distinct_episodes=scores.distinct(digests),
        mean=scores.mean(returns),
        iqm=scores.interquartile_mean(returns),
        median=float(np.median(returns)),
        std=float(np.std(returns)),
        low=interval.low,
        high=interval.high,
        returns=tuple(returns),
    )


def groups(comparison: Comparison) -> tuple[Group, ...]:
    """The approaches, best interquartile mean first, those without an evaluation last."""
    names = list(dict.fromkeys(run.approach for run in comparison.runs))
    made = [_group(name, index, comparison.runs) for index, name in enumerate(names)]
    return tuple(sorted(made, key=lambda group: -group.iqm.value if group.iqm else np.inf))


def _group(approach: str, index: int, every_run: Iterable[RunView]) -> Group:
    runs = tuple(sorted((run for run in every_run if run.approach == approach), key=lambda run: run.seed))
    finals = tuple((run, max(run.checkpoints, key=lambda row: row.step)) for run in runs if run.checkpoints)
    turn, place = divmod(index, len(_COLOURS))
    look = (_COLOURS[place], _DASHES[turn % len(_DASHES)], _SYMBOLS[place])
    group = Group(approach, *look, runs, finals, None)
    if not finals:
        return group
    return replace(group, iqm=scores.estimate_over_seeds(group.returns_by_seed(), scores.interquartile_mean))


def verdicts(comparison: Comparison) -> tuple[str, ...]:
    """What the runs say, the best approach against each other one; the first sentence is the headline."""
    judged = [group for group in groups(comparison) if group.iqm]
    if not judged:
        return ("Nothing to judge yet: no checkpoint has been evaluated",)
    best, *others = judged
    if not others:
        seeds = "1 seed" if best.seeds == 1 else f"{best.seeds} seeds"
        return (f"{best.approach}: interquartile mean return {interval_text(best.iqm)}, {seeds}",)
    return tuple(
        scores.verdict(best.approach, best.returns_by_seed(), other.approach, other.returns_by_seed())
        for other in others
    )


def cautions(comparison: Comparison) -> tuple[str, ...]:
    """What a reader must know before believing the numbers; plain sentences."""
    ranked = groups(comparison)
    final = [row for group in ranked for row in group.rows]
    found = []
    if single := [group.approach for group in ranked if group.seeds == 1]:
        found.append(f"One seed of {', '.join(single)}: how much seeds differ is unknown, so there is no interval.")
    if copies := sum(row.episodes - row.distinct_episodes for row in final):
        episodes = sum(row.episodes for row in final)
        found.append(f"{copies} of {episodes} episodes are copies of another one: the same RAM at every step.")
    if len(steps := {row.step for row in final}) > 1:
        found.append(f"The last checkpoints lie at different steps, {min(steps):,} to {max(steps):,}.")
    if len(ids := sorted({run.env_id for run in comparison.runs})) > 1:
        found.append(f"The runs play different environments: {', '.join(ids)}.")
    for group in ranked:
        if beside_seed := [name for name in differing_parameters(group.runs) if name.rsplit(".", 1)[-1] != "seed"]:
            found.append(f"The runs of {group.approach} differ in more than the seed: {', '.join(beside_seed)}.")
    if waiting := [run.run_name for run in comparison.runs if not run.checkpoints]:
        found.append(f"Not evaluated yet: {', '.join(waiting)}.")
    return tuple(found)


def differing_parameters(runs: Sequence[RunView]) -> list[str]:
    """Names of the parameters that are not the same in all runs, sorted; one that a run lacks is not the same."""
    names = sorted({name for run in runs for name in run.parameters})
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


def summary_rows(comparison: Comparison) -> list[dict[str, str | float | int | None]]:
    """One row an approach, best first, of plain values: for a table artifact."""
    return [
        {
            "approach": group.approach,
            "seeds": group.seeds,
            "episodes": sum(row.episodes for row in group.rows),
            "distinct_episodes": sum(row.distinct_episodes for row in group.rows),
            "step": max((row.step for row in group.rows), default=None),
            "mean_return": group.mean,
            "iqm_return": group.iqm.value if group.iqm else None,
            "iqm_low": group.iqm.low if group.iqm else None,
            "iqm_high": group.iqm.high if group.iqm else None,
        }
        for group in groups(comparison)
    ]


def embedded_films(runs: Sequence[RunView], limit: int = FILM_BYTES) -> dict[str, frozenset[int]]:
    """The steps of each run's films that a report holds, by run id.

    All of them; if those are more than `limit` bytes, each run's last and best (the first, where those are one); if
    those are too, each run's last, of as many runs as fit.
    """
    by_worth = {run.run_id: _by_worth(run.films) for run in runs}
    for most in (None, 2, 1):
        held = {run_id: films[:most] for run_id, films in by_worth.items()}
        sizes = np.cumsum([sum(len(film.mp4) for film in films) for films in held.values()])
        if sizes[-1] <= limit:
            break
    return {
        run_id: frozenset(film.step for film in films if size <= limit)
        for (run_id, films), size in zip(held.items(), sizes, strict=True)
    }


def _by_worth(films: Sequence[FilmView]) -> list[FilmView]:
    """The last film, the best one, then the others."""
    if not films:
        return []
    last, best = max(films, key=lambda film: film.step), max(films, key=lambda film: film.episode_return)
    return list(dict.fromkeys((last, best, *films)))


def number(value: float | None) -> str:
    """A statistic as text: `-20.5`, `1,240`; `-` for none."""
    if value is None:
        return "-"
    return f"{value:z,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def interval_text(estimate: Estimate | None) -> str:
    """`18.3 [17.0, 19.1]`, without brackets where there is no interval."""
    if estimate is None or estimate.low is None:
        return number(estimate.value if estimate else None)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def render_html(comparison: Comparison) -> str:
    """One self-contained HTML page; the same comparison gives the same text."""
    ranked = groups(comparison)
    plots = (_training(ranked), _evaluation(ranked))
    return _render(
        "report.html.j2",
        comparison,
        None,
        embedded=embedded_films(comparison.runs),
        plots=plots,
        plotly_js=curves.plotly_js() if any(plots) else "",
    )


def render_markdown(comparison: Comparison) -> str:
    """The report's words and tables in Markdown, without curves and films."""
    return _render("report.md.j2", comparison, _markdown_text)


def _render(template: str, comparison: Comparison, finalize: Callable[[Any], Any] | None, **values: Any) -> str:
    filters: dict[str, Callable[..., Any]] = {
        "number": number,
        "interval": interval_text,
        "mean_interval": _mean_interval,
        "artifact": lambda film: f"films/step-{film.step:09d}.mp4",
        "exactly": lambda value: f"{value:,.10g}",
        "data_uri": lambda data, kind: f"data:{kind};base64," + base64.b64encode(data).decode(),
    }
    ranked = groups(comparison)
    known = {
        "comparison": comparison,
        "groups": ranked,
        "verdicts": verdicts(comparison),
        "cautions": cautions(comparison),
        "parameters": parameter_table(ranked),
    }
    return render(template, known | values, filters, finalize)


def _markdown_text(value: Any) -> Any:
    """Text that Markdown shows as it is: no markup, no HTML, no link, no end of a table cell."""
    if not isinstance(value, str):
        return value
    one_line = html.escape(" ".join(value.split()), quote=False)
    return re.sub(r"[\\`*_|~]|\](?=[(\[:])", r"\\\g<0>", one_line)


def _training(ranked: Sequence[Group]) -> str:
    """The figure of the returns in training."""
    return curves.figure("training", [_family(group, lambda run: _logged(run.curve)) for group in ranked], marked=False)


def _evaluation(ranked: Sequence[Group]) -> str:
    """The figure of the checkpoints' episodes."""
    return curves.figure("evaluation", [_family(group, _evaluated) for group in ranked], marked=True)


def _family(group: Group, points_of: Callable[[RunView], Iterable[Point]]) -> Family:
    runs = tuple(Curve(f"{run.approach}, seed {run.seed}", tuple(points_of(run))) for run in group.runs)
    return Family(group.approach, group.colour, group.dash, group.symbol, runs)


def _logged(curve: Iterable[tuple[int, float]]) -> Iterable[Point]:
    return (Point(step, value) for step, value in curve)


def _evaluated(run: RunView) -> Iterable[Point]:
    for row in sorted(run.checkpoints, key=lambda row: row.step):
        words = f"mean {_mean_interval(row)}, {row.episodes} episodes ({row.distinct_episodes} distinct)"
        yield Point(row.step, row.mean, row.low, row.high, words)


def _mean_interval(row: CheckpointRow) -> str:
    return interval_text(Estimate(row.mean, row.low, row.high, row.distinct_episodes))
