"""What the runs say, in sentences: who is better, and what to know before believing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tasks.arcade import scores
from tasks.arcade.report.data import Comparison
from tasks.arcade.report.formatting import interval_text
from tasks.arcade.report.groups import Group, counted, groups
from tasks.arcade.report.tables import differing_parameters
from tasks.arcade.scores import Verdict

FEW_SEEDS = 5
Pair = tuple[str, str, Verdict]


@dataclass(frozen=True)
class Findings:
    """What a comparison comes to, worked out once and shown in many ways.

    Attributes:
        groups: the approaches, best first.
        pairs: pairs of approaches by name, the first held against the second, and what is known of them.
    """

    comparison: Comparison

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return groups(self.comparison)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        return _judged_pairs(self.comparison, self.groups)


def _judged_pairs(comparison: Comparison, every: Sequence[Group]) -> tuple[Pair, ...]:
    """Against a baseline every approach is held against that; otherwise the best approach against each other one."""
    ranked = [group for group in every if group.finals]
    if not ranked:
        return ()
    if comparison.baseline is not None:
        baselines = [group for group in ranked if group.side == "baseline"]
        pairs = [(group, other) for group in ranked if group.side != "baseline" for other in baselines]
    else:
        pairs = [(ranked[0], other) for other in ranked[1:]]
    return tuple((one.approach, other.approach, _judge(one, other)) for one, other in pairs if _common(one, other))


def _common(one: Group, other: Group) -> tuple[str, ...]:
    """The games that both played."""
    return tuple(sorted(set(one.games) & set(other.games)))


def _judge(one: Group, other: Group) -> Verdict:
    if one.normalized:
        games = _common(one, other)
        sides = ([group.returns_by_seed(game) for game in games] for group in (one, other))
        return scores.judge_games(one.approach, next(sides), other.approach, next(sides))
    if _by_episodes(one, other):
        return scores.judge_runs(one.approach, one.distinct_returns, other.approach, other.distinct_returns)
    return scores.judge(
        one.approach,
        one.returns_by_seed(),
        other.approach,
        other.returns_by_seed(),
        copies=one.copies or other.copies,
    )


def _by_episodes(one: Group, other: Group) -> bool:
    """Whether agents are judged and not approaches: one is held against a baseline, and a side has but one seed."""
    return not one.normalized and "baseline" in (one.side, other.side) and min(one.seeds, other.seeds) == 1


def worse(found: Findings) -> bool:
    """Whether, against a baseline, some approach came out worse with confidence."""
    return found.comparison.baseline is not None and any(verdict.worse for _, _, verdict in found.pairs)


def verdicts(found: Findings) -> tuple[str, ...]:
    """What the runs say; the first sentence is the headline."""
    comparison, judged = found.comparison, [group for group in found.groups if group.finals]
    if not judged:
        return ("Nothing to judge yet: no checkpoint has been evaluated",)
    if found.pairs:
        # Against a baseline the worst news comes first.
        ordered = sorted(found.pairs, key=lambda pair: comparison.baseline is not None and not pair[2].worse)
        return tuple(verdict.sentence for _, _, verdict in ordered)
    best = judged[0]
    measure = "human-normalized score" if comparison.normalized else "return"
    middle = f"{measure} {interval_text(best.iqm, comparison.normalized)}"
    return (f"{best.approach}: interquartile mean {middle}, {counted(best.seeds, 'seed')}",)


def cautions(found: Findings) -> tuple[str, ...]:
    """What a reader must know before believing the numbers; plain sentences."""
    comparison, ranked = found.comparison, found.groups
    return (
        *_about_seeds(ranked),
        *_about_agents(found),
        *_about_episodes(ranked),
        *_about_games(comparison, ranked),
        *_about_parameters(ranked, comparison),
        *_about_origins(comparison),
        *(f"A video is left out: {what}." for what in comparison.not_shown),
    )


def _about_seeds(ranked: Sequence[Group]) -> list[str]:
    found = []
    if single := [group.approach for group in ranked if group.seeds == 1]:
        found.append(f"One seed of {', '.join(single)}: how much seeds differ is unknown, so there is no interval.")
    shown = [group for group in ranked if group.iqm and group.iqm.low is not None]
    if few := [group.approach for group in shown if 1 < group.seeds < FEW_SEEDS]:
        found.append(
            f"Fewer than {FEW_SEEDS} seeds of {', '.join(few)}: intervals may be too narrow "
            "(in simulations those of 3 seeds hold the truth in 78 to 100% of cases, of 2 seeds in 56 to 100%)."
        )
    return found


def _about_agents(found: Findings) -> list[str]:
    by_name = {group.approach: group for group in found.groups}
    pairs = [(by_name[one], by_name[other]) for one, other, _ in found.pairs]
    return [
        f"{one.approach} against {other.approach}: a side has one seed, so these very agents are judged, by their "
        "episodes, and not the approaches, by their seeds."
        for one, other in pairs
        if _by_episodes(one, other) and max(len(one.finals), len(other.finals)) > 1
    ]


def _about_episodes(ranked: Sequence[Group]) -> list[str]:
    final = [row for group in ranked for row in group.rows]
    found = []
    if copies := sum(group.episodes - group.distinct_episodes for group in ranked):
        episodes = sum(group.episodes for group in ranked)
        found.append(f"{copies} of {episodes} episodes are copies of another one: the same RAM at every step.")
    if len(steps := {row.step for row in final}) > 1:
        found.append(f"The last checkpoints lie at different steps, {min(steps):,} to {max(steps):,}.")
    return found


def _about_games(comparison: Comparison, ranked: Sequence[Group]) -> list[str]:
    found = []
    ids = sorted({run.env_id for run in comparison.runs})
    if len(ids) > 1 and not comparison.normalized:
        found.append(f"The runs play different environments: {', '.join(ids)}.")
    if comparison.normalized:
        for what, values in (
            ("frame skips", {run.frame_skip for run in comparison.runs}),
            ("sticky action probabilities", {f"{run.sticky:g}" for run in comparison.runs if run.sticky is not None}),
        ):
            if len(values) > 1:
                found.append(f"The runs have different {what}: {', '.join(sorted(values))}.")
        if apart := [group.approach for group in ranked if len(group.games) < _most_games(comparison)]:
            found.append(f"Not every game was played by {', '.join(apart)}: pairs are judged on the games of both.")
    return found


def _most_games(comparison: Comparison) -> int:
    return len({run.rom for run in comparison.runs if run.last})


def _about_parameters(ranked: Sequence[Group], comparison: Comparison) -> list[str]:
    found = []
    for group in ranked:
        differing = [name for name in differing_parameters(group.runs) if name.rsplit(".", 1)[-1] != "seed"]
        if beside_seed := [name for name in differing if not (comparison.normalized and name.startswith("game."))]:
            found.append(f"The runs of {group.approach} differ in more than the seed: {', '.join(beside_seed)}.")
    return found


def _about_origins(comparison: Comparison) -> list[str]:
    found = []
    if foreign := [f"{run.run_name} ({run.origin})" for run in comparison.runs if run.origin and not run.played_here]:
        found.append(f"Imported, and not played here: {'; '.join(foreign)}.")
    if rough := [run.run_name for run in comparison.runs if run.judged_by != "evaluation" and run.checkpoints]:
        found.append(
            f"Judged by the last episodes of training, not by an evaluation on fresh seeds: {', '.join(rough)}."
        )
    if len({run.deterministic for run in comparison.runs if run.last and run.deterministic is not None}) > 1:
        likeliest = [run.run_name for run in comparison.runs if run.deterministic]
        found.append(f"Judged by their likeliest actions, the others by sampled ones: {', '.join(likeliest)}.")
    if waiting := [run.run_name for run in comparison.runs if not run.checkpoints]:
        found.append(f"Not evaluated yet: {', '.join(waiting)}.")
    return found
