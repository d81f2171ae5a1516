"""The figures of a report."""

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
    html = report.render_report_html(compared(long, short))
    shade, middle = traces(html, "training")
    assert (shade["x"], shade["y"]) == ([10_000, 20_000, 20_000, 10_000], [4, 6, 2, 0])
    assert (middle["x"], middle["y"]) == ([10_000, 20_000], [2, 4])
    assert middle["name"].endswith(">· 2 runs</span>")
    assert [trace["y"] for trace in traces(html, "seeds")] == [[0, 2, 9], [4, 6]]


def test_single_run_has_an_interval_over_episodes(run: Run, row: Row, compared: Compared) -> None:
    alone = run("ppo", 0, 0, checkpoints=(row(20, [4, 4]), row(10, [1, 2, 3])))
    points, middle = traces(report.render_report_html(compared(alone)), "evaluation")
    assert (points["x"], points["y"], middle["y"]) == ([10, 20], [2, 4], [2, 4])
    assert points["error_y"]["array"] == [pytest.approx(1), None]
    assert points["text"][1] == "mean 4.0, 2 episodes (2 distinct)"


def test_approach_whose_runs_share_no_step_has_no_line(run: Run, row: Row, compared: Compared) -> None:
    def run_to(seed: int, step: int) -> RunView:
        rows = (row(step, [seed, seed + 1]),)
        return run("ppo", seed, 0, checkpoints=rows, curve=((step - 1000, 1.0), (step, 2.0)))

    apart = (run_to(0, 10_000), run_to(1, 90_000))
    page = report.render_report_html(compared(*apart))
    assert "No data: the runs of no approach share a step." in Page(page).text
    assert [trace["x"] for trace in traces(page, "evaluation")] == [[10_000], [90_000]]
    assert [trace["showlegend"] for trace in traces(page, "evaluation")] == [True, False]
    beside = report.render_report_html(compared(*apart, run("random", 0, -9)))
    assert Page(beside).text.count("No line: ppo (the runs share no step).") == 2
    assert {trace["legendgroup"] for trace in traces(beside, "training")} == {"random"}
    assert "No line" not in Page(report.render_report_html(compared(run_to(0, 60_000), run("ppo", 1, 0)))).text


def test_every_published_score_that_is_named_is_drawn(run: Run, compared: Compared) -> None:
    page = report.render_report_html(compared(run("ppo", 0, -15), run("ppo", 1, 12)))
    assert page.count("Dotted: published scores, random -20.7, human 14.6 (Wang et al. 2016, no sticky actions).") == 2
    for name in ("training", "evaluation"):
        assert _reference_lines(page, name) == {"random -20.7": -20.7, "human 14.6": 14.6}
    distant = report.render_report_html(compared(run("ppo", 0, 75, rom="seaquest", env_id="ALE/Seaquest-v5")))
    assert "human 42,055" not in Page(distant).text, "only what is drawn is named"
    assert "Dotted: published scores, random 68.4 (Wang" in Page(distant).text
    assert "human 42,055" not in _reference_lines(distant, "evaluation"), "it would flatten the curves"
    assert _edge_labels(distant, "evaluation") == {"↑ human 42,055": 1}, "so that an arrow points to it"
    low = compared(run("ppo", 0, 90_000), run("ppo", 1, 90_010))
    assert _edge_labels(report.render_report_html(low), "training") == {"↓ random -20.7": 0, "↓ human 14.6": 0}
    assert "published" not in Page(report.render_report_html(low)).text
    assert "published" not in Page(report.render_report_html(compared(run("ppo", 0, 1, rom="adventure")))).text.lower()
    scored = compared(run("ppo", 0, -15), run("ppo", 1, 12), normalized=True)
    assert _reference_lines(report.render_report_html(scored), "evaluation") == {"random": 0, "human": 1}


def _edge_labels(page: str, name: str) -> dict[str, float]:
    """Return the labels at the edges of a figure, and their height as a share of its own."""
    return {label["text"]: label["y"] for label in _layout(page, name).get("annotations", ())}


