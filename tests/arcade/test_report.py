from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from markdown_it import MarkdownIt
from pydantic import ValidationError

from tasks.arcade import report
from tasks.arcade.report import CheckpointRow, Comparison, FilmView, RunView, checkpoint_row

EVIL = '"><img src=x onerror=alert(1)></script><script>alert(2)</script> | **x** [y](javascript:z)'
FRAMES = 12


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 48), fps=60, macro_block_size=1)
    writer.send(None)
    for frame in range(FRAMES):
        writer.send(np.full((48, 64, 3), frame * 20, np.uint8))
    writer.close()
    return path.read_bytes()


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


def _row(step: int, returns: list[float]) -> CheckpointRow:
    return checkpoint_row(step, returns, [str(index) for index in range(len(returns))])


def _run(approach: str, seed: int, level: float, mp4: bytes = b"", **changes: Any) -> RunView:
    rows = tuple(_row(step, [level + step / 100_000 + offset for offset in (0, 1, 2, 3)]) for step in (50_000, 100_000))
    filmed = rows if mp4 else ()
    films = tuple(FilmView(step=row.step, episode_return=row.median, mp4=mp4, caption="4 episodes") for row in filmed)
    values: dict[str, Any] = {
        "run_id": f"{approach}{seed}id",
        "run_name": f"{approach}-{seed}",
        "approach": approach,
        "seed": seed,
        "env_id": "ALE/Pong-v5",
        "steps": 100_000,
        "steps_per_second": 1234.5,
        "checkpoints": rows,
        "curve": tuple((step, level + step / 50_000) for step in range(10_000, 100_001, 10_000)),
        "films": films,
        "parameters": {"seed": seed, "approach.algorithm.gamma": 0.99 if approach == "ppo" else 0.9, "n": 8},
        "command": f"ramreel train ALE/Pong-v5 --approach {approach}",
        "versions": {"ale-py": "0.12.1"},
        "commit": "abc1234",
    }
    return RunView(**values | changes)


def _comparison(*runs: RunView, title: str = "two ways") -> Comparison:
    return Comparison(title=title, env_id="ALE/Pong-v5", runs=runs)


@pytest.fixture(scope="module")
def two_ways(mp4: bytes) -> Comparison:
    runs = [_run("ppo", seed, -15, mp4) for seed in range(4)]
    return _comparison(*runs, *(_run("ppo-tuned", seed, 5 + seed, mp4) for seed in range(4)))


def _traces(page: str, name: str) -> list[dict[str, Any]]:
    start = re.search(rf'Plotly\.newPlot\(\s*"plot-{name}",\s*', page)
    assert start is not None
    traces: list[dict[str, Any]] = json.JSONDecoder().raw_decode(page, start.end())[0]
    return traces


def test_headline_is_the_verdict(two_ways: Comparison) -> None:
    sentence = "ppo-tuned beats ppo: P = 1.00, 4 seeds"
    assert report.verdicts(two_ways) == (sentence,)
    assert f'<p class="headline">{sentence}</p>' in report.render_html(two_ways)
    assert f"**{sentence}**" in report.render_markdown(two_ways)


def test_the_best_approach_is_set_against_each_other_one() -> None:
    compared = _comparison(_run("random", 0, -20), _run("ppo-tuned", 0, 5), _run("ppo", 0, -15))
    assert [group.approach for group in report.groups(compared)] == ["ppo-tuned", "ppo", "random"]
    assert report.verdicts(compared) == (
        "1 seed cannot tell ppo-tuned and ppo apart: P = 1.00 between these runs",
        "1 seed cannot tell ppo-tuned and random apart: P = 1.00 between these runs",
    )


def test_one_file_holds_everything_and_loads_nothing(two_ways: Comparison) -> None:
    page = Page(report.render_html(two_ways))
    assert page.loads
    assert all(load.startswith("data:") for load in page.loads)
    assert "default-src 'none'" in page.csp
    assert "http" not in page.csp
    assert sum("plotly.js v" in script[:300] for script in page.scripts) == 1


def test_films_inside_can_be_played(two_ways: Comparison, tmp_path: Path) -> None:
    page = Page(report.render_html(two_ways))
    films = [load for load in page.loads if load.startswith("data:video/mp4;base64,")]
    assert len(films) == page.tags.count("video") == 16
    path = tmp_path / "film.mp4"
    path.write_bytes(base64.b64decode(films[-1].partition(",")[2], validate=True))
    assert imageio_ffmpeg.count_frames_and_secs(str(path)) == (FRAMES, pytest.approx(FRAMES / 60, abs=0.01))


