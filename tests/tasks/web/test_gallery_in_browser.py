"""From the gallery to a playing video, the report, MLflow's run and Prefect's, by clicks in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers.browser import Tab, chromium, needs_chromium, visit
from helpers.episodes import random_play
from helpers.unattended import Unattended
from helpers.web_server import web_server
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Completed

from tasks.arcade import report
from tasks.arcade.report import Comparison, RunView
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.video.render import render_video
from tasks.store import Store, open_store
from tasks.web.app import create_app
from tasks.web.settings import WebSettings

pytestmark = needs_chromium

STEPS = (500, 1000)
VIDEO = "document.querySelector('#video, .card video')"
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
    render_video(random_play("ALE/Pong-v5", 60), home / "video.mp4")
    (home / "trace.json").write_text("{}")
    for step in STEPS:
        store.save_video(recorded, step, home / "video.mp4", home / "trace.json")
    row = report.checkpoint_row(1000, [1.0, 2.0], ["a", "b"])
    view = RunView(
        run_id=recorded,
        run_name="ppo seed 1",
        approach="ppo",
        seed=1,
        env_id="ALE/Pong-v5",
        steps=1000,
        checkpoints=(row,),
    )
    findings = report.analyze(Comparison(title="Two seeds on Pong", env_id="ALE/Pong-v5", runs=(view,)))
    comparison = store.start_comparison("ALE/Pong-v5", "c", [recorded], command="c", versions={}, commit=None)
    store.log_report(comparison, report.render_report_html(findings), "report")
    store.finish_run(comparison, "FINISHED")
    store.set_tag(recorded, "ramreel.report", comparison)
    return Site(up, recorded, other, flow_run.name)


def _evaluated(store: Store, seed: int, flow_run: str) -> str:
    run_settings = RunSettings.model_validate({
        "game": {"env_id": "ALE/Pong-v5", "rom": "pong", "frame_skip": 4, "repeat_action_probability": 0.25},
        "approach": {
            "name": "ppo", "description": "a", "algorithm": {"algorithm": "ppo"}, "features": {"kind": "scaled"},
        },
        "seed": seed, "steps": 1000, "checkpoint_every": 500,
    })  # fmt: skip
    tags = {"ramreel.flow_run_id": flow_run}
    run_id = store.start_run(run_settings, name=f"ppo seed {seed}", command="c", versions={}, commit=None, tags=tags)
    for step in STEPS:
        mean = step / 100 - seed
        store.log_metrics(run_id, {"rollout/ep_rew_mean": mean, "eval/mean_reward": mean}, step)
        store.log_metrics(run_id, {"eval/mean_reward_low": mean - 1, "eval/mean_reward_high": mean + 1}, step)
    store.finish_run(run_id, "FINISHED")
    return run_id


async def click(tab: Tab, selector: str) -> None:
    await tab.value(f"document.querySelector({selector!r}).click()")


async def back_to_game(tab: Tab, site: Site) -> None:
    await tab.call("Page.navigate", url=f"{site.address}/games/ALE/Pong-v5")
    await tab.until("document.readyState === 'complete' && document.querySelector('.player') !== null")


def shows(port: int, text: str) -> str:
    return f"location.port === '{port}' && document.body?.innerText.includes({text!r})"


def link(text: str) -> str:
    return f"[...document.querySelectorAll('.player a')].find((a) => a.textContent === {text!r})"


@pytest.mark.parametrize("width", [1280, 390])
def test_gallery_leads_to_videos_report_and_both_uis(site: Site, tmp_path: Path, width: int) -> None:
    own_errors: list[str] = []

    async def walk(tab: Tab) -> None:
        await tab.until(PLAYS)
        await tab.until("document.querySelector('.card polyline') !== null")
        assert await tab.value("document.documentElement.scrollWidth <= innerWidth")
        await click(tab, ".card h2 a")

        await tab.until(f"location.pathname === '/games/ALE/Pong-v5' && {VIDEO} !== null")
        await tab.until(PLAYS)
        caption = await tab.value("document.getElementById('caption').textContent")
        assert caption == "Step 1,000: mean return 9.0 [8.0, 10.0]"
        await tab.value(
            "(() => { const slider = document.getElementById('checkpoint'); slider.value = 0; "
            "slider.dispatchEvent(new Event('input')); })()"
        )
        await tab.until(f"{VIDEO}.src.endsWith('step-000000500.mp4') && {PLAYS}")
        await tab.value(f"{VIDEO}.currentTime = 2")
        await tab.until(f"{VIDEO}.currentTime > 2.1")
        assert await tab.value("document.documentElement.scrollWidth <= innerWidth")
        await check_sorting(tab, site)
        await tab.value(f"{link('Report')}.click()")

        await tab.until("location.pathname.endsWith('/reports/report.html') && document.readyState === 'complete'")
        await tab.until("document.body?.textContent.includes('Two seeds on Pong')")
        own_errors.extend(tab.errors)
        await back_to_game(tab, site)
        await tab.value(f"{link('MLflow run')}.click()")
        await tab.until(shows(site.up.mlflow_port, "ppo seed 1"))

        await back_to_game(tab, site)
        await tab.value(f"{link('Prefect flow run')}.click()")
        await tab.until(shows(site.up.prefect_port, site.flow_run))
        hosts = {urlsplit(url).hostname for url in tab.requests if url.startswith(("http", "ws"))}
        assert hosts == {"127.0.0.1"}

    with chromium(tmp_path / "profile") as browser:
        visit(browser, site.address, width, walk)
    assert own_errors == []


async def check_sorting(tab: Tab, site: Site) -> None:
    first = "document.querySelector('#table tbody tr').dataset.run"
    header = "document.querySelector('th[data-key=return]')"
    assert await tab.value("document.querySelector('tr[aria-current]').dataset.run") == site.recorded
    await tab.value(f"{header}.querySelector('button').click()")
    assert await tab.value(f"[{header}.ariaSort, {first}]") == ["descending", site.recorded]
    await tab.value(f"{header}.querySelector('button').click()")
    assert await tab.value(f"[{header}.ariaSort, {first}]") == ["ascending", site.other]


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