def test_published_curves_are_those_of_equal_frames_and_protocol(run: Run, compared: Compared) -> None:
    curve = ((100_000, -20.0), (2_000_000, 17.0))
    equal = {"curve": curve, "steps": 2_000_000, "frame_skip": "4", "repeat_action_probability": 0.25}
    page = report.render_report_html(compared(run("ppo", 0, 17, **equal)))
    best, median, *_ = traces(page, "training")
    assert (best["name"], best["x"], best["y"][-1]) == ("best published", [500_000, 2_000_000], 18.28)
    assert best["text"][-1] == "18.3 after 8,000,000 frames: IQN, Impala CNN (Dopamine)"
    assert (median["name"], median["x"], median["y"][-1] < 18.28) == ("median published", [500_000, 2_000_000], True)
    assert best["line"]["dash"] != median["line"]["dash"]
    assert "Gray: the best and the median of sixteen published agents" in Page(page).text
    for other in ({"frame_skip": "2 to 4"}, {"repeat_action_probability": 0.0}, {"steps": 400_000}):
        different = report.render_report_html(compared(run("ppo", 0, 17, **equal | other)))
        assert "published" not in {trace["name"] for trace in traces(different, "training")}
        assert "sixteen published agents" not in Page(different).text, other


def test_captions_promise_only_what_is_drawn(run: Run, row: Row, compared: Compared) -> None:
    """A single run has no interval over runs, and two equal episodes have none at all."""
    lone = Page(report.render_report_html(compared(run("ppo", 0, 0, checkpoints=(row(10, [4, 4]),))))).text
    assert "95% interval" not in lone
    assert "haded" not in lone
    assert "ollow:" not in lone
    one = Page(report.render_report_html(compared(run("ppo", 0, 0), run("dqn", 0, -9)))).text
    assert "Bars: 95% interval over its episodes." in one
    assert "haded" not in one
    assert "P(X > Y): probability that an episode of X has a higher return than an episode of Y. Dotted" in one
    assert "Filled: last checkpoint; hollow: best checkpoint, on the episodes that did not choose it." in one
    many = [run(name, seed, level + seed) for name, level in (("ppo", 0), ("dqn", 1)) for seed in range(3)]
    several = Page(report.render_report_html(compared(*many))).text
    assert several.count("shaded: its 95% interval") == 2
    assert "of Y, with its 95% interval. Dotted" in several
    assert "Fraction of episodes at the last checkpoints whose episode return is above τ; higher is better. Shaded" in (
        several
    )


def test_training_and_evaluation_say_what_they_average(run: Run, compared: Compared) -> None:
    """At one step, training may have -16 and evaluation -5: the former looks back over 100 episodes."""
    page = report.render_report_html(compared(run("ppo", 0, 0, episode_length=700.0)))
    assert _layout(page, "training")["yaxis"]["title"]["text"] == "return, mean of the last 100 training episodes"
    assert _layout(page, "evaluation")["yaxis"]["title"]["text"] == "return of evaluation episodes"
    assert (
        "The last 100 episodes of ppo took the last 70,000 steps, during which it learned: at the same step, "
        "evaluations of the checkpoint differ." in Page(page).text
    )
    long = report.render_report_html(compared(run("ppo", 0, 0, episode_length=7000.0)))
    assert "took all of its 100,000 steps" in Page(long).text
    unknown = report.render_report_html(compared(run("ppo", 0, 0)))
    assert "The last 100 episodes" not in Page(unknown).text


def _reference_lines(page: str, name: str) -> dict[str, float]:
    """Return the horizontal lines of a figure by their labels."""
    return {shape["label"]["text"]: shape["y0"] for shape in _layout(page, name).get("shapes", ())}


def test_label_of_the_lowest_reference_line_has_room_below_it(run: Run, compared: Compared) -> None:
    layout = _layout(report.render_report_html(compared(run("ppo", 0, -20), run("ppo", 1, 12))), "evaluation")
    lowest, topmost = layout["shapes"]
    assert lowest["label"]["text"] == "random -20.7"
    assert lowest["label"]["yanchor"] == "top"
    assert topmost["label"]["yanchor"] == "top", "of the topmost line, too"
    assert layout["yaxis"]["autorangeoptions"]["include"] < -22
    far_above = _layout(report.render_report_html(compared(run("ppo", 0, 18), run("ppo", 1, 19))), "evaluation")
    assert "autorangeoptions" not in far_above["yaxis"]


