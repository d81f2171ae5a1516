"""The report's figures. To add one, write a function that returns it and call it in `figures`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.arcade import scores
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.report import learning_curve_plots, summary_plots
from tasks.arcade.report.data import WINDOW_EPISODES, CheckpointRow, RunView
from tasks.arcade.report.findings import Findings
from tasks.arcade.report.formatting import format_interval
from tasks.arcade.report.groups import Group
from tasks.arcade.report.learning_curve_plots import ApproachCurves, CurvePoint, RunCurve, StepsPlot
from tasks.arcade.report.plot_elements import LineStyle, ReferenceLine
from tasks.arcade.report.published_curves import PUBLISHED_CAPTION, published_curves
from tasks.arcade.report.summary_plots import IntervalPoint
from tasks.arcade.scores import Estimate, FloatArray, format_number, format_score
from tasks.arcade.scores.published import REFERENCES, Reference


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the page.

    Attributes:
        title: its heading.
        caption: its description.
        plot: HTML; empty if there is no data.
        missing: reason why there is no data.
        wide: whether it takes the full width of the page.
    """

    title: str
    caption: str
    plot: str
    missing: str = ""
    wide: bool = False


def figures(findings: Findings) -> tuple[ReportFigure, ...]:
    """Return the figures in the order of the page; those without data and reason are left out."""
    ranked, references = findings.groups, reference_lines(findings)
    measure = "human-normalized score" if findings.comparison.normalized else "episode return"
    every_figure = [
        _sample_efficiency(findings, references),
        _evaluation(ranked, references),
        _final_results(ranked, measure),
        _probability_of_improvement(findings),
        _performance_profiles(ranked, measure),
        _actions(ranked),
        _training_curves(ranked),
    ]
    return tuple(figure for figure in every_figure if figure.plot or figure.missing)


def reference_lines(findings: Findings) -> tuple[ReferenceLine, ...]:
    """Return published scores of random play and of a human if they are known for the only game, or normalized."""
    if findings.comparison.normalized:
        return ReferenceLine("random", 0), ReferenceLine("human", 1)
    games = {run.rom for run in findings.comparison.runs}
    reference = REFERENCES.get(games.pop(), Reference()) if len(games) == 1 else Reference()
    known = {"random": reference.random, "human": reference.human}
    return tuple(
        ReferenceLine(f"{name} {format_number(value)}", value) for name, value in known.items() if value is not None
    )


def _caption(*parts: str) -> str:
    """Join the sentences that are not empty."""
    return " ".join(filter(None, parts))


def _reference_caption(plot: StepsPlot) -> str:
    names = ", ".join(line.name for line in plot.references)
    return f"Dotted: published scores, {names} (Wang et al. 2016, no sticky actions)." if names else ""


def _constant_caption(ranked: Sequence[Group]) -> str:
    names = [group.approach for group in ranked if group.constant]
    if not names:
        return ""
    return f"Horizontal lines: mean evaluation return of approaches without training ({', '.join(names)})."


def _line_caption(ranked: Sequence[Group], plot: StepsPlot) -> str:
    """Say what the lines are, which for a single run need no explanation, and what is shaded."""
    several = any(len(group.runs) > 1 for group in ranked)
    line = "Line: interquartile mean over runs" if several else ""
    if not plot.shaded:
        return f"{line}." if line else ""
    return f"{line}; shaded: its 95% interval." if line else "Shaded: 95% interval."


def _sample_efficiency(findings: Findings, references: Sequence[ReferenceLine]) -> ReportFigure:
    ranked = findings.groups
    approaches = [_approach_curves(group, _training_points, _training_size(group)) for group in ranked]
    measure = f"{_short_measure(ranked)}, mean of the last {WINDOW_EPISODES} training episodes"
    published = published_curves(findings.comparison)
    plot = learning_curve_plots.sample_efficiency("training", approaches, measure, references, published)
    without_line = _without_line_caption(approaches)
    caption = _caption(
        f"{_mean_return(ranked)} of the last {WINDOW_EPISODES} training episodes (rollout/ep_rew_mean).",
        _window_caption(ranked),
        _line_caption(ranked, plot),
        _constant_caption(ranked),
        without_line,
        speedup(findings),
        PUBLISHED_CAPTION if published else "",
        _reference_caption(plot),
    )
    missing = "the runs of no approach share a step" if without_line else "no return was logged during training"
    return ReportFigure("Sample efficiency", caption, plot.html, missing)