def test_names_from_users_are_text_in_html() -> None:
    def render(name: str) -> Page:
        run = _run("ppo", 0, 1, b"film", parameters={name: name, "a": 1}, command=name, commit=name)
        run = run.model_copy(update={"run_name": name, "approach": name, "run_id": name, "versions": {name: name}})
        other = _run("random", 0, 0, films=(FilmView(step=1, episode_return=1, mp4=b"film", caption=name),))
        return Page(report.render_html(_comparison(run, other, title=name)))

    evil, good = render(EVIL), render("good")
    assert sorted(evil.tags) == sorted(good.tags)
    assert evil.attributes == good.attributes
    assert len(evil.scripts) == len(good.scripts) == 3
    assert evil.words.count(EVIL) == good.words.count("good") > 10


def test_names_from_users_are_text_in_plots() -> None:
    page = report.render_html(_comparison(_run("ppo", 0, 1).model_copy(update={"approach": "<b>&lt;"})))
    for trace in _traces(page, "training") + _traces(page, "evaluation"):
        assert trace["name"] == "&lt;b&gt;&amp;lt;"
        assert "<b>" not in trace.get("hovertemplate", "")


def test_names_from_users_are_text_in_markdown() -> None:
    def render(name: str) -> str:
        run = _run("ppo", 0, 1).model_copy(update={"run_name": name, "approach": name, "parameters": {name: name}})
        markdown = report.render_markdown(_comparison(run, _run("random", 0, 0), title=name))
        return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))

    evil, good = render(EVIL + "\n\n# heading"), render("good")
    assert Page(evil).tags == Page(good).tags
    assert Page(evil).words.count(f"{EVIL} # heading") == Page(good).words.count("good") > 5


def test_markdown_tables_hold_the_results(two_ways: Comparison) -> None:
    lines = report.render_markdown(two_ways).splitlines()
    assert "| ppo-tuned | 4 | 16 | 16 | 9.0 | 9.0 [8.0, 10.0] |" in lines
    assert "| ppo-tuned-3 (ppo-tuned3id) | ppo-tuned | 3 | 100,000 | 4 | 4 | 10.5 [9.5, 11.5] | 10.5 |" in lines
    assert "| approach.algorithm.gamma | 0.9 | 0.99 |" in lines
    assert not any(line.startswith("| n |") for line in lines)


def test_summary_rows_are_plain_and_best_first(two_ways: Comparison) -> None:
    first, second = report.summary_rows(two_ways)
    assert first == {
        "approach": "ppo-tuned",
        "seeds": 4,
        "episodes": 16,
        "distinct_episodes": 16,
        "step": 100_000,
        "mean_return": 9.0,
        "iqm_return": 9.0,
        "iqm_low": 8.0,
        "iqm_high": 10.0,
    }
    assert second["approach"] == "ppo"
    assert json.loads(json.dumps(first)) == first


def test_training_curves_show_each_seed_their_mean_and_range() -> None:
    short = _run("ppo", 1, 0, curve=((10_000, 4.0), (20_000, 6.0)))
    page = report.render_html(
        _comparison(_run("ppo", 0, 0, curve=((10_000, 0.0), (20_000, 2.0), (30_000, 9.0))), short)
    )
    shade, first, second, mean = _traces(page, "training")
    assert (shade["x"], shade["y"]) == ([10_000, 20_000, 20_000, 10_000], [4, 6, 2, 0])
    assert (first["y"], second["y"]) == ([0, 2, 9], [4, 6])
    assert (mean["x"], mean["y"], mean["line"]["width"]) == ([10_000, 20_000], [2, 4], 3)


def test_evaluation_curve_of_a_lone_run_has_its_interval_over_episodes() -> None:
    run = _run("ppo", 0, 0, checkpoints=(_row(20, [4, 4]), _row(10, [1, 2, 3])))
    points, mean = _traces(report.render_html(_comparison(run)), "evaluation")
    assert (points["x"], points["y"], mean["y"]) == ([10, 20], [2, 4], [2, 4])
    assert points["error_y"]["array"] == [pytest.approx(1), None]
    assert points["text"][1] == "mean 4.0, 2 episodes (2 distinct)"


def test_colours_and_dashes_tell_eight_approaches_apart() -> None:
    ranked = report.groups(_comparison(*(_run(f"ppo-{index}", 0, index) for index in range(8))))
    assert len({(group.colour, group.dash) for group in ranked}) == 8


def test_what_is_not_there_yet_is_said() -> None:
    bare = _run("ppo", 0, 0, checkpoints=(), curve=(), steps_per_second=None, commit=None, versions={})
    page = Page(report.render_html(_comparison(bare)))
    for words in (
        "Nothing to judge yet: no checkpoint has been evaluated",
        "Nothing to draw: no return was logged in training.",
        "Nothing to draw: no checkpoint has been evaluated yet.",
        "No film yet.",
        "Not evaluated yet: ppo-0.",
    ):
        assert words in page.words
    assert page.scripts == []
    assert report.summary_rows(_comparison(bare))[0]["iqm_return"] is None
    assert "Nothing to judge yet" in report.render_markdown(_comparison(bare))


