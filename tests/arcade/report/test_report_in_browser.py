"""The report in headless Chromium: synchronized videos, interactive figures, no errors, at any width."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import http.server
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest
from helpers.browser import Tab, chromium, needs_chromium, visit
from helpers.report_pages import Compared, Run, WithVideos
from helpers.serving import serving

from tasks.arcade import report
from tasks.arcade.report import Findings

pytestmark = needs_chromium

VISIBLE_VIDEOS = (
    """[...document.querySelectorAll('video:not([hidden])')].map((v) => ({at: v.currentTime, paused: v.paused}))"""
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, two_approaches: Findings, compared: Compared, with_videos: WithVideos
) -> Path:
    """One run of each approach, with videos of two checkpoints."""
    runs = [one for one in two_approaches.comparison.runs if one.seed == 0]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report.render_report_html(with_videos(compared(*runs))), "utf-8")
    return path


def run_in_tab(browser: str, page: Path, width: int, drive: Callable[[Tab], Any]) -> None:
    assert visit(browser, page.as_uri(), width, drive) == []


def test_videos_play_synchronized(browser: str, page: Path) -> None:
    async def drive(tab: Tab) -> None:
        await tab.until("[...document.querySelectorAll('video:not([hidden])')].every((v) => v.readyState >= 2)")
        assert len(await tab.value(VISIBLE_VIDEOS)) == 2
        await tab.value("document.querySelector('[data-do=play]').click()")
        apart = []
        for _ in range(6):
            await asyncio.sleep(0.12)
            one, other = await tab.value(VISIBLE_VIDEOS)
            apart.append(abs(one["at"] - other["at"]))
        assert sorted(apart)[2] < 2 / 60, f"within two frames of each other: {apart}"
        await tab.until(f"{VISIBLE_VIDEOS}.every((one) => one.at > 0.1)")
        await tab.value("document.querySelector('[data-do=play]').click()")
        await tab.until(f"{VISIBLE_VIDEOS}.every((one) => one.paused)")
        one, other = await tab.value(VISIBLE_VIDEOS)
        assert one == other, "the same frame"

    run_in_tab(browser, page, 1280, drive)


def test_controls_change_time_score_and_checkpoint(browser: str, page: Path) -> None:
    state = "[...document.querySelectorAll('.status')].map((one) => one.innerText.replace(/\\s+/g, ' '))"

    async def drive(tab: Tab) -> None:
        move = "(() => {{ const input = document.querySelector('[data-do={0}]'); input.value = {1};"
        move += " input.dispatchEvent(new Event('input')); }})()"
        await tab.value(move.format("time", 30))
        await tab.until(f"{state}[0] === 'score 1 frame 30'")
        await tab.value("document.querySelector('[data-do=next]').click()")
        await tab.until(f"{state}[1] === 'score 1 frame 31'")
        assert "step 100,000" in await tab.value("document.querySelector('#videos').innerText")
        await tab.value(move.format("checkpoint", 0))
        assert "step 50,000" in await tab.value("document.querySelector('#videos').innerText")
        await tab.until(f"{state}[0] === 'score 1 frame 31'")
        await tab.value(move.format("time", 89))
        await tab.until("document.querySelectorAll('.pane.ended').length === 2")

    run_in_tab(browser, page, 1280, drive)


def test_figures_are_interactive(browser: str, page: Path) -> None:
    async def drive(tab: Tab) -> None:
        for name in ("training", "evaluation", "finals", "pairs", "profile", "actions", "seeds"):
            await tab.until(f"document.querySelector('#plot-{name} .main-svg') !== null")
        await tab.value("Plotly.Fx.hover('plot-training', [{curveNumber: 0, pointNumber: 3}])")
        await tab.until("document.querySelector('#plot-training .hoverlayer').innerHTML.includes('ppo')")
        await tab.value("Plotly.restyle('plot-profile', {visible: 'legendonly'}, [0])")
        await tab.until("document.querySelectorAll('#plot-profile .scatterlayer .trace').length === 1")

    run_in_tab(browser, page, 1280, drive)


def test_buttons_do_not_cover_curves_and_reference_lines_are_labeled(browser: str, page: Path) -> None:
    """On touch screens, plotly shows its buttons permanently."""
    plots = """[...document.querySelectorAll('.js-plotly-plot')].map((plot) => {
        const {l, w, t, h} = plot._fullLayout._size, {left, top} = plot.getBoundingClientRect();
        return {
            name: plot.id, right: left + l + w, buttons: plot.querySelector('.modebar').getBoundingClientRect().left,
            lines: (plot.layout.shapes || []).filter((line) => line.label).length,
            names: [...plot.querySelectorAll('.shape-label')].map((name) => name.getBoundingClientRect())
                .filter((name) => name.top >= top + t - 1 && name.bottom <= top + t + h + 1).length,
        };
    })"""

    async def drive(tab: Tab) -> None:
        await tab.until("document.querySelector('#plot-seeds .main-svg') !== null")
        drawn = await tab.value(plots)
        assert len(drawn) >= 7
        for plot in drawn:
            assert plot["buttons"] >= plot["right"], plot["name"]
            assert plot["names"] == plot["lines"], plot["name"]
        assert any(plot["lines"] for plot in drawn)

    run_in_tab(browser, page, 1280, drive)


def test_markers_at_the_end_of_an_axis_are_whole(browser: str, page: Path) -> None:
    markers = "[...document.querySelectorAll('#plot-finals .point, #plot-pairs .point')]"

    async def drive(tab: Tab) -> None:
        await tab.until(f"{markers}.length >= 3")
        assert await tab.value(f"{markers}.filter((one) => one.closest('[clip-path]')).length") == 0

    run_in_tab(browser, page, 390, drive)


# Elements that reach beyond the page or beyond a table's own box, where they could only be seen by scrolling.
CUT_OFF = """(() => {
    const width = document.documentElement.clientWidth, shown = [...document.querySelectorAll('body *')];
    const beyond = shown.filter((one) => !one.closest('svg') && one.getBoundingClientRect().right > width + 1);
    const scrolled = shown.filter((one) => getComputedStyle(one).overflowX !== 'visible' && !one.closest('dialog')
        && one.scrollWidth > one.clientWidth + 1 && !one.closest('svg') && !one.matches('.screen, .screen *'));
    return [...beyond, ...scrolled].map((one) => `${one.tagName}.${one.className}`);
})()"""


@pytest.mark.parametrize("width", [1280, 961, 766, 602, 390])
def test_page_fits_its_width(browser: str, page: Path, width: int) -> None:
    """In a window of 1280 pixels, MLflow's frame is 766 wide, or less beside a panel; tables change at 960."""

    async def drive(tab: Tab) -> None:
        await tab.until("document.querySelector('#plot-seeds .main-svg') !== null")
        await tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert await tab.value("document.documentElement.scrollWidth") <= width
        assert await tab.value(CUT_OFF) == []
        tops = await tab.value(
            "[...document.querySelectorAll('.screen')].map((box) => box.getBoundingClientRect().top)"
        )
        assert tops[0] == tops[1], "side by side"
        label = "getComputedStyle(document.querySelector('.approach td[data-label]'), '::before').content"
        assert await tab.value(label) == ("none" if width > 960 else '"IQM, last checkpoint"'), "a card has its heads"

    run_in_tab(browser, page, width, drive)