def _window_caption(ranked: Sequence[Group]) -> str:
    """Explain why a curve lags behind the evaluations, by the run of the best approach that has learned."""
    runs = [(group.approach, run) for group in ranked for run in group.runs if run.learned and run.window]
    if not runs:
        return ""
    approach, run = runs[0]
    steps = run.curve[-1][0]
    span = f"all of its {steps:,} steps" if run.window == steps else f"the last {run.window:,} steps"
    return (
        f"The last {WINDOW_EPISODES} episodes of {approach} took {span}, during which it learned: at the same step, "
        "evaluations of the checkpoint differ."
    )


def _training_size(group: Group) -> str:
    return group.size if group.constant else pluralize(sum(bool(run.curve) for run in group.runs), "run")


def _without_line_caption(approaches: Sequence[ApproachCurves]) -> str:
    names = learning_curve_plots.without_line(approaches)
    return f"No line: {', '.join(names)} (the runs share no step)." if names else ""


def _training_curves(ranked: Sequence[Group]) -> ReportFigure:
    title = "Training curves of all runs"
    if sum(bool(run.curve) and run.learned for group in ranked for run in group.runs) < 2:
        return ReportFigure(title, "", "")
    curves = [_approach_curves(one, _training_points, _training_size(one)) for one in ranked]
    plot = learning_curve_plots.every_run("seeds", curves, _short_measure(ranked))
    caption = _caption(
        f"{_mean_return(ranked)} of the last {WINDOW_EPISODES} training episodes; one line per run.",
        _constant_caption(ranked),
    )
    return ReportFigure(title, caption, plot.html, wide=True)


def _evaluation(ranked: Sequence[Group], references: Sequence[ReferenceLine]) -> ReportFigure:
    approaches = [_approach_curves(group, _evaluation_points, _evaluation_size(group)) for group in ranked]
    measure = f"{_short_measure(ranked)} of evaluation episodes"
    plot = learning_curve_plots.evaluation("evaluation", approaches, measure, references)
    caption = _caption(
        f"{_mean_return(ranked)} of each checkpoint on evaluation seeds. Markers: single runs.",
        _line_caption(ranked, plot),
        "Bars: 95% interval over its episodes." if plot.bars else "",
        _constant_caption(ranked),
        _without_line_caption(approaches),
        _reference_caption(plot),
    )
    return ReportFigure("Evaluation by checkpoint", caption, plot.html, "no checkpoint has been evaluated yet")


def _evaluation_size(group: Group) -> str:
    counts = sorted({row.episodes for run in group.runs for row in run.checkpoints})
    if group.constant or not counts:
        return group.size
    episodes = (
        f"{counts[0]:,} to {pluralize(counts[-1], 'episode')}" if len(counts) > 1 else pluralize(counts[0], "episode")
    )
    return f"{pluralize(len(group.final_checkpoints), 'run')}, {episodes} per checkpoint"


def _final_results(ranked: Sequence[Group], measure: str) -> ReportFigure:
    normalized = any(group.normalized for group in ranked)
    points = []
    for group in ranked:
        for name, estimate in (("last", group.iqm), ("best", group.best)):
            if estimate:
                value = format_interval(estimate, normalized)
                hover = f"{group.approach}, {name} checkpoint: {value}, {group.size}"
                points.append(IntervalPoint(group.approach, estimate, _style(group), hover, hollow=name == "best"))
    if not points:
        return ReportFigure("Final results", "", "")
    caption = _caption(
        f"Interquartile mean{_with_interval(point.estimate for point in points)}.",
        "Filled: last checkpoint; hollow: best checkpoint, on the episodes that did not choose it."
        if any(point.hollow for point in points)
        else "",
        f"{sample_sizes(ranked)}.",
    )
    return ReportFigure("Final results", caption, summary_plots.interval_plot("finals", points, measure))


