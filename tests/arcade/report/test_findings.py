"""What the runs say, and what a reader must know before believing it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.report_pages import Compared, Page, Row, Run

from tasks.arcade import report
from tasks.arcade.report import Findings, RunView, checkpoint_row
from tasks.arcade.scores import Estimate


def test_headline_is_the_verdict(two_ways: Findings, page: str) -> None:
    sentence = "ppo-tuned beats ppo: P = 1.00, 4 seeds"
    assert report.verdicts(two_ways) == (sentence,)
    tied = sentence.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    assert f'<p class="headline real">{tied}</p>' in page
    assert f"**{sentence}**" in report.render_markdown(two_ways)


def test_the_best_approach_is_set_against_each_other_one(run: Run, compared: Compared) -> None:
    three = compared(run("random", 0, -20), run("ppo-tuned", 0, 5), run("ppo", 0, -15))
    assert [group.approach for group in three.groups] == ["ppo-tuned", "ppo", "random"]
    assert report.verdicts(three) == (
        "1 seed cannot tell ppo-tuned and ppo apart: P = 1.00 between these runs",
        "1 seed cannot tell ppo-tuned and random apart: P = 1.00 between these runs",
    )
    assert '<p class="headline open">' in report.render_html(three)


def test_the_best_checkpoint_is_reported_on_other_episodes_than_chose_it(run: Run, row: Row) -> None:
    lucky = run("ppo", 0, 0, checkpoints=(row(1, [9, 1, 9, 3]), row(2, [5, 5, 5, 5])))
    best = report.best_checkpoint(lucky)
    assert best is not None
    assert (best.step, best.returns, best.mean) == (1, (1, 3), 2)
    assert report.best_checkpoint(run("ppo", 0, 0, checkpoints=(row(1, [9]), row(2, [5])))) is None
    assert report.best_checkpoint(run("ppo", 0, 0, checkpoints=(row(2, [5, 5]),))) is None, "one is no choice"


def test_the_luckiest_of_equal_checkpoints_is_not_praised_for_its_luck(run: Run, row: Row) -> None:
    generator = np.random.default_rng(0)
    chosen, naive = [], []
    any_row = row(0, [0, 1, 2, 3, 4, 5])
    for _ in range(200):
        played = generator.normal(0, 1, (10, 6))
        rows = tuple(any_row.model_copy(update={"step": step, "returns": tuple(played[step])}) for step in range(10))
        best = report.best_checkpoint(run("ppo", 0, 0, checkpoints=rows))
        assert best is not None
        chosen.append(best.mean)
        naive.append(played.mean(axis=1).max())
    assert abs(np.mean(chosen)) < 0.15, "the truth is 0"
    assert np.mean(naive) > 0.4


def test_best_checkpoints_are_judged_as_last_ones_are(run: Run, row: Row, compared: Compared) -> None:
    """What is reported of a best checkpoint is in a run of its own a last checkpoint's episodes."""
    breakout = {"env_id": "ALE/Breakout-v5", "rom": "breakout"}

    def best_and_last(returns: list[float], seed: int, **more: Any) -> RunView:
        chosen = [value for value in returns for _ in ("chooses", "is reported")]
        return run("ppo", seed, 0, checkpoints=(row(1, chosen), row(2, [-99.0, -99.0])), **more)

    def last(returns: list[float], seed: int, **more: Any) -> RunView:
        return run("ppo", seed, 0, checkpoints=(row(2, returns),), **more)

    def found(make: Callable[..., RunView]) -> list[RunView]:
        return [make([3.0 * seed + offset for offset in (0, 1, 2, 9)], seed) for seed in range(3)]

    def on_breakout(make: Callable[..., RunView]) -> list[RunView]:
        return [make([20.0 * seed + offset for offset in (0, 1, 2, 9)], seed, **breakout) for seed in range(3)]

    (group,) = compared(*found(best_and_last)).groups
    assert group.best == compared(*found(last)).groups[0].iqm
    twice = compared(*found(best_and_last), best_and_last([30, 31], 0, run_id="again")).groups[0]
    assert twice.best is not None
    assert twice.best.n == twice.seeds == 3
    games = compared(*found(best_and_last), *on_breakout(best_and_last), normalized=True).groups[0]
    assert games.best == compared(*found(last), *on_breakout(last), normalized=True).groups[0].iqm
    assert games.best is not None
    assert games.best.low is not None