def test_poster_is_shown_until_the_video_is_played(browser: str, page: Path) -> None:
    """The poster is red, the first frame of the video black."""
    red = "((at) => { const [r, g, b] = at; return r > 150 && g < 60 && b < 60; })"

    async def drive(tab: Tab) -> None:
        await tab.until("[...document.querySelectorAll('video:not([hidden])')].every((v) => v.readyState >= 2)")
        before = await center_of_first_video(tab)
        assert await tab.value(f"{red}({before})"), before
        await tab.value("document.querySelector('[data-do=next]').click()")
        await tab.until("document.querySelector('video:not([hidden])').currentTime > 0")
        await tab.until("!document.querySelector('video:not([hidden])').seeking")
        after = await center_of_first_video(tab)
        assert not await tab.value(f"{red}({after})"), after

    run_in_tab(browser, page, 1280, drive)


async def center_of_first_video(tab: Tab) -> list[int]:
    """Return the color in the middle of the first video, as it is displayed."""
    box = await tab.value(
        "(({x, y, width, height}) => ({x: x + width / 2 + scrollX, y: y + height / 2 + scrollY}))("
        "document.querySelector('video:not([hidden])').getBoundingClientRect())"
    )
    clip = box | {"width": 2, "height": 2, "scale": 1}
    shot = await tab.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    color: list[int] = iio.imread(base64.b64decode(shot["data"]))[0, 0, :3].tolist()
    return color


LINKS = "[...document.querySelectorAll('a.full')].map((link) => link.href)"


def test_full_videos_are_linked_where_the_page_is_opened(
    browser: str, run: Run, compared: Compared, with_videos: WithVideos, tmp_path: Path
) -> None:
    """As a file the page links to a file, over HTTP never."""
    found = with_videos(compared(run("ppo", 0, 0)))
    (first, last) = found.videos["ppo0id"]
    (tmp_path / "reports").mkdir()
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "last.mp4").write_bytes(last.mp4)
    linked = first.model_copy(update={"full_video_url": "http://elsewhere/#/first"})
    videos = (linked, last.model_copy(update={"full_video": "../videos/last.mp4"}))
    page = tmp_path / "reports" / "report.html"
    page.write_text(report.render_report_html(dataclasses.replace(found, videos={"ppo0id": videos})), "utf-8")

    async def as_file(tab: Tab) -> None:
        assert await tab.value(LINKS) == ["http://elsewhere/#/first", (tmp_path / "videos" / "last.mp4").as_uri()]

    run_in_tab(browser, page, 1280, as_file)
    with serve(tmp_path) as address:

        async def over_http(tab: Tab) -> None:
            assert await tab.value(LINKS) == ["http://elsewhere/#/first", f"{address}/videos/last.mp4"]

        assert visit(browser, f"{address}/reports/report.html", 1280, over_http) == []


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP and yield the address."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"
