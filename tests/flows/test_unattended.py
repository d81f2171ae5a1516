"""What happens by itself: a champion is crowned and guarded, milestones are told, by real servers and real messages."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest
from prefect import flow

from flows.guard import guard
from flows.record import record
from flows.train import train
from tasks.arcade.settings import EvaluationSettings, RecordSettings, TrainSettings
from tasks.arcade.unattended import GuardSettings
from tasks.audience import before
from tasks.champion import challenge
from tasks.notify import tell
from tasks.store import Registry, Store, StoreError


class Inbox(http.server.ThreadingHTTPServer):
    """Takes messages as any webhook does."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            server: Inbox

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.server.messages.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with Inbox() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("RAMREEL_NOTIFY", f"json://127.0.0.1:{server.server_port}/")
        yield server
        server.shutdown()


class Ears:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def training(self, name: str, progress: object) -> None:
        pass

    def said(self, line: str) -> None:
        self.heard.append(line)


@flow
def challenging(run_id: str) -> tuple[bool, str]:
    standing = challenge(run_id)
    return standing.crowned, standing.words


@flow
def telling(title: str) -> None:
    tell(title, "body")


def test_a_champion_is_crowned_and_guarded_and_one_that_was_spoilt_is_found_out(
    small: TrainSettings, store: Store, inbox: Inbox
) -> None:
    run_id = train(small).run_id
    record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=3)))
    crowned, words = challenging(run_id)
    assert crowned
    assert "the first of its game" in words
    champion = Registry(store.address).champion("ALE/Breakout-v5")
    assert champion is not None
    assert champion.run_id == run_id
    assert any("new champion" in message["title"] for message in inbox.messages)

    crowned, words = challenging(run_id)
    assert crowned
    assert "already" in words
    (standing,) = guard(GuardSettings(episodes=10))
    assert not standing.dropped, standing.words

    assert store.address.artifacts is not None
    for path in store.address.artifacts.rglob(f"{champion.checkpoint.model_id}/artifacts/features.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    inbox.messages.clear()
    (standing,) = guard(GuardSettings(env_id="ALE/Breakout-v5", episodes=10))
    assert standing.dropped
    assert "cannot play" in standing.words
    assert [message["title"] for message in inbox.messages] == ["ramreel: the champion of ALE/Breakout-v5 plays worse"]
    inbox.messages.clear()
    guard(GuardSettings(env_id="ALE/Breakout-v5", episodes=10))
    assert inbox.messages == [], "the same news is told once"


def test_a_game_without_a_champion_is_named() -> None:
    with pytest.raises(StoreError, match="ALE/Pong-v5 has no champion yet"):
        guard(GuardSettings(env_id="ALE/Pong-v5", episodes=10))
    assert guard(GuardSettings(episodes=10)) == ()


def test_nobody_to_tell_is_said_and_hurts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAMREEL_NOTIFY", raising=False)
    ears = Ears()
    with before(ears):
        telling("one")
        telling("two")
    assert [line for line in ears.heard if "RAMREEL_NOTIFY" in line][1:] == [], "once at most"


def test_an_address_that_is_not_reached_hurts_nothing_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tasks.notify.notify.retries", 0)
    monkeypatch.setenv("RAMREEL_NOTIFY", "json://user:hush-hush@127.0.0.1:9/")
    telling("anybody there?")
    assert "was not told: anybody there?" in caplog.text
    assert "hush-hush" not in caplog.text
