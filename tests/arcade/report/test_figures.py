"""What a report's figures show."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from helpers.report_pages import Compared, Page, Row, Run, traces

from tasks.arcade import report
from tasks.arcade.report import RunView, checkpoint_row


def test_sample_efficiency_is_a_line_with_its_interval(run: Run, compared: Compared) -> None:
    short = run("ppo", 1, 0, curve=((10_000, 4.0), (20_000, 6.0)))
    long = run("ppo", 0, 0, curve=((10_000, 0.0), (20_000, 2.0), (30_000, 9.0)))
    html = report.render_html(compared(long, short))
    shade, middle = traces(html, "training")
    assert (shade["x"], shade["y"]) == ([10_000, 20_000, 20_000, 10_000], [4, 6, 2, 0])
    assert (middle["x"], middle["y"]) == ([10_000, 20_000], [2, 4])
    assert middle["name"].endswith("2 seeds, 8 episodes</span>")
    assert [trace["y"] for trace in traces(html, "seeds")] == [[0, 2, 9], [4, 6]]


def test_evaluation_of_a_lone_run_has_its_interval_over_episodes(run: Run, row: Row, compared: Compared) -> None:
    alone = run("ppo", 0, 0, checkpoints=(row(20, [4, 4]), row(10, [1, 2, 3])))
    points, middle = traces(report.render_html(compared(alone)), "evaluation")
    assert (points["x"], points["y"], middle["y"]) == ([10, 20], [2, 4], [2, 4])
    assert points["error_y"]["array"] == [pytest.approx(1), None]
    assert points["text"][1] == "mean 4.0, 2 episodes (2 distinct)"


def test_an_approach_whose_runs_share_no_step_is_named_and_has_no_line(run: Run, row: Row, compared: Compared) -> None:
    def until(seed: int, step: int) -> RunView:
        rows = (row(step, [seed, seed + 1]),)
        return run("ppo", seed, 0, checkpoints=rows, curve=((step - 1000, 1.0), (step, 2.0)))

    apart = (until(0, 10_000), until(1, 90_000))
    page = report.render_html(compared(*apart))
    assert "Nothing to draw: the runs of no approach share a step." in Page(page).words
    assert [trace["x"] for trace in traces(page, "evaluation")] == [[10_000], [90_000]]
    assert [trace["showlegend"] for trace in traces(page, "evaluation")] == [True, False]
    beside = report.render_html(compared(*apart, run("random", 0, -9)))
    assert Page(beside).words.count("No line of ppo, whose runs share no step.") == 2
    assert {trace["legendgroup"] for trace in traces(beside, "training")} == {"random"}
    assert "No line of" not in Page(report.render_html(compared(until(0, 60_000), run("ppo", 1, 0)))).words


def test_published_scores_are_lines_where_they_are_near(run: Run, compared: Compared) -> None:
    page = report.render_html(compared(run("ppo", 0, -15), run("ppo", 1, 12)))
    assert page.count("Published: random -20.7, human 14.6 (Wang et al. 2016, no sticky actions).") == 2
    for name in ("training", "evaluation"):
        assert _levels(page, name) == {"random -20.7": -20.7, "human 14.6": 14.6}
    far = report.render_html(compared(run("ppo", 0, 100, rom="seaquest", env_id="ALE/Seaquest-v5")))
    assert "human 42,055" in far
    assert "human 42,055" not in _levels(far, "evaluation"), "it would press the curves flat"
    assert "Published" not in report.render_html(compared(run("ppo", 0, 1, rom="adventure")))
    scored = compared(run("ppo", 0, -15), run("ppo", 1, 12), normalized=True)
    assert _levels(report.render_html(scored), "evaluation") == {"random": 0, "human": 1}


def _levels(page: str, name: str) -> dict[str, float]:
    """Lines across a figure, by their labels."""
    return {shape["label"]["text"]: shape["y0"] for shape in _layout(page, name).get("shapes", ())}


def test_the_name_of_the_lowest_line_has_room_below_it(run: Run, compared: Compared) -> None:
    """Curves begin where random play is."""
    layout = _layout(report.render_html(compared(run("ppo", 0, -20), run("ppo", 1, 12))), "evaluation")
    below, beside = layout["shapes"]
    assert below["label"]["text"] == "random -20.7"
    assert below["label"]["yanchor"] == "top"
    assert beside["label"]["yanchor"] == "top", "of the topmost too"
    assert layout["yaxis"]["autorangeoptions"]["include"] < -22
    far_above = _layout(report.render_html(compared(run("ppo", 0, 18), run("ppo", 1, 19))), "evaluation")
    assert "autorangeoptions" not in far_above["yaxis"]


def _layout(page: str, name: str) -> dict[str, Any]:
    start = re.search(rf'Plotly\.newPlot\(\s*"plot-{name}",\s*', page)
    assert start is not None
    _, end = json.JSONDecoder().raw_decode(page, start.end())
    layout: dict[str, Any] = json.JSONDecoder().raw_decode(page, page.index("{", end))[0]
    return layout


def test_every_figure_says_how_many_seeds_and_episodes(page: str) -> None:
    for name in ("training", "evaluation", "profile", "actions", "seeds"):
        shown = [trace["name"] for trace in traces(page, name) if trace.get("showlegend")]
        assert len(shown) == 2
        assert all("4 seeds, 16 episodes" in words for words in shown), name
    for name in ("finals", "pairs"):
        assert traces(page, name)
    assert Page(page).words.count("ppo-tuned: 4 seeds, 16 episodes; ppo: 4 seeds, 16 episodes.") == 2


def test_actions_are_shares(page: str) -> None:
    bar = traces(page, "actions")[0]
    assert (bar["x"], bar["y"]) == (["NOOP", "FIRE"], [0.25, 0.75])


def test_how_much_sooner_is_said_only_where_it_is_so(run: Run, compared: Compared) -> None:
    def seeds(approach: str, level: float, *curve: tuple[int, float], **more: Any) -> list[RunView]:
        return [run(approach, seed, level, curve=curve, **more) for seed in range(4)]

    slow = seeds("ppo", 0, (10_000, 0.0), (100_000, 9.0))
    quick = seeds("ppo-tuned", 5, (10_000, 0.0), (20_000, 9.0), (100_000, 12.0))
    words = "ppo-tuned is where ppo ends (9.0) after 20,000 steps instead of 100,000: 5.0 times fewer."
    assert words in Page(report.render_html(compared(*slow, *quick))).words
    held = seeds("ppo", 0, (10_000, 0.0), (100_000, 9.0), side="baseline")
    against = compared(*held, *quick, baseline="champion")
    assert words.replace("where ppo", "where ppo (champion)") in Page(report.render_html(against)).words
    late = seeds("ppo-tuned", 5, (10_000, 0.0), (200_000, 9.0))
    equal = seeds("ppo-tuned", 0, (10_000, 0.0), (20_000, 9.0), (100_000, 12.0))
    flat = seeds("random", 0, (10_000, 0.1), (100_000, 0.0))
    for runs in ((*slow, *late), (*equal, *slow), (slow[0], quick[0]), (*flat, *quick)):
        assert "times fewer" not in Page(report.render_html(compared(*runs))).words


def test_colours_and_dashes_tell_eight_approaches_apart(run: Run, compared: Compared) -> None:
    ranked = compared(*(run(f"ppo-{index}", 0, index) for index in range(8))).groups
    assert len({(group.color, group.dash) for group in ranked}) == 8


def test_the_bars_of_a_lone_run_reach_from_its_mean_outwards(run: Run, compared: Compared) -> None:
    """Nine distinct episodes of 0 and one of 100 that was played 41 times: the mean of all is above their interval."""
    many = checkpoint_row(10, [0.0] * 9 + [100.0] * 41, [*"abcdefghi", *"j" * 41])
    assert many.mean == many.high == 82
    points, _ = traces(report.render_html(compared(run("ppo", 0, 0, checkpoints=(many,)))), "evaluation")
    assert points["error_y"]["array"] == [0]
    assert points["error_y"]["arrayminus"][0] > 0
