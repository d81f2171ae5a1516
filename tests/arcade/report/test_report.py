from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from markdown_it import MarkdownIt
from pydantic import ValidationError

from tasks.arcade import report
from tasks.arcade.report import CheckpointRow, Cost, FilmView, Findings, RunView, checkpoint_row
from tasks.arcade.report.tables import total_cost
from tasks.arcade.report.words import duration, number
from tasks.arcade.scores import Estimate

EVIL = '"><img src=x onerror=alert(1)></script><script>alert(2)</script> | **x** [y](javascript:z)'

Run = Callable[..., RunView]
Row = Callable[..., CheckpointRow]
Compared = Callable[..., Findings]


class Page(HTMLParser):
    """What a browser would see: elements, what they load, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.words = ""
        self.csp = ""
        self._inside = ""
        self.feed(text)
        self.close()
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]
        if tag == "script":
            self.scripts.append("")
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.csp = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words += data + " "


def _traces(page: str, name: str) -> list[dict[str, Any]]:
    start = re.search(rf'Plotly\.newPlot\(\s*"plot-{name}",\s*', page)
    assert start is not None
    traces: list[dict[str, Any]] = json.JSONDecoder().raw_decode(page, start.end())[0]
    return traces


@pytest.fixture(scope="module")
def page(two_ways: Findings) -> str:
    return report.render_html(two_ways)


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


def test_one_file_holds_everything_and_loads_nothing(page: str) -> None:
    seen = Page(page)
    assert seen.loads
    assert all(load.startswith("data:") for load in seen.loads)
    assert "default-src 'none'" in seen.csp
    assert "http" not in seen.csp
    assert sum("plotly.js v" in script[:300] for script in seen.scripts) == 1


def test_films_inside_can_be_played(page: str, mp4: bytes, tmp_path: Path) -> None:
    seen = Page(page)
    films = [load for load in seen.loads if load.startswith("data:video/mp4;base64,")]
    assert len(films) == seen.tags.count("video") == 16
    path = tmp_path / "film.mp4"
    path.write_bytes(base64.b64decode(films[-1].partition(",")[2], validate=True))
    assert path.read_bytes() == mp4
    assert imageio_ffmpeg.count_frames_and_secs(str(path)) == (90, pytest.approx(1.5, abs=0.01))


def test_names_from_users_are_text_in_html(run: Run, compared: Compared, mp4: bytes) -> None:
    def render(name: str) -> Page:
        first = run("ppo", 0, 1, mp4, parameters={name: name, "a": 1}, command=name, commit=name, origin=name)
        first = first.model_copy(
            update={
                "run_name": name,
                "approach": name,
                "run_id": name,
                "versions": {name: name},
                "actions": ((name, 3),),
            }
        )
        linked = first.films[0].model_copy(update={"whole": name})
        other = run("random", 0, 0, films=(linked,))
        more = {"title": name, "command": name, "versions": {name: name}, "commit": name}
        return Page(report.render_html(compared(first, other, **more)))

    evil, good = render(EVIL), render("good")
    assert sorted(evil.tags) == sorted(good.tags)
    assert evil.attributes == good.attributes
    assert len(evil.scripts) == len(good.scripts)
    assert evil.words.count(EVIL) == good.words.count("good") > 10


def test_names_from_users_are_text_in_figures(run: Run, compared: Compared) -> None:
    name = "<b>&lt;"
    runs = [run("ppo", seed, 1).model_copy(update={"approach": name, "run_name": name}) for seed in (0, 1)]
    html = report.render_html(compared(*runs, run("random", 0, 0)))
    for figure in ("training", "evaluation", "finals", "pairs", "profile", "actions", "seeds"):
        for trace in _traces(html, figure):
            for key in ("name", "hovertemplate"):
                assert "<b>" not in (trace.get(key) or "")


def test_names_from_users_are_text_in_markdown(run: Run, compared: Compared) -> None:
    def render(name: str) -> str:
        first = run("ppo", 0, 1).model_copy(update={"run_name": name, "approach": name, "parameters": {name: name}})
        markdown = report.render_markdown(compared(first, run("random", 0, 0), title=name))
        return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))

    evil, good = render(EVIL + "\n\n# heading"), render("good")
    assert Page(evil).tags == Page(good).tags
    assert Page(evil).words.count(f"{EVIL} # heading") == Page(good).words.count("good") > 5


def test_markdown_tables_hold_the_results(two_ways: Findings) -> None:
    lines = report.render_markdown(two_ways).splitlines()
    row = next(line for line in lines if line.startswith("| ppo-tuned | 4 "))
    assert re.fullmatch(
        r"\| ppo-tuned \| 4 \| 16 \| 16 \| 9\.0 \| 9\.0 \[[67]\.\d, 1[01]\.\d\] \| 9\.5 \[\d.*\] \|", row
    )
    assert any(
        line.startswith("| ppo-tuned-3 (ppo-tuned3id) | ppo-tuned | 3 | 100,000 | 4 | 4 | 10.5 [") for line in lines
    )
    assert "| approach.algorithm.gamma | 0.9 | 0.99 |" in lines
    assert "| ppo | 100,000 | 2 min | 3 min | 1,234 |" in lines
    assert not any(line.startswith("| n |") for line in lines)


def test_summary_rows_are_plain_and_best_first(two_ways: Findings) -> None:
    first, second = report.summary_rows(two_ways.groups)
    ends = first.pop("iqm_low"), first.pop("iqm_high")
    assert first == {
        "approach": "ppo-tuned",
        "seeds": 4,
        "episodes": 16,
        "distinct_episodes": 16,
        "step": 100_000,
        "mean_return": 9.0,
        "iqm_return": 9.0,
        "best_return": 9.5,
    }
    assert isinstance(ends[0], float)
    assert isinstance(ends[1], float)
    assert 6 <= ends[0] < 9 < ends[1] <= 12
    assert second["approach"] == "ppo"
    assert json.loads(json.dumps(second)) == second


def test_sample_efficiency_is_a_line_with_its_interval(run: Run, compared: Compared) -> None:
    short = run("ppo", 1, 0, curve=((10_000, 4.0), (20_000, 6.0)))
    long = run("ppo", 0, 0, curve=((10_000, 0.0), (20_000, 2.0), (30_000, 9.0)))
    html = report.render_html(compared(long, short))
    shade, middle = _traces(html, "training")
    assert (shade["x"], shade["y"]) == ([10_000, 20_000, 20_000, 10_000], [4, 6, 2, 0])
    assert (middle["x"], middle["y"]) == ([10_000, 20_000], [2, 4])
    assert middle["name"].endswith("2 seeds, 8 episodes</span>")
    assert [trace["y"] for trace in _traces(html, "seeds")] == [[0, 2, 9], [4, 6]]


def test_evaluation_of_a_lone_run_has_its_interval_over_episodes(run: Run, row: Row, compared: Compared) -> None:
    alone = run("ppo", 0, 0, checkpoints=(row(20, [4, 4]), row(10, [1, 2, 3])))
    points, middle = _traces(report.render_html(compared(alone)), "evaluation")
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
    assert [trace["x"] for trace in _traces(page, "evaluation")] == [[10_000], [90_000]]
    assert [trace["showlegend"] for trace in _traces(page, "evaluation")] == [True, False]
    beside = report.render_html(compared(*apart, run("random", 0, -9)))
    assert Page(beside).words.count("No line of ppo, whose runs share no step.") == 2
    assert {trace["legendgroup"] for trace in _traces(beside, "training")} == {"random"}
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
    scored = compared(run("ppo", 0, -15), run("ppo", 1, 12), normalised=True)
    assert _levels(report.render_html(scored), "evaluation") == {"random": 0, "human": 1}


def _levels(page: str, name: str) -> dict[str, float]:
    """Lines across a figure, by their labels."""
    start = re.search(rf'Plotly\.newPlot\(\s*"plot-{name}",\s*', page)
    assert start is not None
    _, end = json.JSONDecoder().raw_decode(page, start.end())
    layout = json.JSONDecoder().raw_decode(page, page.index("{", end))[0]
    return {shape["label"]["text"]: shape["y0"] for shape in layout.get("shapes", ())}


def test_every_figure_says_how_many_seeds_and_episodes(page: str) -> None:
    for name in ("training", "evaluation", "profile", "actions", "seeds"):
        shown = [trace["name"] for trace in _traces(page, name) if trace.get("showlegend")]
        assert len(shown) == 2
        assert all("4 seeds, 16 episodes" in words for words in shown), name
    for name in ("finals", "pairs"):
        assert _traces(page, name)
    assert Page(page).words.count("ppo-tuned: 4 seeds, 16 episodes; ppo: 4 seeds, 16 episodes.") == 2


def test_actions_are_shares(page: str) -> None:
    bar = _traces(page, "actions")[0]
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
    games = compared(*found(best_and_last), *on_breakout(best_and_last), normalised=True).groups[0]
    assert games.best == compared(*found(last), *on_breakout(last), normalised=True).groups[0].iqm
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
    both = compared(*runs, normalised=True)
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
    both = compared(run("ppo", 0, 5), breakout, run("random", 0, 0), normalised=True)
    said = report.cautions(both)
    assert "The runs have different frame skips: 2 to 4, 4." in said
    assert "The runs have different sticky action probabilities: 0, 0.25." in said
    assert "Not every game was played by random: pairs are judged on the games of both." in said


def test_colours_and_dashes_tell_eight_approaches_apart(run: Run, compared: Compared) -> None:
    ranked = compared(*(run(f"ppo-{index}", 0, index) for index in range(8))).groups
    assert len({(group.colour, group.dash) for group in ranked}) == 8


def test_what_is_not_there_yet_is_said(run: Run, compared: Compared) -> None:
    bare = run("ppo", 0, 0, checkpoints=(), curve=(), cost=Cost(), commit=None, versions={}, actions=())
    page = Page(report.render_html(compared(bare)))
    for words in (
        "Nothing to judge yet: no checkpoint has been evaluated",
        "Nothing to draw: no return was logged in training.",
        "Nothing to draw: no checkpoint has been evaluated yet.",
        "No film yet",
        "Not evaluated yet: ppo-0.",
    ):
        assert words in page.words
    assert page.scripts == []
    assert report.summary_rows(compared(bare).groups)[0]["iqm_return"] is None
    assert "Nothing to judge yet" in report.render_markdown(compared(bare))


def test_a_run_without_evaluation_stands_beside_one_with(run: Run, compared: Compared) -> None:
    both = compared(run("ppo", 0, 0, checkpoints=()), run("random", 0, 3))
    assert report.verdicts(both) == ("random: interquartile mean return 5.5, 1 seed",)
    assert [group.approach for group in both.groups] == ["random", "ppo"]
    page = report.render_html(both)
    assert {trace["legendgroup"] for trace in _traces(page, "training")} == {"random", "ppo"}
    assert {trace["legendgroup"] for trace in _traces(page, "evaluation")} == {"random"}


def _films(count: int, size: int) -> tuple[FilmView, ...]:
    facts = {"episode_return": 1, "frames": 9, "episode_frames": 9, "fps": 60}
    return tuple(FilmView(step=step, mp4=b"x" * size, **facts) for step in range(count))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "steps"),
    [(1000, [0, 1, 2, 3, 4]), (800, [0, 2, 3, 4]), (600, [0, 2, 4]), (400, [0, 4]), (200, [4]), (199, [4])],
)
def test_films_that_are_too_large_together_leave_the_last_the_first_and_the_middle(
    run: Run, limit: int, steps: list[int]
) -> None:
    runs = [run("ppo", seed, 0).model_copy(update={"films": _films(5, 100)}) for seed in (0, 1)]
    held = report.within_budget(runs, limit)
    assert steps in [[film.step for film in films] for films in held.values()]
    assert sum(len(film.mp4) for films in held.values() for film in films) <= limit


def test_two_runs_of_ten_checkpoints_are_a_page_below_15_mb(run: Run, compared: Compared) -> None:
    films = _films(10, 900_000)
    runs = [run(name, 0, 0).model_copy(update={"films": films}) for name in ("ppo", "random")]
    html = report.render_html(compared(*runs))
    assert Page(html).tags.count("video") >= 6
    assert len(html.encode()) < 15_000_000


def test_films_are_made_of_every_approach_and_its_last_checkpoint(run: Run, compared: Compared) -> None:
    many = compared(*(run(f"a{number}", seed, seed) for number in range(4) for seed in range(3)))
    filmed = {one.run_id: tuple(range(0, 100, 10)) for one in many.comparison.runs}
    wanted = report.wanted_films(many.groups, filmed)
    assert {one.run_id for one in wanted} == {f"a{number}1id" for number in range(4)}, "the median seed of each"
    assert len(wanted) == 24
    assert {one.step for one in wanted} >= {0, 90}
    two = compared(run("ppo", 0, 0), run("random", 0, 0))
    assert len(report.wanted_films(two.groups, {one.run_id: range(10) for one in two.comparison.runs})) == 20
    alone = compared(run("ppo", 0, 0), run("ppo", 1, 0))
    assert {
        one.run_id for one in report.wanted_films(alone.groups, {one.run_id: [5] for one in alone.comparison.runs})
    } == {
        "ppo0id",
        "ppo1id",
    }
    assert report.wanted_films(alone.groups, {}) == ()


def test_a_film_that_shows_a_part_says_so_and_links_to_the_whole(run: Run, compared: Compared, mp4: bytes) -> None:
    film = {"step": 250_000, "episode_return": 4, "mp4": mp4, "frames": 90, "episode_frames": 5400, "fps": 60}
    views = (FilmView(**film, whole="../../run/films/step-000250000.mp4"),)  # type: ignore[arg-type]
    html = report.render_html(compared(run("ppo", 0, 0, films=views)))
    assert "step 250,000 · return 4 · the first 2 s of 90 s" in Page(html).words
    assert 'data-file="../../run/films/step-000250000.mp4"' in html


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


def test_parameters_of_one_approach_stand_run_by_run_of_several_together(run: Run, compared: Compared) -> None:
    runs = [run("ppo", seed, 0) for seed in (0, 1)]
    assert report.parameter_table(compared(*runs).groups) == (["ppo-0", "ppo-1"], [["seed", "0", "1"]])
    bare = run("random", 0, -9, parameters={"seed": 0, "n": 8})
    heads, rows = report.parameter_table(compared(*runs, bare).groups)
    assert heads == ["ppo", "random"]
    assert rows == [["approach.algorithm.gamma", "0.99", "-"], ["seed", "0 · 1", "0"]]


def test_cost_is_told_a_run_and_in_all(run: Run, compared: Compared) -> None:
    both = compared(run("ppo", 0, 0), run("ppo", 1, 0, cost=Cost(wall_seconds=240)))
    assert total_cost(both.comparison.runs) == Cost(wall_seconds=360, cpu_seconds=200)
    assert "ppo 100,000 3 min 3 min 1,234" in Page(report.render_html(both)).words


def test_checkpoint_row_makes_no_interval_of_copies() -> None:
    copies = checkpoint_row(10, [11, 11, 11, 16], ["a", "a", "a", "a"])
    assert (copies.episodes, copies.distinct_episodes, copies.low, copies.high) == (4, 1, None, None)
    row = checkpoint_row(10, [1, 2, 3, 100], list("abcd"))
    assert (row.mean, row.iqm, row.median) == (26.5, 2.5, 2.5)
    assert row.std == pytest.approx(np.std([1, 2, 3, 100]))
    assert row.low is not None
    assert row.high is not None
    assert 1 <= row.low < 26.5 < row.high <= 100


def test_the_bars_of_a_lone_run_reach_from_its_mean_outwards(run: Run, compared: Compared) -> None:
    """Nine distinct episodes of 0 and one of 100 that was played 41 times: the mean of all is above their interval."""
    many = checkpoint_row(10, [0.0] * 9 + [100.0] * 41, [*"abcdefghi", *"j" * 41])
    assert many.mean == many.high == 82
    points, _ = _traces(report.render_html(compared(run("ppo", 0, 0, checkpoints=(many,)))), "evaluation")
    assert points["error_y"]["array"] == [0]
    assert points["error_y"]["arrayminus"][0] > 0


def test_values_that_contradict_themselves_are_refused(row: Row, compared: Compared) -> None:
    with pytest.raises(ValidationError, match="3 episodes have 3 returns: got 4"):
        CheckpointRow.model_validate(row(1, [1, 2, 3, 4]).model_dump() | {"episodes": 3})
    with pytest.raises(ValidationError, match="2 episodes have 2 digests: got 1"):
        CheckpointRow.model_validate(row(1, [1, 2]).model_dump() | {"digests": ["a"]})
    with pytest.raises(ValueError, match="finite"):
        row(1, [1, float("nan")])
    with pytest.raises(ValidationError, match="at least 1"):
        compared()


def test_the_same_comparison_gives_the_same_report(two_ways: Findings, page: str) -> None:
    assert report.render_html(two_ways) == page


def test_metrics_for_mlflow_are_by_step_and_at_last_what_it_came_to(two_ways: Findings) -> None:
    found = report.by_step(two_ways)
    assert list(found) == [50_000, 100_000]
    assert found[50_000] == {"eval/mean_return/ppo-tuned": 8.5, "eval/mean_return/ppo": -13.0}
    last = found[100_000]
    assert last["final/iqm_return/ppo-tuned"] == 9
    assert last["final/probability/ppo-tuned over ppo"] == 1
    assert {key for key in last if "low" in key} == {"final/iqm_low/ppo", "final/iqm_low/ppo-tuned"}


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (-0.04, "0.0"), (-20.55, "-20.6"), (999.94, "999.9"), (123456.7, "123,457")]
)
def test_numbers_read_easily(value: float | None, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "-"), (45.2, "45 s"), (720, "12 min"), (11520, "3.2 h"), (99.6, "100 s")]
)
def test_durations_read_easily(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words