def _with_interval(estimates: Iterable[Estimate]) -> str:
    return " with its 95% interval" if any(one.low is not None for one in estimates) else ""


def _probability_of_improvement(findings: Findings) -> ReportFigure:
    title = "Probability of improvement"
    styles = {group.approach: _style(group) for group in findings.groups}
    points = []
    for first, second, verdict in findings.pairs:
        row = f"{first} > {second}"
        hover = f"{row}: P = {verdict.probability}, {scores.format_p_value(verdict.p_value)}"
        points.append(IntervalPoint(row, verdict.probability, styles[first], hover))
    if not points:
        return ReportFigure(title, "", "")
    interval = _with_interval(point.estimate for point in points)
    caption = (
        "P(X > Y): probability that an episode of X has a higher return than an episode of "
        f"Y{',' if interval else ''}{interval}. Dotted line: no difference. {sample_sizes(findings.groups)}."
    )
    return ReportFigure(title, caption, summary_plots.interval_plot("pairs", points, "P(X > Y)", center=0.5))


def _performance_profiles(ranked: Sequence[Group], measure: str) -> ReportFigure:
    evaluated = [group for group in ranked if group.final_checkpoints]
    if not evaluated:
        return ReportFigure("Performance profiles", "", "")
    normalized = evaluated[0].normalized
    values = [_profile_values(group) for group in evaluated]
    pooled = np.concatenate([np.asarray(seed, np.float64) for of_group in values for seed in of_group])
    low, high = float(pooled.min()), float(pooled.max())
    thresholds = np.linspace(low - 0.02 * (high - low) - 1e-9, high + 0.02 * (high - low) + 1e-9, 120)
    units = "runs" if normalized else "episodes"
    bands = [
        (
            _style(group, pluralize(len(of_group), "run") if normalized else group.size),
            scores.performance_profile(of_group, thresholds, has_duplicates=group.has_duplicates or normalized),
        )
        for group, of_group in zip(evaluated, values, strict=True)
    ]
    caption = _caption(
        f"Fraction of {units} at the last checkpoints whose {measure} is above τ; higher is better.",
        "Shaded: 95% interval." if any(np.isfinite(band.low).any() for _, band in bands) else "",
    )
    plot = summary_plots.performance_profiles("profile", thresholds, bands, measure, units)
    return ReportFigure("Performance profiles", caption, plot)


def _profile_values(group: Group) -> list[list[float]]:
    """Return the episodes of each seed, or over games the mean score of each run."""
    if not group.normalized:
        return group.returns_by_seed()
    return [[float(np.mean(seed))] for game in group.games for seed in group.returns_by_seed(game)]


def _actions(ranked: Sequence[Group]) -> ReportFigure:
    frequencies = []
    for group in ranked:
        counts = Counter[str]()
        for run in group.runs:
            counts.update(dict(run.actions))
        if total := counts.total():
            size = pluralize(sum(row.episodes for run, row in group.final_checkpoints if run.actions), "episode")
            frequencies.append((_style(group, size), {action: count / total for action, count in counts.items()}))
    if not frequencies:
        return ReportFigure("Action frequencies", "", "")
    caption = "Relative frequency of each action in the episodes of the last checkpoints."
    return ReportFigure("Action frequencies", caption, summary_plots.action_bars("actions", frequencies))


