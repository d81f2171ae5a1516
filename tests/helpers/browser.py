"""Headless Chromium, to see pages as a person does."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """The address at which Chromium takes commands."""
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        yield next(line.split()[-1] for line in process.stderr if line.startswith("DevTools listening"))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


class Tab:
    """One page, driven by Chromium's own protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number, self._session = socket, 0, ""
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": params} | session))
        while True:
            said = json.loads(await asyncio.wait_for(self._socket.recv(), 60))
            self._hear(said)
            if said.get("id") == self._number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result

    def _hear(self, said: dict[str, Any]) -> None:
        kind, params = said.get("method"), said.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])
        if kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        if kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))

    async def open(self, address: str, width: int) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        phone = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **phone)
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def value(self, expression: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        end = time.monotonic() + 60
        while not await self.value(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            await asyncio.sleep(0.05)


def visit(browser: str, address: str, width: int, drive: Callable[[Tab], Any]) -> list[str]:
    """Open a page that is so many pixels wide and do something with it; returns what was complained of meanwhile."""

    async def session() -> list[str]:
        async with connect(browser, max_size=None) as socket:
            tab = Tab(socket)
            await tab.open(address, width)
            await drive(tab)
            return tab.complaints

    return asyncio.run(session())