def test_label_of_a_reference_line_is_at_the_end_where_no_curve_covers_it(run: Run, compared: Compared) -> None:
    def ends(*curve: float) -> dict[str, str]:
        points = tuple((10_000 * (step + 1), value) for step, value in enumerate(curve))
        layout = _layout(report.render_report_html(compared(run("ppo", 0, curve[-1], curve=points))), "training")
        return {line["label"]["text"]: line["label"]["textposition"] for line in layout["shapes"]}

    assert ends(-19, -18, 0, 12, 13) == {"random -20.7": "end", "human 14.6": "start"}
    assert ends(13, 12, 0, -18, -19) == {"random -20.7": "start", "human 14.6": "end"}


def _layout(page: str, name: str) -> dict[str, Any]:
    start = re.search(rf'Plotly\.newPlot\(\s*"plot-{name}",\s*', page)
    assert start is not None
    _, end = json.JSONDecoder().raw_decode(page, start.end())
    layout: dict[str, Any] = json.JSONDecoder().raw_decode(page, page.index("{", end))[0]
    return layout


def test_every_legend_counts_what_its_figure_shows(page: str) -> None:
    sizes = {
        "training": "4 runs",
        "evaluation": "4 runs, 4 episodes per checkpoint",
        "profile": "4 seeds, 16 episodes",
        "actions": "16 episodes",
        "seeds": "4 runs",
    }
    for name, size in sizes.items():
        shown = [trace["name"] for trace in traces(page, name) if trace.get("showlegend")]
        assert len(shown) == 2
        assert all(label.endswith(f">· {size}</span>") for label in shown), name
    for name in ("finals", "pairs"):
        assert traces(page, name)
    assert Page(page).text.count("ppo-tuned: 4 seeds, 16 episodes; ppo: 4 seeds, 16 episodes.") == 2


def test_actions_are_relative_frequencies(page: str) -> None:
    bar = traces(page, "actions")[0]
    assert (bar["x"], bar["y"]) == (["NOOP", "FIRE"], [0.25, 0.75])


def test_speedup_is_reported_only_if_it_is_significant(run: Run, compared: Compared) -> None:
    def seeds(approach: str, level: float, *curve: tuple[int, float], **more: Any) -> list[RunView]:
        return [run(approach, seed, level, curve=curve, **more) for seed in range(4)]

    slow = seeds("ppo", 0, (10_000, 0.0), (100_000, 9.0))
    quick = seeds("ppo-tuned", 5, (10_000, 0.0), (20_000, 9.0), (100_000, 12.0))
    sentence = "ppo-tuned reaches the final return of ppo (9.0) after 20,000 steps instead of 100,000 (5.0x fewer)."
    assert sentence in Page(report.render_report_html(compared(*slow, *quick))).text
    baseline = seeds("ppo", 0, (10_000, 0.0), (100_000, 9.0), side="baseline")
    against = compared(*baseline, *quick, baseline="champion")
    assert sentence.replace("of ppo", "of ppo (champion)") in Page(report.render_report_html(against)).text
    late = seeds("ppo-tuned", 5, (10_000, 0.0), (200_000, 9.0))
    equal = seeds("ppo-tuned", 0, (10_000, 0.0), (20_000, 9.0), (100_000, 12.0))
    flat = seeds("random", 0, (10_000, 0.1), (100_000, 0.0))
    for runs in ((*slow, *late), (*equal, *slow), (slow[0], quick[0]), (*flat, *quick)):
        assert "fewer)" not in Page(report.render_report_html(compared(*runs))).text


def test_eight_approaches_differ_in_color_or_dash(run: Run, compared: Compared) -> None:
    ranked = compared(*(run(f"ppo-{index}", 0, index) for index in range(8))).groups
    assert len({(group.color, group.dash) for group in ranked}) == 8


def test_error_bars_are_not_negative(run: Run, compared: Compared) -> None:
    """Of nine episodes with return 0 and one with 100 that was played 41 times, the mean is the end of the interval."""
    row = checkpoint_row(10, [0.0] * 9 + [100.0] * 41, [*"abcdefghi", *"j" * 41])
    assert row.mean == row.high == 82
    points, _ = traces(report.render_report_html(compared(run("ppo", 0, 0, checkpoints=(row,)))), "evaluation")
    assert points["error_y"]["array"] == [0]
    assert points["error_y"]["arrayminus"][0] > 0