def test_against_a_baseline_every_approach_is_held_against_it(run: Run, compared: Compared) -> None:
    champion = [run("ppo", seed, 5, side="baseline", run_id=f"c{seed}") for seed in range(4)]
    new = [run("ppo", seed, -15) for seed in range(4)]
    held = compared(*new, *champion, baseline="champion")
    assert report.verdicts(held) == ("ppo (champion) beats ppo: P = 1.00, 4 seeds",)
    assert report.worse(held)
    assert '<p class="headline worse">' in report.render_html(held)
    better = compared(*(run("ppo", seed, 15) for seed in range(4)), *champion, baseline="champion")
    assert report.verdicts(better) == ("ppo beats ppo (champion): P = 1.00, 4 seeds",)
    assert not report.worse(better)
    assert not report.worse(compared(*new, run("random", 0, 9))), "nothing is held against anything"


def test_one_agent_against_another_is_judged_by_episodes(run: Run, row: Row, compared: Compared) -> None:
    def agent(level: float, **more: Any) -> RunView:
        return run("ppo", 0, 0, checkpoints=(row(9, [level + offset / 10 for offset in range(10)]),), **more)

    held = compared(agent(0), agent(5, side="baseline", run_id="c"), baseline="champion")
    assert report.verdicts(held) == ("ppo (champion) beats ppo: P = 1.00, 10 episodes",)
    assert report.worse(held)
    same = compared(agent(5.05), agent(5, side="baseline", run_id="c"), baseline="champion")
    assert report.verdicts(same)[0].startswith("10 episodes cannot tell ")
    assert not report.worse(same)


def test_the_same_episodes_as_several_seeds_beat_nothing(run: Run, row: Row, compared: Compared) -> None:
    """What samples no actions plays the same five episodes, whatever its seed."""
    same = checkpoint_row(9, [5, 6, 7, 8, 9], list("abcde"))
    noop = [run("noop", seed, 0, checkpoints=(same,)) for seed in range(4)]
    few = run("ppo", 0, 0, checkpoints=(row(9, [4.5, 4.6, 4.7, 5.5, 6.5]),), side="baseline")
    assert report.verdicts(compared(*noop, few, baseline="champion"))[0].startswith("5 episodes cannot tell ")
    own = run("noop", 9, 0, checkpoints=(same,), played_here=False)
    held = compared(*noop, own, few, baseline="champion")
    assert report.verdicts(held)[0].endswith(", 10 and 5 episodes"), "of what was not played here no RAM is known"


def test_it_is_said_where_agents_are_judged_and_not_approaches(run: Run, row: Row, compared: Compared) -> None:
    champion = run("ppo", 0, 15, side="baseline", run_id="c")
    held = compared(*(run("ppo", seed, 0) for seed in range(3)), champion, baseline="champion")
    said = (
        "ppo against ppo (champion): a side has one seed, so these very agents are judged, by their episodes, and not "
        "the approaches, by their seeds."
    )
    assert said in report.cautions(held)
    words = Page(report.render_html(held)).words
    assert said in words
    assert "Where a side has one seed, P and p are of the distinct episodes" in words
    lone = compared(run("ppo", 0, 0), champion, baseline="champion")
    several = compared(*(run("ppo", seed, 0, side=side) for seed in (0, 1) for side in ("candidate", "baseline")))
    for other in (lone, several, compared(*(run("ppo", seed, 0) for seed in range(3)), run("dqn", 0, 0))):
        assert not any("these very agents" in sentence for sentence in report.cautions(other))


def test_games_are_compared_in_human_normalised_scores(run: Run, row: Row, compared: Compared) -> None:
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
    assert re.fullmatch(r"ppo beats random: P = 0\.8[78] \[0\.75, 1\.00\], 2 games, 3 seeds", sentence)
    words = Page(report.render_html(both)).words
    assert "Game by game" in words
    assert "breakout 30.5 (1.00) 1.7 (0.00) 1.7 30.5" in words
    assert "| pong | 14.6 (1.00) | -20.7 (0.00) | -20.7 | 14.6 |" in report.render_markdown(both)


def test_a_game_that_one_side_did_not_play_is_said(run: Run, compared: Compared) -> None:
    breakout = run("ppo", 0, 5, env_id="ALE/Breakout-v5", rom="breakout", frame_skip="2 to 4", sticky=0.0)
    both = compared(run("ppo", 0, 5), breakout, run("random", 0, 0), normalized=True)
    said = report.cautions(both)
    assert "The runs have different frame skips: 2 to 4, 4." in said
    assert "The runs have different sticky action probabilities: 0, 0.25." in said
    assert "Not every game was played by random: pairs are judged on the games of both." in said


