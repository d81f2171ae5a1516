"""Values → the report's figures. A new figure is one function here and one entry in `figures`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.arcade import scores
from tasks.arcade.report import plots as curves
from tasks.arcade.report.data import CheckpointRow, RunView
from tasks.arcade.report.findings import Findings
from tasks.arcade.report.formatting import interval_text, number
from tasks.arcade.report.groups import Group
from tasks.arcade.report.plots import Curve, Dot, Family, Level, Look, Point
from tasks.arcade.scores import Estimate, FloatArray
from tasks.arcade.scores.published import REFERENCES, Reference


@dataclass(frozen=True)
class Figure:
    """A figure as the page shows it.

    Attributes:
        title: its heading.
        words: what is seen on it.
        plot: HTML; empty where there is nothing to draw.
        missing: why, then.
        wide: it needs the page's whole width.
    """

    title: str
    words: str
    plot: str
    missing: str = ""
    wide: bool = False


def figures(of: Findings) -> tuple[Figure, ...]:
    """All figures, in the order of the page; those that would say nothing are left out."""
    ranked = of.groups
    measure = "human-normalized score" if of.comparison.normalized else "episode return"
    found = [
        _training(of, measure, levels(of)),
        _evaluation(ranked, measure, levels(of)),
        _finals(ranked, measure),
        _pairs(of),
        _profiles(ranked, measure),
        _actions(ranked),
        _every_seed(ranked, measure),
    ]
    return tuple(figure for figure in found if figure.plot or figure.missing)


def levels(of: Findings) -> tuple[Level, ...]:
    """Published scores of random play and of a human, where there are some of the only game, or of every game."""
    if of.comparison.normalized:
        return Level("random", 0), Level("human", 1)
    games = {run.rom for run in of.comparison.runs}
    reference = REFERENCES.get(games.pop(), Reference()) if len(games) == 1 else Reference()
    known = {"random": reference.random, "human": reference.human}
    return tuple(Level(f"{name} {number(value)}", value) for name, value in known.items() if value is not None)


def _about(found: Sequence[Level]) -> str:
    """The same in words, for what lies too far away to be drawn."""
    return (
        f" Published: {', '.join(level.name for level in found)} (Wang et al. 2016, no sticky actions)."
        if found
        else ""
    )


def _training(of: Findings, measure: str, published: Sequence[Level]) -> Figure:
    families = [_family(group, _logged) for group in of.groups]
    plot = curves.efficiency("training", families, measure, published)
    words = (
        "Mean of the last episodes of training, by steps of training. Line: interquartile mean over runs; "
        "shade: its 95% interval."
    )
    lost = _without_line(families)
    said = f"{words}{lost} {faster(of)}".strip() + _about(published)
    missing = "the runs of no approach share a step" if lost else "no return was logged in training"
    return Figure("Sample efficiency", said, plot, missing)


def _without_line(families: Sequence[Family]) -> str:
    """Whose line a reader would look for in vain."""
    names = curves.without_line(families)
    return f" No line of {', '.join(names)}, whose runs share no step." if names else ""


def _every_seed(ranked: Sequence[Group], measure: str) -> Figure:
    if sum(bool(run.curve) for group in ranked for run in group.runs) < 2:
        return Figure("Every seed", "", "")
    plot = curves.every_run("seeds", [_family(group, _logged) for group in ranked], measure)
    return Figure("Every seed", "Mean of the last episodes of training: one line a run.", plot, wide=True)


def _evaluation(ranked: Sequence[Group], measure: str, published: Sequence[Level]) -> Figure:
    families = [_family(group, _evaluated) for group in ranked]
    plot = curves.evaluation("evaluation", families, measure, published)
    words = (
        "Each checkpoint on fresh seeds. Markers: a run's mean; line and shade: interquartile mean over runs and its "
        "95% interval; bars of a lone run: 95% interval over episodes."
    )
    said = words + _without_line(families) + _about(published)
    return Figure("Evaluation by checkpoint", said, plot, "no checkpoint has been evaluated yet")


def _finals(ranked: Sequence[Group], measure: str) -> Figure:
    normalized = any(group.normalized for group in ranked)
    found = []
    for group in ranked:
        for what, estimate in (("last", group.iqm), ("best", group.best)):
            if estimate:
                words = f"{group.approach}, {what} checkpoint: {interval_text(estimate, normalized)}, {group.size}"
                found.append(Dot(group.approach, estimate, _look(group), words, hollow=what == "best"))
    if not found:
        return Figure("Final play", "", "")
    words = (
        "Interquartile mean with its 95% interval. Filled: last checkpoint; hollow: best checkpoint, "
        f"chosen on other seeds. {sizes(ranked)}."
    )
    return Figure("Final play", words, curves.dots("finals", found, measure))


def _pairs(of: Findings) -> Figure:
    looks = {group.approach: _look(group) for group in of.groups}
    found = []
    for one, other, verdict in of.pairs:
        row = f"{one} > {other}"
        words = f"{row}: P = {verdict.probability}, p = {verdict.p_value:.2g}"
        found.append(Dot(row, verdict.probability, looks[one], words))
    if not found:
        return Figure("Probability of improvement", "", "")
    words = (
        "How likely an episode of the first scores above one of the second, with its 95% interval; "
        f"at the dotted line neither is better. {sizes(of.groups)}."
    )
    return Figure("Probability of improvement", words, curves.dots("pairs", found, "P", middle=0.5))


def _profiles(ranked: Sequence[Group], measure: str) -> Figure:
    judged = [group for group in ranked if group.finals]
    if not judged:
        return Figure("Performance profile", "", "")
    normalized = judged[0].normalized
    units = [_units(group) for group in judged]
    every = np.concatenate([np.concatenate([np.asarray(seed, np.float64) for seed in of_group]) for of_group in units])
    low, high = float(every.min()), float(every.max())
    thresholds = np.linspace(low - 0.02 * (high - low) - 1e-9, high + 0.02 * (high - low) + 1e-9, 120)
    bands = [
        (_look(group), scores.profile(of_group, thresholds, copies=group.copies or normalized))
        for group, of_group in zip(judged, units, strict=True)
    ]
    what = "runs" if normalized else "episodes"
    words = f"The share of {what} at the last checkpoints above each {measure}: higher is better. Shade: 95% interval."
    return Figure("Performance profile", words, curves.profiles("profile", thresholds, bands, measure, what))


def _units(group: Group) -> list[list[float]]:
    """What a profile counts: the episodes of each seed; over games, the mean score of each run."""
    if not group.normalized:
        return group.returns_by_seed()
    return [[float(np.mean(seed))] for game in group.games for seed in group.returns_by_seed(game)]


def _actions(ranked: Sequence[Group]) -> Figure:
    shares = []
    for group in ranked:
        counts = Counter[str]()
        for run in group.runs:
            counts.update(dict(run.actions))
        if total := counts.total():
            shares.append((_look(group), {action: count / total for action, count in counts.items()}))
    if not shares:
        return Figure("Actions", "", "")
    words = "How often each action was chosen in the last checkpoints' episodes."
    return Figure("Actions", words, curves.bars("actions", shares))


def faster(of: Findings) -> str:
    """How much sooner the best approach is where the next one ends: a sentence, or nothing where none is true.

    Nothing either where the two cannot be told apart, or the next one has learned nothing that it could be late with.
    """
    known = [(group, *_curve(group)) for group in of.groups if any(run.curve for run in group.runs)]
    if len(known) < 2:
        return ""
    (first, grid, values), (second, _, others) = known[:2]
    both, learned = {first.approach, second.approach}, others[np.isfinite(others)]
    if not any(verdict.decided for one, other, verdict in of.pairs if {one, other} == both):
        return ""
    if not len(learned) or learned[-1] <= learned[0]:
        return ""
    level, last = float(learned[-1]), float(_last_step(second))
    step = scores.first_reached(grid, values, level)
    if step is None or step >= last or step <= 0:
        return ""
    return (
        f"{first.approach} is where {second.approach} ends ({number(level)}) after {step:,.0f} steps instead of "
        f"{last:,.0f}: {last / step:.1f} times fewer."
    )


def _curve(group: Group) -> tuple[FloatArray, FloatArray]:
    """The interquartile mean over runs of an approach's training curves, on the grid of their own steps."""
    runs = [run for run in group.runs if run.curve]
    grid = scores.common_grid([[step for step, _ in run.curve] for run in runs])
    read = [
        scores.curve_on_grid(
            [step for step, _ in run.curve], group.scaled(run, [value for _, value in run.curve]), grid
        )
        for run in runs
    ]
    return grid, scores.band_over_seeds(read).value


