"""Headless Chromium, driven over the DevTools protocol."""

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

from helpers.processes import TIMEOUT_SECONDS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

_POINT = """\
(element) => {
  if (!element) return null;
  element.scrollIntoView({ block: "center", behavior: "instant" });
  const { left, top, width, height } = element.getClientRects()[0] ?? {};
  if (!width) return null;
  const x = left + width / 2, y = top + height / 2, found = document.elementFromPoint(x, y);
  return element.contains(found) ? { x, y } : null;
}"""
"""Returns the middle of an element; null while it is not there, or covered."""


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """Start Chromium and yield the address of its DevTools protocol."""
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
    """One page."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number, self._session = socket, 0, ""
        self._pointer: dict[str, float] = {}
        self.errors: list[str] = []
        self.requests: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": params} | session))
        while True:
            message = json.loads(await asyncio.wait_for(self._socket.recv(), TIMEOUT_SECONDS))
            self._collect_error(message)
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def _collect_error(self, message: dict[str, Any]) -> None:
        kind, params = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["text"])
        if kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        if kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(str(params["args"]))

    async def open(self, address: str, width: int) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            await self.call(f"{domain}.enable")
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **screen)
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def enter_frame(self) -> None:
        """Continue in the sandboxed frame of the page, which is a process of its own."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while True:
            targets = (await self.call("Target.getTargets"))["targetInfos"]
            if frames := [one["targetId"] for one in targets if one["type"] == "iframe"]:
                break
            assert time.monotonic() < end, "timed out: no frame"
            await asyncio.sleep(0.05)
        attached = await self.call("Target.attachToTarget", targetId=frames[0], flatten=True)
        self._session = attached["sessionId"]
        await self.until("document.readyState === 'complete'")

    async def value(self, expression: str, *, awaits: bool = False) -> Any:
        """Return the value of an expression, or with `awaits` that of the promise that it returns."""
        options = {"returnByValue": True, "userGesture": True, "awaitPromise": awaits}
        result = await self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def click(self, element: str) -> None:
        """Click an element, given as a JavaScript expression, with the mouse."""
        await self.press(element)
        await self.release()

    async def press(self, element: str) -> None:
        """Press the mouse's button on an element that nothing covers."""
        await self.until(f"({_POINT})({element}) !== null")
        self._pointer = await self.value(f"({_POINT})({element})")
        await self._mouse("mouseMoved")
        await self._mouse("mousePressed", button="left", clickCount=1)

    async def release(self) -> None:
        """Release the mouse's button where it was pressed."""
        await self._mouse("mouseReleased", button="left", clickCount=1)

    async def _mouse(self, kind: str, **params: Any) -> None:
        await self.call("Input.dispatchMouseEvent", type=kind, **self._pointer, **params)

    async def back(self, address: str) -> None:
        """Go back to the page that was left last at an address, as the browser's button does."""
        history = await self.call("Page.getNavigationHistory")
        entry = next(one for one in reversed(history["entries"]) if one["url"].startswith(address))
        await self.call("Page.navigateToHistoryEntry", entryId=entry["id"])
        await self.until(f"location.href === {entry['url']!r} && document.readyState === 'complete'")

    async def until(self, expression: str) -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while not await self.value(expression):
            assert time.monotonic() < end, f"timed out: {expression}"
            await asyncio.sleep(0.05)


def visit(browser: str, address: str, width: int, drive: Callable[[Tab], Any]) -> list[str]:
    """Open a page at a width in pixels, run `drive`, and return errors and warnings of its console."""

    async def session() -> list[str]:
        async with connect(browser, max_size=None) as socket:
            tab = Tab(socket)
            await tab.open(address, width)
            await drive(tab)
            return tab.errors

    return asyncio.run(session())
