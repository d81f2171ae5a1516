"""A report as a self-contained page, as Markdown, and as tables."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path

import imageio_ffmpeg
import pytest
from helpers.report_pages import Compared, Page, Row, Run, WithVideos, traces
from markdown_it import MarkdownIt
from pydantic import ValidationError

from tasks.arcade import report
from tasks.arcade.report import CheckpointRow, Cost, Findings, PixelsRow, VideoView
from tasks.arcade.report.formatting import format_duration
from tasks.arcade.report.tables import total_cost
from tasks.arcade.scores import format_number

MALICIOUS = '"><img src=x onerror=alert(1)></script><script>alert(2)</script> | **x** [y](javascript:z)'


def test_page_is_self_contained(page: str) -> None:
    parsed = Page(page)
    assert parsed.loads
    assert all(load.startswith("data:") for load in parsed.loads)
    directives = dict(directive.split(maxsplit=1) for directive in parsed.csp.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'unsafe-inline'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "media-src": "data: blob: http: https:",
    }, "on request, a full video"
    assert sum("plotly.js v" in script[:300] for script in parsed.scripts) == 1


def test_embedded_videos_are_playable(page: str, mp4: bytes, tmp_path: Path) -> None:
    parsed = Page(page)
    videos = [load for load in parsed.loads if load.startswith("data:video/mp4;base64,")]
    assert len(videos) == parsed.tags.count("video") == 16
    path = tmp_path / "video.mp4"
    path.write_bytes(base64.b64decode(videos[-1].partition(",")[2], validate=True))
    assert path.read_bytes() == mp4
    assert imageio_ffmpeg.count_frames_and_secs(str(path)) == (90, pytest.approx(1.5, abs=0.01))


def test_names_are_escaped_in_html(run: Run, compared: Compared, with_videos: WithVideos) -> None:
    def render(name: str) -> Page:
        first = run("ppo", 0, 1, parameters={name: name, "a": 1}, command=name, commit=name, origin=name)
        pixels = PixelsRow(step=1, returns={"true": (1.0,)})
        first = first.model_copy(
            update={
                "run_name": name,
                "approach": name,
                "run_id": name,
                "versions": {name: name},
                "actions": ((name, 3),),
                "from_pixels": pixels,
            }
        )
        more = {"title": name, "command": name, "versions": {name: name}, "commit": name}
        found = with_videos(compared(first, run("random", 0, 0), **more))
        (video, _), videos = found.videos["random0id"], dict(found.videos)
        videos["random0id"] = (video.model_copy(update={"full_video": name}),)
        return Page(report.render_report_html(dataclasses.replace(found, videos=videos, omitted_videos=(name,))))

    malicious, good = render(MALICIOUS), render("good")
    assert sorted(malicious.tags) == sorted(good.tags)
    assert malicious.attributes == good.attributes
    assert len(malicious.scripts) == len(good.scripts)
    assert malicious.text.count(MALICIOUS) == good.text.count("good") > 10


def test_names_are_escaped_in_figures(run: Run, compared: Compared) -> None:
    name = "<b>&lt;"
    runs = [run("ppo", seed, 1).model_copy(update={"approach": name, "run_name": name}) for seed in (0, 1)]
    html = report.render_report_html(compared(*runs, run("random", 0, 0)))
    for figure in ("training", "evaluation", "finals", "pairs", "profile", "actions", "seeds"):
        for trace in traces(html, figure):
            for key in ("name", "hovertemplate"):
                assert "<b>" not in (trace.get(key) or "")


def test_names_are_escaped_in_markdown(run: Run, compared: Compared) -> None:
    def render(name: str) -> str:
        first = run("ppo", 0, 1).model_copy(update={"run_name": name, "approach": name, "parameters": {name: name}})
        markdown = report.render_report_markdown(compared(first, run("random", 0, 0), title=name))
        return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))

    malicious, good = render(MALICIOUS + "\n\n# heading"), render("good")
    assert Page(malicious).tags == Page(good).tags
    assert Page(malicious).text.count(f"{MALICIOUS} # heading") == Page(good).text.count("good") > 5


def test_markdown_has_the_results(two_approaches: Findings) -> None:
    lines = report.render_report_markdown(two_approaches).splitlines()
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


def test_summary_rows_are_plain_and_best_first(two_approaches: Findings) -> None:
    first, second = report.summary_rows(two_approaches.groups)
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


def test_missing_results_are_named(run: Run, compared: Compared) -> None:
    bare = run("ppo", 0, 0, checkpoints=(), curve=(), cost=Cost(), commit=None, versions={}, actions=())
    page = Page(report.render_report_html(compared(bare)))
    for sentence in (
        "No results yet: no checkpoint has been evaluated",
        "No data: no return was logged during training.",
        "No data: no checkpoint has been evaluated yet.",
        "No checkpoint has been recorded yet. Use ramreel record RUN .",
        "Not evaluated yet: ppo-0.",
    ):
        assert sentence in page.text
    assert page.scripts == []
    assert report.summary_rows(compared(bare).groups)[0]["iqm_return"] is None
    assert "No results yet" in report.render_report_markdown(compared(bare))


def test_run_without_evaluation_is_included(run: Run, compared: Compared) -> None:
    both = compared(run("ppo", 0, 0, checkpoints=()), run("random", 0, 3))
    assert report.verdicts(both) == ("random: interquartile mean return 5.5 (1 seed)",)
    assert [group.approach for group in both.groups] == ["random", "ppo"]
    page = report.render_report_html(both)
    assert {trace["legendgroup"] for trace in traces(page, "training")} == {"random", "ppo"}
    assert {trace["legendgroup"] for trace in traces(page, "evaluation")} == {"random"}


def _videos(count: int, size: int) -> tuple[VideoView, ...]:
    facts = {"episode_return": 1, "frames": 9, "episode_frames": 9, "fps": 60}
    return tuple(VideoView(step=step, mp4=b"x" * size, **facts) for step in range(count))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "steps"),
    [(1000, [0, 1, 2, 3, 4]), (800, [0, 2, 3, 4]), (600, [0, 2, 4]), (400, [0, 4]), (200, [4]), (199, [4])],
)
def test_video_budget_keeps_the_last_first_and_middle_video(limit: int, steps: list[int]) -> None:
    kept = report.fit_video_budget({"a": _videos(5, 100), "b": _videos(5, 100)}, limit)
    assert steps in [[video.step for video in videos] for videos in kept.values()]
    assert sum(len(video.mp4) for videos in kept.values() for video in videos) <= limit


def test_page_with_many_videos_is_below_15_mb(run: Run, compared: Compared) -> None:
    found = compared(run("ppo", 0, 0), run("random", 0, 0))
    videos = {one.run_id: _videos(10, 900_000) for one in found.comparison.runs}
    html = report.render_report_html(dataclasses.replace(found, videos=videos))
    assert Page(html).tags.count("video") >= 6
    assert len(html.encode()) < 15_000_000


def test_selected_videos_cover_every_approach_and_its_last_checkpoint(run: Run, compared: Compared) -> None:
    many = compared(*(run(f"a{number}", seed, seed) for number in range(4) for seed in range(3)))
    recorded = {one.run_id: tuple(range(0, 100, 10)) for one in many.comparison.runs}
    requests = report.select_videos(many.groups, recorded)
    assert {one.run_id for one in requests} == {f"a{number}1id" for number in range(4)}, "the median seed of each"
    assert len(requests) == 24
    assert {one.step for one in requests} >= {0, 90}
    two = compared(run("ppo", 0, 0), run("random", 0, 0))
    assert len(report.select_videos(two.groups, {one.run_id: range(10) for one in two.comparison.runs})) == 20
    alone = compared(run("ppo", 0, 0), run("ppo", 1, 0))
    assert {
        one.run_id for one in report.select_videos(alone.groups, {one.run_id: [5] for one in alone.comparison.runs})
    } == {
        "ppo0id",
        "ppo1id",
    }
    assert report.select_videos(alone.groups, {}) == ()


def test_clip_links_to_the_full_video(run: Run, compared: Compared, mp4: bytes) -> None:
    video = {"step": 250_000, "episode_return": 4, "mp4": mp4, "frames": 90, "episode_frames": 5400, "fps": 60}
    found = compared(run("ppo", 0, 0))

    def render(**links: str) -> str:
        views = (VideoView(**video, path="videos/v.mp4", **links),)  # type: ignore[arg-type]
        return report.render_report_html(dataclasses.replace(found, videos={"ppo0id": views}))

    html = render(full_video="../../a run/videos/v#1.mp4")
    assert "step 250,000 · return 4 · first 2 s of 90 s" in Page(html).text
    path, artifact = "../../a%20run/videos/v%231.mp4", 'data-run="ppo0id" data-path="videos/v.mp4"'
    assert f'href="{path}" data-file="{path}" {artifact}' in html
    both = render(full_video="../v.mp4", full_video_url="http://host/#/v.mp4")
    assert f'href="http://host/#/v.mp4" data-file="../v.mp4" {artifact}' in both
    assert "full video" not in Page(render()).text


def test_video_has_a_poster(run: Run, compared: Compared, mp4: bytes) -> None:
    """The first frame of Pong is empty."""
    view = {"step": 9, "episode_return": 4, "mp4": mp4, "frames": 90, "episode_frames": 90, "fps": 60}
    videos = {"ppo0id": (VideoView(**view, poster=b"png"),)}  # type: ignore[arg-type]
    html = report.render_report_html(dataclasses.replace(compared(run("ppo", 0, 0)), videos=videos))
    assert f'poster="data:image/png;base64,{base64.b64encode(b"png").decode()}" data-player=' in html


def test_parameter_table_has_a_column_per_approach_or_run(run: Run, compared: Compared) -> None:
    runs = [run("ppo", seed, 0) for seed in (0, 1)]
    assert report.parameter_table(compared(*runs).groups) == (["ppo-0", "ppo-1"], [["seed", "0", "1"]])
    bare = run("random", 0, -9, parameters={"seed": 0, "n": 8})
    heads, rows = report.parameter_table(compared(*runs, bare).groups)
    assert heads == ["ppo", "random"]
    assert rows == [["approach.algorithm.gamma", "0.99", "-"], ["seed", "0 · 1", "0"]]


def test_returns_from_pixels_are_shown_where_they_were_recorded(run: Run, compared: Compared) -> None:
    returns = {"true": (18.0, 20.0), "followed": (20.0, 18.0), "decoded": (9.0, 10.0), "random": (-20.0, -20.0)}
    pixels = PixelsRow.model_validate({"step": 100_000, "returns": returns})
    found = compared(run("ppo", 0, 1, from_pixels=pixels), run("random", 0, 0))
    page, markdown = Page(report.render_report_html(found)), report.render_report_markdown(found)
    assert "random actions ppo-0 100,000 2 19.0 [18.0, 20.0] 19.0 [18.0, 20.0] (100%) 9.5 [9.0, 10.0] (76%) -20.0" in (
        page.text
    )
    assert "| ppo-0 (ppo0id) | 100,000 | 2 | 19.0 [18.0, 20.0] | 19.0 [18.0, 20.0] (100%) | 9.5 [9.0, 10.0]" in markdown
    only_true = run("ppo", 0, 1, from_pixels=pixels.model_copy(update={"returns": {"true": (1.0,)}}))
    assert "ppo-0 100,000 1 1.0 - - - " in Page(report.render_report_html(compared(only_true))).text
    assert "Returns from pixels" not in report.render_report_html(compared(run("random", 0, 0)))


def test_cost_is_the_mean_per_run_and_the_total(run: Run, compared: Compared) -> None:
    both = compared(run("ppo", 0, 0), run("ppo", 1, 0, cost=Cost(wall_seconds=240)))
    assert total_cost(both.comparison.runs) == Cost(wall_seconds=360, cpu_seconds=200)
    assert "ppo 100,000 3 min 3 min 1,234" in Page(report.render_report_html(both)).text


def test_inconsistent_values_raise(row: Row, compared: Compared) -> None:
    with pytest.raises(ValidationError, match="expected 3 returns, one per episode: got 4"):
        CheckpointRow.model_validate(row(1, [1, 2, 3, 4]).model_dump() | {"episodes": 3})
    with pytest.raises(ValidationError, match="expected 2 digests, one per episode: got 1"):
        CheckpointRow.model_validate(row(1, [1, 2]).model_dump() | {"digests": ["a"]})
    with pytest.raises(ValueError, match="finite"):
        row(1, [1, float("nan")])
    with pytest.raises(ValidationError, match="at least 1"):
        compared()


def test_rendering_is_deterministic(two_approaches: Findings, page: str) -> None:
    assert report.render_report_html(two_approaches) == page


def test_metrics_have_the_final_results_at_the_last_step(two_approaches: Findings) -> None:
    found = report.metrics_by_step(two_approaches)
    assert list(found) == [50_000, 100_000]
    assert found[50_000] == {"eval/mean_return/ppo-tuned": 8.5, "eval/mean_return/ppo": -13.0}
    last = found[100_000]
    assert last["final/iqm_return/ppo-tuned"] == 9
    assert last["final/probability/ppo-tuned over ppo"] == 1
    assert {key for key in last if "low" in key} == {"final/iqm_low/ppo", "final/iqm_low/ppo-tuned"}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (-0.04, "0.0"), (-20.55, "-20.6"), (999.94, "999.9"), (123456.7, "123,457")]
)
def test_number_format(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (45.2, "45 s"), (720, "12 min"), (11520, "3.2 h"), (99.6, "100 s")]
)
def test_duration_format(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text
