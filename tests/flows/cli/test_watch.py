"""`ramreel watch` serves its page, whether there is a browser or not."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from helpers.processes import error_lines, started, wait_until
from helpers.web_pages import live_run
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tasks.store import Store


def test_watch_serves_the_page_until_ctrl_c(store: Store, home: Path, tmp_path: Path) -> None:
    run_id = live_run(store, tmp_path)
    with started(["watch", "played", "--no-browser", "--seed", "3"], home) as command:
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
