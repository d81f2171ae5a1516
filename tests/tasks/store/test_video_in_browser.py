"""Playback of a video, with sound, in MLflow's UI in headless Chromium."""

from __future__ import annotations

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
from helpers.episodes import network_checkpoint, play_checkpoint

from tasks.arcade.episodes.trace import write_trace
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
