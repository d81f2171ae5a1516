"""The live view through a real server: frames, viewers, commands, and what is not there or damaged."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing as mp
import socket as socket_module
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from helpers.episodes import network_checkpoint
from helpers.processes import TIMEOUT_SECONDS, wait_until
from helpers.web_pages import live_run, serving_pages
from helpers.web_server import web_address
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tasks.arcade.checkpoints.checkpoint import unlearned_checkpoint
from tasks.arcade.emulator.emulator import SAMPLES_PER_FRAME, Emulator
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import play
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.run import RunSettings
from tasks.runs.verify import verify_run
from tasks.store import Store
from tasks.web.app import create_app
from tasks.web.live import live_routes
from tasks.web.settings import WebSettings

SIZE = (210, 160)


@dataclass(frozen=True)
class Site:
    """The server, and a run to watch."""

    host: str
    run_id: str

    def socket(self, seed: int = 7, step: int = 10) -> str:
        return f"ws://{self.host}/live/socket?run={self.run_id}&step={step}&seed={seed}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def get(self, query: str) -> httpx.Response:
        return httpx.get(f"http://{self.host}/live?{query}")


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Iterator[Site]:
    run_id = live_run(store, tmp_path)
    with serving_pages(store, live_routes(store, maximum=2)) as host:
        yield Site(host, run_id)
    assert wait_until(lambda: not emulators()), "no emulator outlives the server"


def emulators() -> list[Any]:
    return [process for process in mp.active_children() if process.name == "ramreel-live"]


def decode(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of a frame, and its audio and screen."""
    raw = zlib.decompress(message)
    length = int.from_bytes(raw[:4], "little")
    return json.loads(raw[4 : 4 + length]), raw[-SIZE[0] * SIZE[1] - SAMPLES_PER_FRAME :]


def received(socket: Any, kind: str) -> dict[str, Any]:
    """Return the next message of a kind."""
    while True:
        message = socket.recv(timeout=TIMEOUT_SECONDS)
        if isinstance(message, str) and (found := json.loads(message))["type"] == kind:
            assert isinstance(found, dict)
            return found


def frame_after(socket: Any, step: int, paused: bool = False) -> tuple[dict[str, Any], bytes]:
    """Return the first frame that completes a step from the given one on."""
    last = -1
    while True:
        message = socket.recv(timeout=TIMEOUT_SECONDS)
        if not isinstance(message, bytes):
            continue
        state, shown = decode(message)
        completes, last = state["step"] != last, state["step"]
        if state["step"] >= step and completes and state["paused"] >= paused:
            return state, shown


def failure(site: Site, **changes: int) -> str:
    """Return the sentence that a viewer gets who cannot watch."""
    with connect(site.socket(**changes), origin=site.origin) as socket:
        return str(received(socket, "failure")["message"])


