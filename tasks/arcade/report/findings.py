"""The results of a comparison: groups, pairwise verdicts, and cautions on how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.arcade import scores
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.report.data import Comparison, VideoView
from tasks.arcade.report.formatting import format_interval
from tasks.arcade.report.groups import Group, groups
from tasks.arcade.report.tables import differing_parameters
from tasks.arcade.scores import Verdict

FEW_SEEDS = 5
"""Below this number of seeds intervals are known to be too narrow."""
Pair = tuple[str, str, Verdict]


@dataclass(frozen=True)
class Findings:
    """A comparison with its statistics, and the videos to embed in its report.

    `dataclasses.replace` adds videos without computing the statistics again.

    Attributes:
        groups: the approaches, best first.
        pairs: names of two approaches, and the verdict on the first compared with the second.
        videos: videos by run id.
        omitted_videos: videos that could not be made, each with the reason.
    """

    comparison: Comparison
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    videos: Mapping[str, tuple[VideoView, ...]] = field(default_factory=dict)
    omitted_videos: tuple[str, ...] = ()


def analyze(comparison: Comparison) -> Findings:
    """Compute the statistics of a comparison."""
    ranked = groups(comparison)
    return Findings(comparison, ranked, _compare_pairs(comparison, ranked))


def _compare_pairs(comparison: Comparison, ranked: Sequence[Group]) -> tuple[Pair, ...]:
    """Compare every approach with the baseline or, without one, the best approach with each other one."""
    evaluated = [group for group in ranked if group.final_checkpoints]
    if not evaluated:
        return ()
    if comparison.baseline is not None:
        baselines = [group for group in evaluated if group.side == "baseline"]
        pairs = [(group, other) for group in evaluated if group.side != "baseline" for other in baselines]
    else:
        pairs = [(evaluated[0], other) for other in evaluated[1:]]
    return tuple(
        (first.approach, second.approach, _compare(first, second))
        for first, second in pairs
        if _common_games(first, second)
    )


def _common_games(first: Group, second: Group) -> tuple[str, ...]:
    return tuple(sorted(set(first.games) & set(second.games)))


def _compare(first: Group, second: Group) -> Verdict:
    if first.normalized:
        games = _common_games(first, second)
        sides = ([group.returns_by_seed(game) for game in games] for group in (first, second))
        return scores.compare_over_games(first.approach, next(sides), second.approach, next(sides))
    if _compares_agents(first, second):
        return scores.compare_agents(first.approach, first.distinct_returns, second.approach, second.distinct_returns)
    return scores.compare_approaches(
        first.approach,
        first.returns_by_seed(),
        second.approach,
        second.returns_by_seed(),
        has_duplicates=first.has_duplicates or second.has_duplicates,
    )


def _compares_agents(first: Group, second: Group) -> bool:
    """Whether trained agents are compared instead of approaches: with a baseline and a single seed on a side."""
    return not first.normalized and "baseline" in (first.side, second.side) and min(first.seeds, second.seeds) == 1


def worse(findings: Findings) -> bool:
    """Return whether some approach is significantly worse than the baseline."""
    return findings.comparison.baseline is not None and any(verdict.worse for _, _, verdict in findings.pairs)


def best_run(findings: Findings) -> str | None:
    """Return the run id of the highest final mean return among the runs of the best approach, or None."""
    finals = findings.groups[0].final_checkpoints
    return max(finals, key=lambda final: final[1].mean)[0].run_id if finals else None


def verdicts(findings: Findings) -> tuple[str, ...]:
    """Return the results as sentences; the first one is the headline."""
    comparison, evaluated = findings.comparison, [group for group in findings.groups if group.final_checkpoints]
    if not evaluated:
        return ("No results yet: no checkpoint has been evaluated",)
    if findings.pairs:
        # With a baseline, regressions come first.
        ordered = sorted(findings.pairs, key=lambda pair: comparison.baseline is not None and not pair[2].worse)
        return tuple(verdict.sentence for _, _, verdict in ordered)
    best = evaluated[0]
    measure = "human-normalized score" if comparison.normalized else "return"
    value = format_interval(best.iqm, comparison.normalized)
    return (f"{best.approach}: interquartile mean {measure} {value} ({pluralize(best.seeds, 'seed')})",)


def cautions(findings: Findings) -> tuple[str, ...]:
    """Return what limits the validity of the results, as sentences."""
    comparison, ranked = findings.comparison, findings.groups
    return (
        *_about_seeds(ranked),
        *_about_agents(findings),
        *_about_episodes(ranked),
        *_about_games(comparison, ranked),
        *_about_parameters(ranked, comparison),
        *_about_evaluations(comparison),
        *(f"Video omitted: {reason}." for reason in findings.omitted_videos),
    )


def _about_seeds(ranked: Sequence[Group]) -> list[str]:
    sentences = []
    if single := [group.approach for group in ranked if group.seeds == 1]:
        sentences.append(
            f"Only one seed: {', '.join(single)}. The variance between seeds is unknown, so there is no interval."
        )
    with_interval = [group for group in ranked if group.iqm and group.iqm.low is not None]
    if few := [group.approach for group in with_interval if 1 < group.seeds < FEW_SEEDS]:
        sentences.append(
            f"Fewer than {FEW_SEEDS} seeds: {', '.join(few)}. Intervals may be too narrow: in simulations, 95% "
            "intervals of 3 seeds covered the true value in 78 to 100% of cases, and those of 2 seeds in 56 to 100%."
        )
    return sentences


def _about_agents(findings: Findings) -> list[str]:
    by_name = {group.approach: group for group in findings.groups}
    pairs = [(by_name[first], by_name[second]) for first, second, _ in findings.pairs]
    return [
        f"{first.approach} and {second.approach} are compared as trained agents, over their episodes, because one side "
        "has a single seed. The result does not generalize to other seeds."
        for first, second in pairs
        if _compares_agents(first, second) and max(len(first.final_checkpoints), len(second.final_checkpoints)) > 1
    ]


def _about_episodes(ranked: Sequence[Group]) -> list[str]:
    sentences = []
    if duplicates := sum(group.episodes - group.distinct_episodes for group in ranked):
        episodes = sum(group.episodes for group in ranked)
        are = "is a duplicate of another: its" if duplicates == 1 else "are duplicates: their"
        sentences.append(f"{duplicates} of {episodes} episodes {are} RAM is identical at every step.")
    if len(steps := {row.step for group in ranked if group.learned for row in group.final_rows}) > 1:
        sentences.append(f"The last checkpoints are at different steps, {min(steps):,} to {max(steps):,}.")
    return sentences


def _about_games(comparison: Comparison, ranked: Sequence[Group]) -> list[str]:
    sentences = []
    ids = sorted({run.env_id for run in comparison.runs})
    if len(ids) > 1 and not comparison.normalized:
        sentences.append(f"The runs use different environments: {', '.join(ids)}.")
    if comparison.normalized:
        probabilities = {run.repeat_action_probability for run in comparison.runs}
        for setting, values in (
            ("frame skips", {run.frame_skip for run in comparison.runs}),
            ("sticky action probabilities", {f"{value:g}" for value in probabilities if value is not None}),
        ):
            if len(values) > 1:
                sentences.append(f"The runs use different {setting}: {', '.join(sorted(values))}.")
        n_games = len({run.rom for run in comparison.runs if run.last})
        if incomplete := [group.approach for group in ranked if len(group.games) < n_games]:
            sentences.append(
                f"Not evaluated on every game: {', '.join(incomplete)}. Pairs are compared on their common games."
            )
    return sentences


def _about_parameters(ranked: Sequence[Group], comparison: Comparison) -> list[str]:
    sentences = []
    for group in ranked:
        differing = [name for name in differing_parameters(group.runs) if name.rsplit(".", 1)[-1] != "seed"]
        if names := [name for name in differing if not (comparison.normalized and name.startswith("game."))]:
            sentences.append(
                f"The runs of {group.approach} differ in parameters other than the seed: {', '.join(names)}."
            )
    return sentences


def _about_evaluations(comparison: Comparison) -> list[str]:
    sentences = []
    if imported := [
        f"{run.run_name} ({run.origin})" for run in comparison.runs if run.origin and not run.evaluated_here
    ]:
        sentences.append(f"Imported with their evaluations: {'; '.join(imported)}.")
    sentences += [f"Note on {run.run_name}: {note}." for run in comparison.runs for note in run.notes]
    if training := [run.run_name for run in comparison.runs if run.returns_from != "evaluation" and run.checkpoints]:
        sentences.append(
            f"No evaluation on separate seeds; the last training episodes are used instead: {', '.join(training)}."
        )
    if len({run.deterministic for run in comparison.runs if run.last and run.deterministic is not None}) > 1:
        deterministic = [run.run_name for run in comparison.runs if run.deterministic]
        sentences.append(
            f"Evaluated with deterministic actions, the others with sampled actions: {', '.join(deterministic)}."
        )
    if missing := [run.run_name for run in comparison.runs if not run.checkpoints]:
        sentences.append(f"Not evaluated yet: {', '.join(missing)}.")
    return sentences
