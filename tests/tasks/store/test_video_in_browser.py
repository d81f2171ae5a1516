"""Playback of a video, with sound, in MLflow's UI in headless Chromium."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from helpers.browser import Tab, chromium, needs_chromium, visit
from helpers.episodes import network_checkpoint, play_checkpoint, random_play

from tasks.arcade import report
from tasks.arcade.episodes.trace import write_trace
from tasks.arcade.report import Comparison, RunView, VideoView
from tasks.arcade.video.panel import Caption, PanelRenderer
from tasks.arcade.video.render import render_video
from tasks.execution.endpoints import is_healthy
from tasks.store import Store

pytestmark = needs_chromium

# The loudest sample that is played; silence is 0.
LISTEN = """(() => {
    const video = document.querySelector('video'), context = new AudioContext(), ear = context.createAnalyser();
    context.createMediaElementSource(video).connect(ear);
    ear.connect(context.destination);
    const samples = new Float32Array(ear.fftSize);
    window.loudest = 0;
    setInterval(() => {
        ear.getFloatTimeDomainData(samples);
        window.loudest = Math.max(window.loudest, ...samples.map(Math.abs));
    }, 20);
    context.resume().then(() => video.play());
})()"""
STATE = """(({videoWidth, videoHeight, duration, error}) => ({videoWidth, videoHeight, duration, error}))(
    document.querySelector('video'))"""
AT = "document.querySelector('video').currentTime"


@contextmanager
def mlflow_ui(store: Store) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        store.server_command("127.0.0.1", port),
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 120
        while not is_healthy(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_video_plays_seeks_and_has_sound_in_mlflow_ui(store: Store, run_id: str, tmp_path: Path) -> None:
    checkpoint = network_checkpoint("ALE/KingKong-v5")
    trace = play_checkpoint(checkpoint, 75)
    look = partial(PanelRenderer, checkpoint=checkpoint, caption=Caption("King Kong", "with sound"))
    made = render_video(trace, tmp_path / "video.mp4", look)
    write_trace(trace, tmp_path / "video.json")
    stored = store.save_video(run_id, 10, tmp_path / "video.mp4", tmp_path / "video.json")

    async def watch(tab: Tab) -> None:
        await tab.until("document.querySelector('video') !== null")
        await tab.until("document.querySelector('video').readyState >= 2")
        shown = await tab.value(STATE)
        assert (shown["videoWidth"], shown["videoHeight"]) == (1280, 720)
        assert shown["duration"] == pytest.approx(made.seconds, abs=0.05)
        await tab.value(LISTEN)
        await tab.until(f"{AT} > 0.2 && window.loudest > 0.01")
        await tab.value(f"{AT} = 4")
        await tab.until(f"{AT} > 4.2")
        assert (await tab.value(STATE))["error"] is None

    with mlflow_ui(store) as ui, chromium(tmp_path / "profile") as browser:
        visit(browser, ui + store.ui_path(run_id, stored.mp4), 1280, watch)


def test_report_in_mlflow_ui_plays_the_full_video(store: Store, run_id: str, tmp_path: Path) -> None:
    """MLflow shows reports in a sandboxed frame, which may open neither windows nor pages."""
    made = render_video(random_play("ALE/Pong-v5", 60), tmp_path / "video.mp4")
    (tmp_path / "video.json").write_text("{}")
    stored = store.save_video(run_id, 10, tmp_path / "video.mp4", tmp_path / "video.json")
    video = VideoView(
        step=10,
        episode_return=0,
        mp4=(tmp_path / "video.mp4").read_bytes(),
        frames=made.frames,
        episode_frames=made.frames,
        fps=made.fps,
        full_video="../videos/video.mp4",
        path=stored.mp4,
    )
    row = report.checkpoint_row(10, [1.0, 2.0], ["a", "b"])
    view = RunView(
        run_id=run_id, run_name="run", approach="ppo", seed=0, env_id="ALE/Pong-v5", steps=10, checkpoints=(row,)
    )
    findings = report.analyze(Comparison(title="report", env_id="ALE/Pong-v5", runs=(view,)))
    html = report.render_report_html(dataclasses.replace(findings, videos={run_id: (video,)}))
    store.log_report(run_id, html, "report")

    async def read(tab: Tab) -> None:
        await tab.enter_frame()
        assert await tab.value("location.protocol") == "blob:"
        await tab.until("document.querySelector('a.full') !== null")
        await tab.value("document.querySelector('a.full').click()")
        await tab.until("document.querySelector('dialog video')?.currentTime > 0.2")
        shown = await tab.value(
            "(({videoWidth, duration}) => [videoWidth, duration])(document.querySelector('dialog video'))"
        )
        assert shown == [640, pytest.approx(made.seconds, abs=0.05)]
        await tab.value("document.querySelector('dialog button').click()")
        await tab.until("document.querySelector('dialog video') === null")

    with mlflow_ui(store) as ui, chromium(tmp_path / "profile") as browser:
        visit(browser, ui + store.ui_path(run_id, "reports/report.html"), 1280, read)