def test_the_last_frame_is_that_of_an_emulator_that_plays_the_same_episode(site: Site) -> None:
    checkpoint = network_checkpoint()
    with connect(site.socket(), origin=site.origin) as socket:
        hello = received(socket, "hello")
        assert hello["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
        assert (hello["height"], hello["width"]) == SIZE
        frame_after(socket, 5)
        socket.send(json.dumps({"do": "pause"}))
        paused_at = frame_after(socket, 5, paused=True)[0]["step"]
        for _ in range(3):
            socket.send(json.dumps({"do": "step"}))
        state, shown = frame_after(socket, paused_at + 3, paused=True)
    played = play(
        checkpoint.agent(),
        checkpoint.settings.game,
        7,
        action_seed=7,
        deterministic=False,
        max_steps=state["step"],
    )
    assert state["digest"] == played.ram_digest
    emulator = Emulator(played.game, 7, sound=True)
    emulator.reset(7)
    for action in played.actions:
        emulator.step(action)
    assert shown == emulator.sound().tobytes() + emulator.screen_indices(np.empty(SIZE, np.uint8)).tobytes()


def test_a_kept_episode_with_a_persons_steps_is_verified(site: Site, store: Store) -> None:
    with connect(site.socket(), origin=site.origin) as socket:
        socket.send(json.dumps({"do": "speed", "speed": "4"}))
        frame_after(socket, 3)
        socket.send(json.dumps({"do": "keys", "keys": {"right": True}}))
        while not (state := frame_after(socket, 4)[0])["humanSteps"]:
            pass
        assert state["human"]
        socket.send(json.dumps({"do": "keys", "keys": {}}))
        while frame_after(socket, 4)[0]["human"]:
            pass
        # Saving takes longer than the episode may.
        socket.send(json.dumps({"do": "pause"}))
        socket.send(json.dumps({"do": "keep"}))
        kept = received(socket, "kept")
        socket.send(json.dumps({"do": "write", "byte": 72, "value": 99}))
        socket.send(json.dumps({"do": "keep"}))
        assert "modified" in received(socket, "notice")["message"]
    (proof,) = verify_run(store, site.run_id)
    assert proof.ok and proof.by_checkpoint
    assert proof.name == kept["path"] and proof.name.startswith("videos/step-000000010/live-7-")
    assert proof.human_steps == kept["humanSteps"] > 0
    assert f"but {proof.human_steps} by a person" in proof.line
    answer = httpx.post(
        f"{site.origin}/live/verify",
        params={"run": site.run_id, "path": kept["path"]},
        headers={"origin": site.origin},
        timeout=TIMEOUT_SECONDS,
    )
    assert answer.json() == {"ok": True, "line": proof.line}


def test_fifty_viewers_share_one_emulator_which_ends_after_the_last_one(site: Site) -> None:
    async def watch() -> None:
        viewers = [await connect_async(site.socket(), origin=site.origin) for _ in range(50)]
        # The slow one never reads.
        slow, *others = viewers
        shown = await asyncio.gather(*(until_step(one, 30) for one in others))
        assert len(emulators()) == 1
        assert min(shown) >= 30
        await asyncio.gather(*(one.close() for one in others), return_exceptions=True)
        slow.transport.abort()

    async def until_step(viewer: ClientConnection, step: int) -> int:
        async for message in viewer:
            if isinstance(message, bytes) and (now := decode(message)[0]["step"]) >= step:
                return int(now)
        return -1

    asyncio.run(watch())
    assert wait_until(lambda: not emulators())


def test_a_slow_viewer_loses_frames_and_then_gets_the_latest(site: Site) -> None:
    steps = 90
    with connect(site.socket(2), origin=site.origin) as slow, connect(site.socket(2), origin=site.origin) as other:
        first = frame_after(slow, 0)[0]["step"]
        frame_after(other, steps)
        frames = 0
        for message in slow:
            if isinstance(message, bytes) and decode(message)[0]["step"] >= steps:
                break
            frames += isinstance(message, bytes)
    assert frames < 4 * (steps - first) - 40


def test_beyond_the_maximum_a_viewer_gets_a_sentence_and_another_ones_view_is_shared(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(site.socket(1), origin=site.origin) as one, connect(site.socket(2), origin=site.origin) as other:
        frame_after(one, 0)
        frame_after(other, 0)
        with caplog.at_level(logging.WARNING, "ramreel"):
            assert "All 2 live views are in use" in failure(site, seed=3)
        assert [record.message.count("\n") for record in caplog.records] == [0]
        with connect(site.socket(2), origin=site.origin) as third:
            assert received(third, "viewers")["count"] == 2
    with connect(site.socket(3), origin=site.origin) as later:
        frame_after(later, 0)


def test_an_emulator_that_is_killed_ends_the_view_with_a_sentence(site: Site) -> None:
    with connect(site.socket(), origin=site.origin) as socket:
        frame_after(socket, 0)
        emulators()[0].kill()
        assert "ended unexpectedly" in received(socket, "failure")["message"]


def test_a_checkpoint_that_is_not_there_is_a_sentence_and_a_line_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ramreel"):
        assert "has no checkpoint at step '11'" in failure(site, step=11)
    assert ["\n" in record.message for record in caplog.records] == [False]


def test_an_approach_without_a_network_can_be_watched(store: Store, tmp_path: Path) -> None:
    game = resolve("ALE/Breakout-v5")
    settings = RunSettings(game=game, approach=approach("random"), seed=0, steps=10, checkpoint_every=10)
    run_id = live_run(store, tmp_path, unlearned_checkpoint(settings))
    with serving_pages(store, live_routes(store)) as host:
        site = Site(host, run_id)
        with connect(site.socket(step=settings.steps), origin=site.origin) as socket:
            assert frame_after(socket, 1)[0]["digest"]


def test_beyond_loopback_the_socket_needs_the_login_and_a_name_of_the_server(store: Store, tmp_path: Path) -> None:
    run_id = live_run(store, tmp_path)
    with web_address(create_app(store, WebSettings(login="lab:secret"), live_routes(store))) as host:
        site = Site(host, run_id)
        with pytest.raises(InvalidStatus), connect(site.socket(), origin=site.origin):
            pass
        cookie = httpx.get(site.origin, auth=("lab", "secret"), timeout=60).headers["set-cookie"].partition(";")[0]
        with connect(site.socket(), origin=site.origin, additional_headers={"Cookie": cookie}) as socket:
            frame_after(socket, 0)
    with web_address(create_app(store, WebSettings(hosts=("lab-server",)), live_routes(store))) as host:
        port = host.partition(":")[2]
        # A page of another host whose name resolves to this machine has the origin that it asks for.
        rebound, named = (f"ws://{name}:{port}/live/socket?run={run_id}" for name in ("evil.example", "lab-server"))
        with pytest.raises(InvalidStatus), connect(rebound, origin=f"http://evil.example:{port}", sock=dial(host)):
            pass
        with connect(named, origin=f"http://lab-server:{port}", sock=dial(host)) as socket:
            frame_after(socket, 0)


def dial(address: str) -> socket_module.socket:
    host, _, port = address.partition(":")
    return socket_module.create_connection((host, int(port)))


@pytest.mark.parametrize("origin", [None, "http://elsewhere.example"])
def test_a_page_of_another_server_cannot_open_the_socket(site: Site, origin: str | None) -> None:
    with pytest.raises(InvalidStatus), connect(site.socket(), origin=origin):  # type: ignore[arg-type]
        pass


def test_an_invalid_command_is_refused_and_the_game_goes_on(site: Site) -> None:
    with connect(site.socket(), origin=site.origin) as socket:
        for text in ("not JSON", '{"do": "format"}', '{"do": "write", "byte": 128}', '{"do": "speed", "speed": "9"}'):
            socket.send(text)
            assert "Not a command" in received(socket, "notice")["message"]
        frame_after(socket, 1)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("run=nosuch", "No run &#39;nosuch&#39;"),
        (f"run={'0' * 32}", "There is no run"),
        ("run=RUN&step=11", "has no checkpoint at step &#39;11&#39;; available: 10"),
        ("run=RUN&step=x", "has no checkpoint at step"),
        ("run=RUN&seed=-1", "is not a seed"),
    ],
)
def test_what_is_not_there_is_a_page_that_says_where_to_go(site: Site, query: str, sentence: str) -> None:
    page = site.get(query.replace("RUN", site.run_id))
    assert page.status_code == 404
    assert sentence in page.text
    assert 'href="/"' in page.text


def test_a_run_without_checkpoints_and_an_empty_store_are_pages_that_say_so(
    store: Store, start: Any, settings: Any
) -> None:
    with serving_pages(store, live_routes(store)) as host:
        assert "No training run" in httpx.get(f"http://{host}/live").text
        run_id = start(store, settings)
        page = httpx.get(f"http://{host}/live?run={run_id}")
    assert page.status_code == 404
    assert "has no checkpoint that could play" in page.text


@pytest.mark.parametrize("damage", ["corrupt", "no weights", "gone"])
def test_a_damaged_checkpoint_is_a_sentence_and_a_line_in_the_log(
    site: Site, store: Store, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    (weights,) = Path(str(store.address.artifacts)).rglob("policy.safetensors")
    if damage == "corrupt":
        weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    elif damage == "no weights":
        weights.unlink()
    else:
        weights.parent.rename(weights.parent.with_name("elsewhere"))
    with caplog.at_level(logging.WARNING, "ramreel"):
        message = failure(site)
    assert "step 10" in message
    assert ["\n" in record.message for record in caplog.records] == [False]
