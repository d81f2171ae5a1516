"""From the gallery to a video, the live view, a kept episode, the report and both UIs, by clicks in Chromium."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from helpers.browser import Tab, chromium, needs_chromium, visit
from helpers.episodes import network_checkpoint
from helpers.processes import wait_until
from helpers.proxy import proxied
from helpers.servers import Server
from helpers.unattended import Unattended
from helpers.web_server import web_address, web_server
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Completed

from tasks.arcade import report
from tasks.arcade.checkpoints.checkpoint import write_checkpoint
from tasks.arcade.episodes.playing import emulator_for_trace, play, replay
from tasks.arcade.episodes.trace import Trace, write_trace
from tasks.arcade.report import Comparison, RunView
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.video.checkpoint_video import VideoFiles
from tasks.arcade.video.render import render_video
from tasks.store import Store, open_store
from tasks.web.app import create_app
from tasks.web.settings import WebSettings

pytestmark = needs_chromium

STEPS = (500, 1000)
VIDEO = "document.querySelector('#video, .card video')"
FRAMES = "+(document.querySelector('#live')?.dataset.frames ?? 0)"
PADDLE = "parseInt(document.querySelectorAll('#ram td')[51].textContent, 16)"
FITS = "document.documentElement.scrollWidth <= innerWidth"
SHOWN = """\
(async () => {
  const { step, digest } = document.getElementById("live").dataset, screen = document.getElementById("screen");
  const copy = new OffscreenCanvas(screen.width, screen.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(screen, 0, 0);
  const { data } = copy.getImageData(0, 0, screen.width, screen.height);
  const hash = await crypto.subtle.digest("SHA-256", data.filter((_, index) => index % 4 < 3));
  return [+step, digest, [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("")];
})()"""
"""Step, RAM digest, and digest of the colors of the frame that the page shows."""
GAME = "ALE/Pong-v5"
AGENT = network_checkpoint(GAME)
PLAYS = f"{VIDEO}.currentTime > 0.2 && !{VIDEO}.paused && {VIDEO}.muted"


@dataclass(frozen=True)
class Site:
    """A running `ramreel up` over two evaluated runs, one of them recorded and compared."""

    up: Unattended
    recorded: str
    other: str
    flow_run: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.up.gallery_port}"


@pytest.fixture(scope="module")
def site(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    (home / "mlruns").mkdir()
    shutil.copy(migrated, home / "mlruns" / "mlflow.db")
    up = Unattended(home, notify="")
    up.start()
    try:
        yield _filled(up, open_store(f"sqlite:///{home}/mlruns/mlflow.db"), home)
    finally:
        up.stop()


def _filled(up: Unattended, store: Store, home: Path) -> Site:
    with SyncPrefectClient(f"{up.prefect}/api") as client:
        deployment = client.read_deployment_by_name("guard/guard")
        flow_run = client.create_flow_run_from_deployment(deployment.id, state=Completed())
    recorded, other = (_evaluated(store, seed, str(flow_run.id)) for seed in (1, 2))
    for step in STEPS:
        _record(store, recorded, step, home / str(step))
    row = report.checkpoint_row(1000, [1.0, 2.0], ["a", "b"])
    view = RunView(
        run_id=recorded,
        run_name="ppo seed 1",
        approach="ppo-tuned",
        seed=1,
        env_id=GAME,
        steps=1000,
        checkpoints=(row,),
    )
    findings = report.analyze(Comparison(title="Two seeds on Pong", env_id=GAME, runs=(view,)))
    comparison = store.start_comparison(GAME, "c", [recorded], command="c", versions={}, commit=None)
    store.log_report(comparison, report.render_report_html(findings), "report")
    store.finish_run(comparison, "FINISHED")
    store.set_tag(recorded, "ramreel.report", comparison)
    site = Site(up, recorded, other, flow_run.name)
    # The gallery shows what it has read last.
    assert wait_until(lambda: f"/runs/{recorded}/clip?step=1000" in httpx.get(site.address, timeout=60).text)
    return site


def _evaluated(store: Store, seed: int, flow_run: str) -> str:
    run_settings = AGENT.settings.model_copy(update={"seed": seed, "steps": 1000, "checkpoint_every": 500})
    tags = {"ramreel.flow_run_id": flow_run}
    run_id = store.start_run(run_settings, name=f"ppo seed {seed}", command="c", versions={}, commit=None, tags=tags)
    for step in STEPS:
        mean = step / 100 - seed
        store.log_metrics(run_id, {"rollout/ep_rew_mean": mean, "eval/mean_reward": mean}, step)
        store.log_metrics(run_id, {"eval/mean_reward_low": mean - 1, "eval/mean_reward_high": mean + 1}, step)
    store.finish_run(run_id, "FINISHED")
    return run_id


def _record(store: Store, run_id: str, step: int, folder: Path) -> None:
    """Save a checkpoint, and a video of an episode that it plays."""
    digest = write_checkpoint(replace(AGENT, step=step), folder)
    store.save_checkpoint(run_id, step, folder, digest)
    trace = played(60, seed=3).model_copy(update={"checkpoint": digest, "checkpoint_step": step})
    files = VideoFiles.in_folder(folder)
    render_video(trace, files.mp4)
    write_trace(trace, files.trace)
    store.save_video(run_id, step, files.mp4, files.trace)


def played(steps: int, seed: int) -> Trace:
    """Return the episode that the agent plays with a seed, without a person."""
    game = AGENT.settings.game
    return play(AGENT.agent(), game, seed, action_seed=seed, deterministic=False, max_steps=steps)


def screen_digest(trace: Trace) -> str:
    """Return the SHA-256 digest of the last frame of an emulator that replays an episode."""
    emulator = emulator_for_trace(trace)
    for _ in replay(trace, emulator=emulator):
        pass
    return hashlib.sha256(emulator.screen().tobytes()).hexdigest()


def link(text: str) -> str:
    return f"[...document.querySelectorAll('.links a')].find((a) => a.textContent === {text!r})"


def button(key: str) -> str:
    return f"document.querySelector('.key.{key}')"


async def read_text(tab: Tab, selector: str) -> str:
    return str(await tab.value(f"document.querySelector({selector!r}).textContent"))


async def browse(tab: Tab, site: Site) -> None:
    """From the gallery to the videos of a game, and to its live view."""
    await tab.until(PLAYS)
    await tab.until("document.querySelector('.card polyline') !== null")
    assert await tab.value(FITS)
    await tab.click("document.querySelector('.card h2 a')")

    await tab.until(f"location.pathname === '/games/{GAME}' && {VIDEO} !== null")
    await tab.until(PLAYS)
    assert await read_text(tab, "#caption") == "Step 1,000: mean return 9.0 [8.0, 10.0]"
    await tab.value(
        "(() => { const slider = document.getElementById('checkpoint'); slider.value = 0; "
        "slider.dispatchEvent(new Event('input')); })()"
    )
    await tab.until(f"{VIDEO}.src.endsWith('step-000000500.mp4') && {PLAYS}")
    await tab.value(f"{VIDEO}.currentTime = 2")
    await tab.until(f"{VIDEO}.currentTime > 2.1")
    assert await tab.value(FITS)
    await check_sorting(tab, site)
    await tab.click("document.getElementById('live')")
    await tab.until(f"location.pathname === '/live' && {FRAMES} > 0")


async def check_sorting(tab: Tab, site: Site) -> None:
    first = "document.querySelector('#table tbody tr').dataset.run"
    header = "document.querySelector('th[data-key=return]')"
    assert await tab.value("document.querySelector('tr[aria-current]').dataset.run") == site.recorded
    await tab.click(f"{header}.querySelector('button')")
    assert await tab.value(f"[{header}.ariaSort, {first}]") == ["descending", site.recorded]
    await tab.click(f"{header}.querySelector('button')")
    assert await tab.value(f"[{header}.ariaSort, {first}]") == ["ascending", site.other]


async def watch(tab: Tab) -> float:
    """Watch the agent; return the frames per second over ten seconds, at the end of which all is the emulator's."""
    before, start = await tab.value(f"[{FRAMES}, performance.now()]")
    await asyncio.sleep(10)
    after, end = await tab.value(f"[{FRAMES}, performance.now()]")
    await tab.click("document.getElementById('pause')")
    await tab.until("document.getElementById('tag').textContent === 'Paused'")
    found, expected = None, ("", "")
    while found != [*expected]:
        step, *found = await tab.value(SHOWN, awaits=True)
        trace = played(step, seed=0)
        # The frames of the step in which it was paused are still to come.
        expected = (trace.ram_digest, screen_digest(trace))
        assert found[0] == expected[0]
    assert await tab.value("/^[0-9A-F]{2}$/.test(document.querySelector('#ram td').textContent)")
    assert await tab.value("document.querySelectorAll('#bars li').length") == len(AGENT.action_names)
    assert await tab.value("document.querySelector('#bars .chosen .bar i').offsetWidth") > 0
    assert await tab.value("!isNaN(parseFloat(document.getElementById('value').textContent.replace('\u2212', '-')))")
    return float(1000 * (after - before) / (end - start))


async def take_over(tab: Tab) -> None:
    """Move the paddle to both ends of the screen by the page's joystick, in an episode from its start."""
    await tab.click("document.getElementById('restart')")
    await tab.click("document.getElementById('pause')")
    for key, arrived in (("right", f"{PADDLE} < 60"), ("left", f"{PADDLE} > 180")):
        await tab.press(button(key))
        await tab.until("document.getElementById('tag').textContent === 'You play'")
        await tab.until(arrived)
        await tab.release()
    await tab.until("document.getElementById('tag').hidden")
    assert await tab.value(FITS)


async def keep(tab: Tab) -> str:
    """Keep the episode, verify it, and return what the page says of it."""
    await tab.click("document.getElementById('keep')")
    await tab.click("document.getElementById('verify')")
    await tab.until("document.getElementById('notice').dataset.verified === 'true'")
    return await read_text(tab, "#notice")


async def follow_links(tab: Tab, site: Site) -> None:
    """Follow the live view's links to the report, to MLflow's run and to Prefect's."""
    await tab.click(link("Report"))
    await tab.until("location.pathname.endsWith('/reports/report.html') && document.readyState === 'complete'")
    await tab.until("document.body?.textContent.includes('Two seeds on Pong')")
    await tab.back(f"{site.address}/live")
    assert tab.errors == []
    await tab.click(link("MLflow run"))
    await tab.until(shows(site.up.mlflow_port, "ppo seed 1"))
    await tab.back(f"{site.address}/live")
    await tab.click(link("Prefect flow run"))
    await tab.until(shows(site.up.prefect_port, site.flow_run))


def shows(port: int, text: str) -> str:
    return f"location.port === '{port}' && document.body?.innerText.includes({text!r})"


@pytest.mark.parametrize("width", [1280, 390])
def test_clicks_lead_from_the_gallery_to_a_kept_episode_and_all_that_is_known_of_it(
    site: Site, tmp_path: Path, width: int
) -> None:
    async def walk(tab: Tab) -> None:
        await browse(tab, site)
        rate = await watch(tab)
        print(f"{rate:.1f} frames per second")
        # Not timed: a machine under load may show fewer, never more than the console has.
        assert 1 < rate < 61
        await take_over(tab)
        line = await keep(tab)
        proofs = site.up.ramreel("verify", site.recorded)["videos"]
        assert all(proof["ok"] and proof["by_checkpoint"] for proof in proofs)
        assert any(proof["human_steps"] and f"{proof['name']}: verified" in line for proof in proofs)
        await follow_links(tab, site)
        hosts = {urlsplit(url).hostname for url in tab.requests if url.startswith(("http", "ws"))}
        assert hosts == {"127.0.0.1"}

    with chromium(tmp_path / "profile") as browser:
        visit(browser, site.address, width, walk)


def test_training_is_followed_without_reloading(
    store: Store, settings: RunSettings, tmp_path: Path, start: Callable[..., str]
) -> None:
    run_id = start(store, settings)
    store.log_metrics(run_id, {"rollout/ep_rew_mean": -20.0}, 100)

    async def follow(tab: Tab) -> None:
        shown = f"document.querySelector('[data-step=\"{run_id}\"]').textContent"
        await tab.until("document.querySelector('#chart text') !== null")
        assert await tab.value(shown) == "100"
        store.log_metrics(run_id, {"rollout/ep_rew_mean": -10.0}, 400)
        await tab.until(f"{shown} === '400' && document.querySelector('progress').value === 400")
        await tab.until("document.querySelector('#chart polyline') !== null")

    with (
        web_server(create_app(store, WebSettings())) as pages,
        store.lease(run_id),
        chromium(tmp_path / "profile") as browser,
    ):
        assert visit(browser, f"{pages.base_url}/games/ALE/Pong-v5", 1280, follow) == []


def test_card_of_a_checkpoint_without_a_video_says_so_without_an_error(
    store: Store, settings: RunSettings, start: Callable[..., str], tmp_path: Path
) -> None:
    run_id = start(store, settings)
    store.log_metrics(run_id, {"eval/mean_reward": 1.0}, 500)
    store.finish_run(run_id, "FINISHED")

    async def drive(tab: Tab) -> None:
        await tab.until("document.querySelector('.card video')?.src.endsWith('step=500')")
        await tab.until(
            "!document.querySelector('.card .missing').hidden && document.querySelector('.card video').hidden"
        )
        assert any(request.endswith(f"/runs/{run_id}/clip?step=500") for request in tab.requests)

    app = create_app(store, WebSettings())
    with web_address(app) as address, chromium(tmp_path / "profile") as browser:
        # The gallery shows what it has read last.
        assert wait_until(lambda: "step=500" in httpx.get(f"http://{address}", timeout=60).text)
        assert visit(browser, f"http://{address}", 1280, drive) == []


def test_gallery_says_that_it_is_reading_and_shows_the_runs_by_itself(
    tracking_server: Server, server_store: Store, settings: RunSettings, start: Callable[..., str], tmp_path: Path
) -> None:
    game = settings.game.model_copy(update={"env_id": "ALE/Zaxxon-v5", "rom": "zaxxon"})
    start(server_store, settings.model_copy(update={"game": game}))

    async def drive(tab: Tab) -> None:
        assert (await read_text(tab, "#status")).strip() == "Reading the runs…"
        assert not await tab.value("document.body.textContent.includes('No runs yet')")
        proxy.answering.set()
        await tab.until("document.querySelector('#status')?.textContent.includes(' game')")
        assert await tab.value("document.querySelector('.card [href=\"/games/ALE/Zaxxon-v5\"]') !== null")

    with proxied(tracking_server.address) as proxy, chromium(tmp_path / "profile") as browser:
        app = create_app(open_store(proxy.address), WebSettings())
        proxy.answering.clear()
        with web_address(app) as address:
            try:
                assert visit(browser, f"http://{address}", 1280, drive) == []
            finally:
                proxy.answering.set()