def test_cautions_name_what_weakens_the_numbers(run: Run, compared: Compared) -> None:
    copies = checkpoint_row(70_000, [11, 11, 16], ["a", "a", "b"])
    first = run("ppo", 0, 0, checkpoints=(copies,))
    other = run("random", 1, 0, env_id="ALE/Breakout-v5")
    again = run("random", 2, 0, parameters={"seed": 2, "n": 4}, deterministic=True)
    foreign = run("dqn", 0, 0, origin="monitor.csv", judged_by="training episodes", played_here=False)
    assert report.cautions(compared(first, other, again, foreign)) == (
        "One seed of ppo, dqn: how much seeds differ is unknown, so there is no interval.",
        "Fewer than 5 seeds of random: intervals may be too narrow (in simulations those of 3 seeds hold the truth in "
        "78 to 100% of cases, of 2 seeds in 56 to 100%).",
        "1 of 15 episodes are copies of another one: the same RAM at every step.",
        "The last checkpoints lie at different steps, 70,000 to 100,000.",
        "The runs play different environments: ALE/Breakout-v5, ALE/Pong-v5.",
        "The runs of random differ in more than the seed: approach.algorithm.gamma, n.",
        "Imported, and not played here: dqn-0 (monitor.csv).",
        "Judged by the last episodes of training, not by an evaluation on fresh seeds: dqn-0.",
        "Judged by their likeliest actions, the others by sampled ones: random-2.",
    )


def test_few_seeds_are_said_to_be_few_where_the_interval_begins_at_nothing_too(
    run: Run, row: Row, compared: Compared
) -> None:
    found = compared(*(run("ppo", seed, 0, checkpoints=(row(9, [0, 1 + seed]),)) for seed in range(3)))
    assert found.groups[0].iqm is not None
    assert found.groups[0].iqm.low == 0
    assert report.cautions(found)[0].startswith("Fewer than 5 seeds of ppo: intervals may be too narrow")


def test_a_seed_trained_twice_is_one_seed(run: Run, compared: Compared) -> None:
    (group,) = compared(run("ppo", 0, 0), run("ppo", 0, 5, run_id="other")).groups
    assert group.seeds == 1
    assert group.iqm is not None
    assert group.iqm.low is None


def test_copies_make_no_interval(run: Run, compared: Compared) -> None:
    copies = checkpoint_row(9, [11, 11, 11, 16], ["a", "a", "a", "b"])
    (group,) = compared(*(run("ppo", seed, 0, checkpoints=(copies,)) for seed in range(3))).groups
    assert group.iqm is not None
    assert (group.iqm.value, group.iqm.low, group.iqm.high) == (11, 11, 11), "nothing but whole seeds is resampled"


def test_seeds_that_play_the_same_episodes_are_said_to_be_copies(run: Run, compared: Compared) -> None:
    """What samples no actions plays the same, whatever its seed."""
    same = checkpoint_row(9, [-21, -20], ["a", "b"])
    found = compared(*(run("noop", seed, 0, checkpoints=(same,)) for seed in range(3)))
    assert (found.groups[0].episodes, found.groups[0].distinct_episodes) == (6, 2)
    assert found.groups[0].iqm == Estimate(-20.5, -20.5, -20.5, 3), "no interval is made of copies"
    assert "4 of 6 episodes are copies of another one: the same RAM at every step." in report.cautions(found)
    assert "| noop | 3 | 6 | 2 |" in report.render_markdown(found)


def test_checkpoint_row_makes_no_interval_of_copies() -> None:
    copies = checkpoint_row(10, [11, 11, 11, 16], ["a", "a", "a", "a"])
    assert (copies.episodes, copies.distinct_episodes, copies.low, copies.high) == (4, 1, None, None)
    row = checkpoint_row(10, [1, 2, 3, 100], list("abcd"))
    assert (row.mean, row.iqm, row.median) == (26.5, 2.5, 2.5)
    assert row.std == pytest.approx(np.std([1, 2, 3, 100]))
    assert row.low is not None
    assert row.high is not None
    assert 1 <= row.low < 26.5 < row.high <= 100