def speedup(findings: Findings) -> str:
    """Return how many times fewer steps the best approach needs to reach the final return of the second one.

    Empty unless the two differ significantly and the second one has learned something.
    """
    trained = [(group, *_training_iqm(group)) for group in findings.groups if any(run.curve for run in group.runs)]
    trained = [one for one in trained if one[0].learned]
    if len(trained) < 2:
        return ""
    (first, grid, values), (second, _, values_of_second) = trained[:2]
    both, known = {first.approach, second.approach}, values_of_second[np.isfinite(values_of_second)]
    if not any(verdict.significant for one, other, verdict in findings.pairs if {one, other} == both):
        return ""
    if not len(known) or known[-1] <= known[0]:
        return ""
    level, last = float(known[-1]), float(_last_common_step(second))
    step = scores.first_step_reaching(grid, values, level)
    if step is None or step >= last or step <= 0:
        return ""
    normalized = findings.comparison.normalized
    measure, value = ("score", format_score(level)) if normalized else ("return", format_number(level))
    return (
        f"{first.approach} reaches the final {measure} of {second.approach} ({value}) after {step:,.0f} "
        f"steps instead of {last:,.0f} ({last / step:.1f}x fewer)."
    )


def _training_iqm(group: Group) -> tuple[FloatArray, FloatArray]:
    """Return a grid of steps and the interquartile mean over runs of the training curves on it."""
    runs = [run for run in group.runs if run.curve]
    grid = scores.common_grid([[step for step, _ in run.curve] for run in runs])
    curves = [
        scores.interpolate_curve(
            [step for step, _ in run.curve], group.scaled(run, [value for _, value in run.curve]), grid
        )
        for run in runs
    ]
    return grid, scores.iqm_over_seeds(curves)


def _last_common_step(group: Group) -> int:
    return min(run.curve[-1][0] for run in group.runs if run.curve)


def sample_sizes(ranked: Sequence[Group]) -> str:
    """`ppo: 3 seeds, 30 episodes; random: 3 seeds, 30 episodes`."""
    return "; ".join(f"{group.approach}: {group.size}" for group in ranked if group.final_checkpoints)


def _mean_return(ranked: Sequence[Group]) -> str:
    return "Human-normalized mean return" if any(group.normalized for group in ranked) else "Mean return"


def _short_measure(ranked: Sequence[Group]) -> str:
    return "human-normalized score" if any(group.normalized for group in ranked) else "return"


def _style(group: Group, size: str = "") -> LineStyle:
    """Return the style of a group; `size` is the number of seeds and episodes in the figure."""
    return LineStyle(group.approach, size, group.color, group.dash, group.symbol)


def _approach_curves(
    group: Group, points_of: Callable[[Group, RunView], Iterable[CurvePoint]], size: str
) -> ApproachCurves:
    if group.constant:
        points_of = _constant_points
    curves = tuple(RunCurve(f"{run.run_name}, seed {run.seed}", tuple(points_of(group, run))) for run in group.runs)
    return ApproachCurves(_style(group, size), curves, group.constant)


def _training_points(group: Group, run: RunView) -> Iterable[CurvePoint]:
    if run.curve:
        values = group.scaled(run, [value for _, value in run.curve])
        for (step, _), value in zip(run.curve, values, strict=True):
            yield CurvePoint(step, value)


def _evaluation_points(group: Group, run: RunView) -> Iterable[CurvePoint]:
    for row in sorted(run.checkpoints, key=lambda row: row.step):
        mean, *ends = group.scaled(run, [row.mean, *(end for end in (row.low, row.high) if end is not None)])
        low, high = ends or (None, None)
        hover = f"mean {mean_interval(row)}, {pluralize(row.episodes, 'episode')} ({row.distinct_episodes} distinct)"
        yield CurvePoint(row.step, mean, low, high, hover)


def _constant_points(group: Group, run: RunView) -> Iterable[CurvePoint]:
    if run.last:
        (mean,) = group.scaled(run, [run.last.mean])
        yield CurvePoint(run.last.step, mean)


def mean_interval(row: CheckpointRow) -> str:
    """Return a checkpoint's mean return with its interval."""
    return format_interval(Estimate(row.mean, row.low, row.high, row.distinct_episodes))