def _last_step(group: Group) -> int:
    return min(run.curve[-1][0] for run in group.runs if run.curve)


def sizes(ranked: Sequence[Group]) -> str:
    """`ppo: 3 seeds, 30 episodes; random: 3 seeds, 30 episodes`."""
    return "; ".join(f"{group.approach}: {group.size}" for group in ranked if group.finals)


def _look(group: Group) -> Look:
    return Look(group.approach, group.size, group.color, group.dash, group.symbol)


def _family(group: Group, points_of: Callable[[Group, RunView], Iterable[Point]]) -> Family:
    runs = tuple(Curve(f"{run.run_name}, seed {run.seed}", tuple(points_of(group, run))) for run in group.runs)
    return Family(_look(group), runs)


def _logged(group: Group, run: RunView) -> Iterable[Point]:
    if run.curve:
        values = group.scaled(run, [value for _, value in run.curve])
        for (step, _), value in zip(run.curve, values, strict=True):
            yield Point(step, value)


def _evaluated(group: Group, run: RunView) -> Iterable[Point]:
    for row in sorted(run.checkpoints, key=lambda row: row.step):
        mean, *ends = group.scaled(run, [row.mean, *(end for end in (row.low, row.high) if end is not None)])
        low, high = ends or (None, None)
        words = f"mean {mean_interval(row)}, {row.episodes} episodes ({row.distinct_episodes} distinct)"
        yield Point(row.step, mean, low, high, words)


def mean_interval(row: CheckpointRow) -> str:
    """A checkpoint's mean return with its interval."""
    return interval_text(Estimate(row.mean, row.low, row.high, row.distinct_episodes))
