"""`ramreel watch` in the browser, and without a display."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx
import pytest
from helpers.processes import error_lines, started, wait_until
from helpers.web_pages import live_run
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from flows.cli.app import run
from tasks.store import Store

DISPLAYS = ["DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER"]


def test_watch_serves_the_page_until_ctrl_c(store: Store, home: Path, tmp_path: Path) -> None:
    run_id = live_run(store, tmp_path)
    with started(["watch", "played", "--browser", "--seed", "3"], home) as command:
        assert wait_until(lambda: command.exited or "live view: " in command.output()[0])
        address = re.findall(r"http://127.0.0.1:\d+/\S+", command.output()[0])[0]
        page = httpx.get(address, timeout=60)
        assert page.status_code == 200
        assert f"/live/socket?run={run_id}&amp;step=10&amp;seed=3" in page.text
        socket = address.replace("http", "ws").replace("/live?", "/live/socket?")
        with connect(socket, origin=address.partition("/live")[0]) as viewer:
            while not isinstance(viewer.recv(timeout=60), bytes):
                pass
            command.ctrl_c()
            with pytest.raises(ConnectionClosed):
                while True:
                    viewer.recv(timeout=60)
        code, _, errors = command.wait()
    assert code == 130
    (error,) = error_lines(errors)
    assert error.startswith("ramreel: stopped by Ctrl-C")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_without_a_display_the_error_offers_the_browser(
    store: Store, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    live_run(store, tmp_path)
    monkeypatch.setenv("RAMREEL_HOME", str(home))
    for name in DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    assert run(["watch", "played"]) == 2
    error = capfd.readouterr().err
    assert "`ramreel record`" in error and "`ramreel watch played --browser`" in error
    assert error.count("\n") == 1