def _unlearned(run: Run, row: Row, approach: str, seed: int, returns: list[float]) -> RunView:
    """Return a run of an approach that does not learn: one checkpoint at the last step, no training curve."""
    return run(approach, seed, 0, learned=False, checkpoints=(row(100_000, returns),), curve=())


def test_unlearned_approach_is_a_horizontal_line(run: Run, row: Row, compared: Compared) -> None:
    unlearned = [_unlearned(run, row, "random", seed, [-21, -19 + seed]) for seed in range(3)]
    page = report.render_report_html(compared(run("ppo", 0, 0), run("ppo", 1, 2), *unlearned))
    for name, first in (("training", 10_000), ("evaluation", 50_000)):
        shade, line = (trace for trace in traces(page, name) if trace["legendgroup"] == "random")
        assert (line["x"][0], line["x"][-1], set(line["y"])) == (first, 100_000, {-19.5})
        assert (min(shade["x"]), max(shade["x"])) == (first, 100_000)
        assert min(shade["y"]) < -19.5 < max(shade["y"])
        assert line["mode"] == "lines", "no marker at a step that was not trained"
    every = [trace for trace in traces(page, "seeds") if trace["legendgroup"] == "random"]
    assert [set(trace["y"]) for trace in every] == [{-20}, {-19.5}, {-19}]
    assert (
        Page(page).text.count("Horizontal lines: mean evaluation return of approaches without training (random).") == 3
    )


def test_unlearned_run_has_its_interval_over_episodes(run: Run, row: Row, compared: Compared) -> None:
    found = compared(run("ppo", 0, 0), _unlearned(run, row, "random", 0, [-21, -20, -18]))
    (lone,) = (group for group in found.groups if not group.learned)
    assert lone.constant is not None
    (checkpoint,) = lone.final_rows
    assert (lone.constant.value, lone.constant.low, lone.constant.high) == (
        checkpoint.mean,
        checkpoint.low,
        checkpoint.high,
    )
    shade, line = (
        trace for trace in traces(report.render_report_html(found), "training") if trace["legendgroup"] == "random"
    )
    assert set(line["y"]) == {-19.667}
    assert (min(shade["y"]), max(shade["y"])) == (pytest.approx(checkpoint.low), pytest.approx(checkpoint.high))


def test_unlearned_approaches_alone_have_no_training_figure(run: Run, row: Row, compared: Compared) -> None:
    both = compared(_unlearned(run, row, "random", 0, [1, 2]), _unlearned(run, row, "noop", 0, [0, 0]))
    page = report.render_report_html(both)
    assert "No data: no return was logged during training." in Page(page).text
    lines = [trace for trace in traces(page, "evaluation") if trace.get("showlegend")]
    assert [(trace["x"], trace["y"]) for trace in lines] == [([0, 100_000], [1.5, 1.5]), ([0, 100_000], [0, 0])]


def test_unlearned_approaches_are_in_tables_and_verdicts(run: Run, row: Row, compared: Compared) -> None:
    unlearned = [_unlearned(run, row, "random", seed, [-21, -20, -19]) for seed in range(4)]
    found = compared(*(run("ppo", seed, 0) for seed in range(4)), *unlearned)
    assert report.verdicts(found) == (
        "ppo is better than random: probability of improvement 1.00 (p = 0.029, 4 seeds each)",
    )
    markdown = report.render_report_markdown(found)
    assert "| random | 4 | 12 | 12 | -20.0 | -20.0 [" in markdown
    assert "| random-0 (random0id) | random | 0 | - | 3 | 3 |" in markdown
    assert not any("different steps" in sentence for sentence in report.cautions(found))
    metrics = report.metrics_by_step(found)
    assert [metrics[step]["eval/mean_return/random"] for step in (50_000, 100_000)] == [-20, -20]


def test_unlearned_run_does_not_extend_the_steps(run: Run, row: Row, compared: Compared) -> None:
    longer = run("random", 0, 0, learned=False, checkpoints=(row(900_000, [1, 2]),), curve=())
    found = compared(run("ppo", 0, 0), longer)
    page = report.render_report_html(found)
    assert max(max(trace["x"]) for trace in traces(page, "evaluation")) == 100_000
    assert set(report.metrics_by_step(found)) == {50_000, 100_000}