def test_a_run_without_evaluation_stands_beside_one_with() -> None:
    compared = _comparison(_run("ppo", 0, 0, checkpoints=()), _run("random", 0, 3))
    assert report.verdicts(compared) == ("random: interquartile mean return 5.5, 1 seed",)
    assert [group.approach for group in report.groups(compared)] == ["random", "ppo"]
    page = report.render_html(compared)
    assert {trace["name"] for trace in _traces(page, "training")} == {"random", "ppo"}
    assert {trace["name"] for trace in _traces(page, "evaluation")} == {"random"}


@pytest.mark.parametrize(
    ("limit", "steps"),
    [(600, {1, 2, 3}), (599, {2, 3}), (399, {3}), (200, {3}), (199, {3})],
)
def test_films_that_are_too_large_together_leave_the_last_and_the_best(limit: int, steps: set[int]) -> None:
    films = tuple(FilmView(step=step, episode_return=value, mp4=b"x" * 100) for step, value in ((1, 0), (2, 9), (3, 5)))
    runs = [_run("ppo", seed, 0).model_copy(update={"films": films}) for seed in (0, 1)]
    held = report.embedded_films(runs, limit)
    assert held["ppo0id"] == steps
    assert held["ppo1id"] == (steps if limit >= 200 else set())
    assert sum(100 * len(of_run) for of_run in held.values()) <= limit


def test_films_left_out_are_named() -> None:
    film = b"x" * (report.FILM_BYTES // 2)
    films = tuple(FilmView(step=step, episode_return=step, mp4=film) for step in (1, 2, 3, 250_000))
    html = report.render_html(_comparison(_run("ppo", 0, 0, films=films)))
    page = Page(html)
    assert page.tags.count("video") == 2
    assert "step 1 · return 1 step 250,000 · return 250,000" in page.words
    assert "2 more in run ppo0id, left out to keep this file small" in page.words
    assert "films/step-000000002.mp4" in page.words
    assert len(html) < 22_000_000


def test_cautions_name_what_weakens_the_numbers() -> None:
    copies = checkpoint_row(70_000, [11, 11, 16], ["a", "a", "b"])
    first = _run("ppo", 0, 0, checkpoints=(copies,))
    other = _run("random", 1, 0, env_id="ALE/Breakout-v5")
    again = _run("random", 2, 0, parameters={"seed": 2, "n": 4})
    assert report.cautions(_comparison(first, other, again)) == (
        "One seed of ppo: how much seeds differ is unknown, so there is no interval.",
        "1 of 11 episodes are copies of another one: the same RAM at every step.",
        "The last checkpoints lie at different steps, 70,000 to 100,000.",
        "The runs play different environments: ALE/Breakout-v5, ALE/Pong-v5.",
        "The runs of random differ in more than the seed: approach.algorithm.gamma, n.",
    )


def test_a_seed_trained_twice_is_one_seed() -> None:
    twice = _run("ppo", 0, 0), _run("ppo", 0, 5, run_id="other")
    (group,) = report.groups(_comparison(*twice))
    assert group.seeds == 1
    assert group.iqm is not None
    assert group.iqm.low is None


def test_parameters_of_one_approach_stand_run_by_run_of_several_together() -> None:
    runs = [_run("ppo", seed, 0) for seed in (0, 1)]
    assert report.parameter_table(report.groups(_comparison(*runs))) == (["ppo-0", "ppo-1"], [["seed", "0", "1"]])
    bare = _run("random", 0, -9, parameters={"seed": 0, "n": 8})
    heads, rows = report.parameter_table(report.groups(_comparison(*runs, bare)))
    assert heads == ["ppo", "random"]
    assert rows == [["approach.algorithm.gamma", "0.99", "-"], ["seed", "0 · 1", "0"]]


def test_checkpoint_row_makes_no_interval_of_copies() -> None:
    copies = checkpoint_row(10, [11, 11, 11, 16], ["a", "a", "a", "a"])
    assert (copies.episodes, copies.distinct_episodes, copies.low, copies.high) == (4, 1, None, None)
    row = checkpoint_row(10, [1, 2, 3, 100], list("abcd"))
    assert (row.mean, row.iqm, row.median) == (26.5, 2.5, 2.5)
    assert row.std == pytest.approx(np.std([1, 2, 3, 100]))
    assert row.low is not None
    assert row.high is not None
    assert 1 <= row.low < 26.5 < row.high <= 100


def test_values_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValidationError, match="3 episodes have 3 returns: got 4"):
        CheckpointRow.model_validate(_row(1, [1, 2, 3, 4]).model_dump() | {"episodes": 3})
    with pytest.raises(ValueError, match="finite"):
        _row(1, [1, float("nan")])
    with pytest.raises(ValidationError, match="at least 1"):
        _comparison()


def test_the_same_comparison_gives_the_same_report(two_ways: Comparison) -> None:
    assert report.render_html(two_ways) == report.render_html(two_ways)


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (-0.04, "0.0"), (-20.55, "-20.6"), (999.94, "999.9"), (123456.7, "123,457")]
)
def test_numbers_read_easily(value: float | None, words: str) -> None:
    assert report.number(value) == words
