"""Statistics, verdicts and cautions of a comparison."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.report_pages import Compared, Page, Row, Run, WithVideos, traces

from tasks.arcade import report
from tasks.arcade.report import Findings, RunView, checkpoint_row
from tasks.arcade.scores import Estimate

CERTAIN = "probability of improvement 1.00"


def test_headline_is_the_verdict(two_approaches: Findings, page: str) -> None:
    sentence = f"ppo-tuned is better than ppo: {CERTAIN} (p = 0.029, 4 seeds each)"
    assert report.verdicts(two_approaches) == (sentence,)
    unbroken = sentence.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    assert f'<p class="headline significant">{unbroken}</p>' in page
    assert f"**{sentence}**" in report.render_report_markdown(two_approaches)


def test_best_approach_is_compared_with_each_other_one(run: Run, compared: Compared) -> None:
    three = compared(run("random", 0, -20), run("ppo-tuned", 0, 5), run("ppo", 0, -15))
    assert [group.approach for group in three.groups] == ["ppo-tuned", "ppo", "random"]
    known, unknown = "(4 episodes each, P = 1.00)", "One seed each says nothing about the approaches."
    assert report.verdicts(three) == (
        f"This ppo-tuned agent scored 7.5, this ppo one -12.5 {known}. {unknown}",
        f"This ppo-tuned agent scored 7.5, this random one -17.5 {known}. {unknown}",
    )
    assert '<p class="headline undecided">' in report.render_report_html(three)


def test_p_value_of_one_seed_is_not_shown(run: Run, compared: Compared) -> None:
    """No test compares approaches over one seed each: a p-value of 1 beside P = 1 would contradict it."""
    page = report.render_report_html(compared(run("ppo", 0, 5), run("random", 0, -20)))
    text = Page(page).text
    assert "1.00 not tested no: a single seed" in text
    assert "p = 1.00" not in page
    (pair,) = traces(page, "pairs")
    assert pair["hovertemplate"] == "ppo &gt; random: P = 1.00, p: not tested<extra></extra>"


def test_smallest_possible_p_value_is_explained(run: Run, compared: Compared) -> None:
    few = compared(*(run(name, seed, level) for seed in range(3) for name, level in (("ppo", 5), ("random", -20))))
    assert "1.00 0.10 no: with so few seeds p is at least 0.10" in Page(report.render_report_html(few)).text
    many = compared(*(run(name, seed, level) for seed in range(4) for name, level in (("ppo", 5), ("random", -20))))
    assert "1.00 0.029 yes" in Page(report.render_report_html(many)).text


def test_best_checkpoint_below_the_last_one_is_explained(run: Run, row: Row, compared: Compared) -> None:
    unlucky = run("ppo", 0, 0, checkpoints=(row(10, [9, 1, 9, 3]), row(20, [5, 5, 5, 5])))
    reason = "on the 2 episodes that did not choose it"
    page, markdown = (
        render(compared(unlucky)) for render in (report.render_report_html, report.render_report_markdown)
    )
    assert f"5.0 2.0 {reason} 5.0" in Page(page).text
    assert f"2.0 at 10, {reason}" in Page(page).text
    assert f"| 5.0 | 2.0 ({reason}) |" in markdown
    better = compared(run("ppo", 0, 0, checkpoints=(row(10, [9, 7, 9, 7]), row(20, [5, 5, 5, 5]))))
    assert reason not in report.render_report_markdown(better)
    assert reason not in Page(report.render_report_html(better)).text


def test_best_checkpoint_is_reported_on_other_episodes_than_selected_it(run: Run, row: Row) -> None:
    lucky = run("ppo", 0, 0, checkpoints=(row(1, [9, 1, 9, 3]), row(2, [5, 5, 5, 5])))
    best = report.best_checkpoint(lucky)
    assert best is not None
    assert (best.step, best.returns, best.mean) == (1, (1, 3), 2)
    assert report.best_checkpoint(run("ppo", 0, 0, checkpoints=(row(1, [9]), row(2, [5])))) is None
    assert report.best_checkpoint(run("ppo", 0, 0, checkpoints=(row(2, [5, 5]),))) is None, (
        "a single checkpoint cannot be selected"
    )


def test_best_checkpoint_has_no_selection_bias(run: Run, row: Row) -> None:
    generator = np.random.default_rng(0)
    selected, naive = [], []
    any_row = row(0, [0, 1, 2, 3, 4, 5])
    for _ in range(200):
        played = generator.normal(0, 1, (10, 6))
        rows = tuple(any_row.model_copy(update={"step": step, "returns": tuple(played[step])}) for step in range(10))
        best = report.best_checkpoint(run("ppo", 0, 0, checkpoints=rows))
        assert best is not None
        selected.append(best.mean)
        naive.append(played.mean(axis=1).max())
    assert abs(np.mean(selected)) < 0.15, "the true value is 0"
    assert np.mean(naive) > 0.4


def test_best_checkpoints_have_the_same_estimate_as_last_ones(run: Run, row: Row, compared: Compared) -> None:
    """The reported episodes of best checkpoints give the same estimate as if they were those of last checkpoints."""
    breakout = {"env_id": "ALE/Breakout-v5", "rom": "breakout"}

    def best_and_last(returns: list[float], seed: int, **more: Any) -> RunView:
        doubled = [value for value in returns for _ in ("selects", "is reported")]
        return run("ppo", seed, 0, checkpoints=(row(1, doubled), row(2, [-99.0, -99.0])), **more)

    def last(returns: list[float], seed: int, **more: Any) -> RunView:
        return run("ppo", seed, 0, checkpoints=(row(2, returns),), **more)

    def on_pong(make: Callable[..., RunView]) -> list[RunView]:
        return [make([3.0 * seed + offset for offset in (0, 1, 2, 9)], seed) for seed in range(3)]

    def on_breakout(make: Callable[..., RunView]) -> list[RunView]:
        return [make([20.0 * seed + offset for offset in (0, 1, 2, 9)], seed, **breakout) for seed in range(3)]

    (group,) = compared(*on_pong(best_and_last)).groups
    assert group.best == compared(*on_pong(last)).groups[0].iqm
    twice = compared(*on_pong(best_and_last), best_and_last([30, 31], 0, run_id="again")).groups[0]
    assert twice.best is not None
    assert twice.best.n == twice.seeds == 3
    games = compared(*on_pong(best_and_last), *on_breakout(best_and_last), normalized=True).groups[0]
    assert games.best == compared(*on_pong(last), *on_breakout(last), normalized=True).groups[0].iqm
    assert games.best is not None
    assert games.best.low is not None


def test_every_approach_is_compared_with_the_baseline(run: Run, compared: Compared) -> None:
    champion = [run("ppo", seed, 5, side="baseline", run_id=f"c{seed}") for seed in range(4)]
    new = [run("ppo", seed, -15) for seed in range(4)]
    findings = compared(*new, *champion, baseline="champion")
    assert report.verdicts(findings) == (f"ppo (champion) is better than ppo: {CERTAIN} (p = 0.029, 4 seeds each)",)
    assert report.worse(findings)
    assert '<p class="headline worse">' in report.render_report_html(findings)
    better = compared(*(run("ppo", seed, 15) for seed in range(4)), *champion, baseline="champion")
    assert report.verdicts(better) == (f"ppo is better than ppo (champion): {CERTAIN} (p = 0.029, 4 seeds each)",)
    assert not report.worse(better)
    assert not report.worse(compared(*new, run("random", 0, 9))), "there is no baseline"


def test_agents_are_compared_over_episodes(run: Run, row: Row, compared: Compared) -> None:
    def agent(level: float, **more: Any) -> RunView:
        return run("ppo", 0, 0, checkpoints=(row(9, [level + offset / 10 for offset in range(10)]),), **more)

    findings = compared(agent(0), agent(5, side="baseline", run_id="c"), baseline="champion")
    assert report.verdicts(findings) == (f"ppo (champion) is better than ppo: {CERTAIN} (p < 0.001, 10 episodes each)",)
    assert report.worse(findings)
    same = compared(agent(5.05), agent(5, side="baseline", run_id="c"), baseline="champion")
    assert report.verdicts(same)[0].endswith(", 10 episodes each)")
    assert report.verdicts(same)[0].startswith("No significant difference between ")
    assert not report.worse(same)


def test_duplicate_episodes_of_several_seeds_are_no_evidence(run: Run, row: Row, compared: Compared) -> None:
    """A deterministic policy plays the same five episodes with every training seed."""
    same = checkpoint_row(9, [5, 6, 7, 8, 9], list("abcde"))
    noop = [run("noop", seed, 0, checkpoints=(same,)) for seed in range(4)]
    few = run("ppo", 0, 0, checkpoints=(row(9, [4.5, 4.6, 4.7, 5.5, 6.5]),), side="baseline")
    (verdict,) = report.verdicts(compared(*noop, few, baseline="champion"))
    assert verdict.startswith("No significant difference between ")
    assert verdict.endswith(", 5 episodes each)")
    own = run("noop", 9, 0, checkpoints=(same,), evaluated_here=False)
    findings = compared(*noop, own, few, baseline="champion")
    assert report.verdicts(findings)[0].endswith(", 10 and 5 episodes)"), "imported evaluations have no RAM digests"


def test_comparison_of_agents_is_a_caution(run: Run, row: Row, compared: Compared) -> None:
    champion = run("ppo", 0, 15, side="baseline", run_id="c")
    findings = compared(*(run("ppo", seed, 0) for seed in range(3)), champion, baseline="champion")
    caution = (
        "ppo and ppo (champion) are compared as trained agents, over their episodes, because one side has a single "
        "seed. The result does not generalize to other seeds."
    )
    assert caution in report.cautions(findings)
    text = Page(report.render_report_html(findings)).text
    assert caution in text
    assert "If one side has a single seed, P and p compare the trained agents over their distinct episodes" in text
    lone = compared(run("ppo", 0, 0), champion, baseline="champion")
    several = compared(*(run("ppo", seed, 0, side=side) for seed in (0, 1) for side in ("candidate", "baseline")))
    for other in (lone, several, compared(*(run("ppo", seed, 0) for seed in range(3)), run("dqn", 0, 0))):
        assert not any("trained agents" in sentence for sentence in report.cautions(other))


def test_games_are_compared_in_human_normalized_scores(run: Run, row: Row, compared: Compared) -> None:
    def on(game: str, approach: str, seed: int, returns: list[float]) -> RunView:
        return run(approach, seed, 0, env_id=f"ALE/{game}-v5", rom=game.lower(), checkpoints=(row(9, returns),))

    runs = [on("Pong", "ppo", seed, [14.6, 14.6]) for seed in range(3)]
    runs += [on("Breakout", "ppo", seed, [1.7, 1.7 + 2 * 28.8]) for seed in range(3)]
    runs += [on("Pong", "random", seed, [-20.7, -20.7]) for seed in range(3)]
    runs += [on("Breakout", "random", seed, [1.7, 1.7]) for seed in range(3)]
    both = compared(*runs, normalized=True)
    first, second = both.groups
    assert first.iqm is not None
    assert second.iqm is not None
    assert (first.approach, first.iqm.value, second.iqm.value) == ("ppo", pytest.approx(1), pytest.approx(0))
    assert first.mean == pytest.approx(1)
    (sentence,) = report.verdicts(both)
    assert re.fullmatch(
        r"ppo is better than random: probability of improvement 0\.8[78] \[0\.75, 1\.00\] "
        r"\(p = 0\.031, 2 games, 3 seeds each\)",
        sentence,
    )
    text = Page(report.render_report_html(both)).text
    assert "Results by game" in text
    assert "breakout 30.5 (1.00) 1.7 (0.00) 1.7 30.5" in text
    assert "| pong | 14.6 (1.00) | -20.7 (0.00) | -20.7 | 14.6 |" in report.render_report_markdown(both)


def test_incomplete_games_are_a_caution(run: Run, compared: Compared) -> None:
    breakout = run(
        "ppo", 0, 5, env_id="ALE/Breakout-v5", rom="breakout", frame_skip="2 to 4", repeat_action_probability=0.0
    )
    both = compared(run("ppo", 0, 5), breakout, run("random", 0, 0), normalized=True)
    found = report.cautions(both)
    assert "The runs use different frame skips: 2 to 4, 4." in found
    assert "The runs use different sticky action probabilities: 0, 0.25." in found
    assert "Not evaluated on every game: random. Pairs are compared on their common games." in found


def test_cautions_name_limits_of_the_results(run: Run, compared: Compared) -> None:
    duplicates = checkpoint_row(70_000, [11, 11, 16], ["a", "a", "b"])
    first = run("ppo", 0, 0, checkpoints=(duplicates,))
    other = run("random", 1, 0, env_id="ALE/Breakout-v5")
    again = run("random", 2, 0, parameters={"seed": 2, "n": 4}, deterministic=True)
    imported = run("dqn", 0, 0, origin="monitor.csv", returns_from="training episodes", evaluated_here=False)
    assert report.cautions(compared(first, other, again, imported)) == (
        "Only one seed: ppo, dqn. The variance between seeds is unknown, so there is no interval.",
        "Fewer than 5 seeds: random. Intervals may be too narrow: in simulations, 95% intervals of 3 seeds covered the "
        "true value in 78 to 100% of cases, and those of 2 seeds in 56 to 100%.",
        "1 of 15 episodes is a duplicate of another: its RAM is identical at every step.",
        "The last checkpoints are at different steps, 70,000 to 100,000.",
        "The runs use different environments: ALE/Breakout-v5, ALE/Pong-v5.",
        "The runs of random differ in parameters other than the seed: approach.algorithm.gamma, n.",
        "Imported with their evaluations: dqn-0 (monitor.csv).",
        "No evaluation on separate seeds; the last training episodes are used instead: dqn-0.",
        "Evaluated with deterministic actions, the others with sampled actions: random-2.",
    )


def test_few_seeds_are_a_caution_if_the_interval_starts_at_zero(run: Run, row: Row, compared: Compared) -> None:
    found = compared(*(run("ppo", seed, 0, checkpoints=(row(9, [0, 1 + seed]),)) for seed in range(3)))
    assert found.groups[0].iqm is not None
    assert found.groups[0].iqm.low == 0
    assert report.cautions(found)[0].startswith("Fewer than 5 seeds: ppo. Intervals may be too narrow")


def test_seed_that_was_trained_twice_counts_once(run: Run, compared: Compared) -> None:
    (group,) = compared(run("ppo", 0, 0), run("ppo", 0, 5, run_id="other")).groups
    assert group.seeds == 1
    assert group.iqm is not None
    assert group.iqm.low is None


def test_duplicates_do_not_widen_the_interval(run: Run, compared: Compared) -> None:
    duplicates = checkpoint_row(9, [11, 11, 11, 16], ["a", "a", "a", "b"])
    (group,) = compared(*(run("ppo", seed, 0, checkpoints=(duplicates,)) for seed in range(3))).groups
    assert group.iqm is not None
    assert (group.iqm.value, group.iqm.low, group.iqm.high) == (11, 11, 11), "only whole seeds are resampled"


def test_identical_episodes_of_several_seeds_are_duplicates(run: Run, compared: Compared) -> None:
    """A deterministic policy plays the same episodes with every training seed."""
    same = checkpoint_row(9, [-21, -20], ["a", "b"])
    found = compared(*(run("noop", seed, 0, checkpoints=(same,)) for seed in range(3)))
    assert (found.groups[0].episodes, found.groups[0].distinct_episodes) == (6, 2)
    assert found.groups[0].iqm == Estimate(-20.5, -20.5, -20.5, 3), "duplicates have no interval"
    assert "4 of 6 episodes are duplicates: their RAM is identical at every step." in report.cautions(found)
    assert "| noop | 3 | 6 | 2 |" in report.render_report_markdown(found)


def test_checkpoint_of_duplicates_has_no_interval() -> None:
    duplicates = checkpoint_row(10, [11, 11, 11, 16], ["a", "a", "a", "a"])
    assert (duplicates.episodes, duplicates.distinct_episodes, duplicates.low, duplicates.high) == (4, 1, None, None)
    row = checkpoint_row(10, [1, 2, 3, 100], list("abcd"))
    assert (row.mean, row.iqm, row.median) == (26.5, 2.5, 2.5)
    assert row.std == pytest.approx(np.std([1, 2, 3, 100]))
    assert row.low is not None
    assert row.high is not None
    assert 1 <= row.low < 26.5 < row.high <= 100


def test_adding_videos_does_not_repeat_the_statistics(run: Run, compared: Compared, with_videos: WithVideos) -> None:
    found = compared(run("ppo", 0, 0), run("ppo", 1, 3), run("random", 0, -9))
    iqm, best = found.groups[0].iqm, found.groups[0].best
    shown = with_videos(found)
    assert shown.groups is found.groups
    assert shown.pairs is found.pairs
    assert shown.groups[0].iqm is iqm
    assert shown.groups[0].best is best
    assert not found.videos
    assert {run_id: len(videos) for run_id, videos in shown.videos.items()} == {
        "ppo0id": 2,
        "ppo1id": 2,
        "random0id": 2,
    }
