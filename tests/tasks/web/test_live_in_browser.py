"""The live view in headless Chromium: frames, takeover, typing, keeping and verifying, by keys and clicks alone."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import Tab, chromium, needs_chromium, visit
from helpers.web_pages import live_run, serving_pages

from tasks.runs.verify import verify_run
from tasks.store import Store
from tasks.web.live import live_routes

pytestmark = needs_chromium

PADDLE = "parseInt(document.querySelectorAll('#ram td')[72].textContent, 16)"
FRAMES = "+(document.querySelector('#live').dataset.frames ?? 0)"
FOREIGN = (
    "performance.getEntriesByType('resource').map((one) => one.name).filter((one) => !one.startsWith(location.origin))"
)
COUNT_SOUNDS = """\
(() => {
  const start = AudioBufferSourceNode.prototype.start;
  window.sounds = 0;
  AudioBufferSourceNode.prototype.start = function (when) {
    window.sounds += this.buffer.getChannelData(0).some((sample) => sample);
    return start.call(this, when);
  };
})()"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def run_id(store: Store, tmp_path: Path) -> str:
    return live_run(store, tmp_path)


@pytest.fixture
def host(store: Store, run_id: str) -> Iterator[str]:
    with serving_pages(store, live_routes(store)) as address:
        yield address


async def key(tab: Tab, kind: str, name: str) -> None:
    await tab.call("Input.dispatchKeyEvent", type=kind, key=name, text="" if len(name) > 1 or kind == "keyUp" else name)


async def press(tab: Tab, name: str) -> None:
    await key(tab, "keyDown", name)
    await key(tab, "keyUp", name)


def test_a_person_watches_plays_keeps_and_verifies(host: str, store: Store, run_id: str, tmp_path: Path) -> None:
    counted: dict[str, Any] = {}

    async def drive(tab: Tab) -> None:
        await tab.until(f"{FRAMES} > 0")
        start, before = time.monotonic(), await tab.value(FRAMES)
        await asyncio.sleep(3)
        counted["rate"] = (await tab.value(FRAMES) - before) / (time.monotonic() - start)
        await tab.value(COUNT_SOUNDS)
        await press(tab, "m")
        await tab.until("document.querySelector('#sound').ariaPressed === 'true' && window.sounds > 0")
        await key(tab, "keyDown", "ArrowRight")
        await tab.until("document.querySelector('#tag').textContent === 'You play'")
        await tab.until(f"{PADDLE} > 180")
        await key(tab, "keyUp", "ArrowRight")
        await key(tab, "keyDown", "ArrowLeft")
        await tab.until(f"{PADDLE} < 70")
        await key(tab, "keyUp", "ArrowLeft")
        await tab.until("document.querySelector('#tag').hidden")
        await press(tab, "p")
        await tab.until("document.querySelector('#tag').textContent === 'Paused'")
        await tab.value("document.querySelector('#keep').click()")
        await tab.until("document.querySelector('#verify') !== null")
        await tab.value("document.querySelector('#verify').click()")
        await tab.until("document.querySelector('#notice').dataset.verified !== undefined")
        assert await tab.value("document.querySelector('#notice').dataset.verified") == "true"
        counted["line"] = await tab.value("document.querySelector('#notice').textContent")
        assert await tab.value(FOREIGN) == []
        assert await tab.value(OVERFLOW) <= 0

    with chromium(tmp_path / "profile") as browser:
        assert visit(browser, f"http://{host}/live?run={run_id}&seed=2", 1280, drive) == []
    (proof,) = verify_run(store, run_id)
    assert proof.ok and proof.human_steps > 0
    assert proof.line in counted["line"]
    # Not timed: a machine under load may show fewer, never more than the console has.
    assert 1 < counted["rate"] < 70


def test_a_typed_byte_moves_the_paddle_and_cannot_be_kept(host: str, run_id: str, tmp_path: Path) -> None:
    async def drive(tab: Tab) -> None:
        await tab.until(f"{FRAMES} > 0")
        await tab.value("document.querySelector('#step').click()")
        await tab.until("document.querySelector('#pause').textContent.startsWith('Play')")
        await tab.value("document.querySelectorAll('#ram td')[72].focus()")
        assert "Byte 72" in await tab.value("document.querySelector('#byte').textContent")
        await press(tab, "9")
        await press(tab, "6")
        await tab.until(f"{PADDLE} === 0x96")
        await tab.until("document.querySelector('#keep').disabled")
        assert "cannot be kept" in await tab.value("document.querySelector('#tag').textContent")
        await tab.until(f"{PADDLE} === 0x96")
        await tab.value("document.querySelector('#restart').click()")
        await tab.until("!document.querySelector('#tag').textContent.includes('cannot be kept')")
        assert await tab.value(OVERFLOW) <= 0

    with chromium(tmp_path / "profile") as browser:
        assert visit(browser, f"http://{host}/live?run={run_id}", 390, drive) == []


def test_a_view_that_cannot_start_says_why_on_the_page(host: str, store: Store, run_id: str, tmp_path: Path) -> None:
    (weights,) = Path(str(store.address.artifacts)).rglob("policy.safetensors")
    os.truncate(weights, 100)

    async def drive(tab: Tab) -> None:
        await tab.until("document.querySelector('#cover').textContent.includes('checkpoint at step 10')")

    with chromium(tmp_path / "profile") as browser:
        assert visit(browser, f"http://{host}/live?run={run_id}", 1280, drive) == []
