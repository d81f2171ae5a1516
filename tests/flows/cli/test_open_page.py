"""`ramreel open`: addresses of pages, printed and opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.processes import started

from flows.cli.app import run
from tasks.arcade.settings.run import RunSettings
from tasks.execution.links import GALLERY_ENVIRONMENT
from tasks.store import Store

GALLERY = "http://lab-server:4300"


@pytest.fixture
def uri(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(GALLERY_ENVIRONMENT, f"{GALLERY}/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.address.uri)
    return store.address.uri


def test_address_is_printed_where_there_is_no_browser(
    uri: str, store: Store, settings: RunSettings, start: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = start(store, settings)
    for target, path in {"": "/", "latest": f"/runs/{run_id}", "pong": "/games/ALE/Pong-v5"}.items():
        assert run(["open", *filter(None, [target]), "--json"]) == 0
        answer = json.loads(capfd.readouterr().out.splitlines()[-1])
        assert answer == {"url": GALLERY + path, "opened": False}


def test_page_that_is_not_there_is_refused(
    uri: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for target, message in {
        "nosuch": "'nosuch' is not a game, and no run 'nosuch'", "report": "there is no report yet",
        "mlflow": f"it is linked from {GALLERY}",
    }.items():  # fmt: skip
        assert run(["open", target]) == 2
        assert message in capfd.readouterr().err
    monkeypatch.delenv(GALLERY_ENVIRONMENT)
    assert run(["open"]) == 2
    assert f"start it, or set {GALLERY_ENVIRONMENT}" in capfd.readouterr().err


def test_browser_gets_the_address(uri: str, home: Path) -> None:
    script = home / "browser"
    script.write_text('#!/bin/sh\necho "$1" > "$(dirname "$0")/opened"\n')
    script.chmod(0o755)
    with started(["open", "pong"], home, {"BROWSER": f"{script} %s"}) as command:
        code, out, errors = command.wait()
    assert (code, out.strip()) == (0, f"{GALLERY}/games/ALE/Pong-v5"), errors
    assert (home / "opened").read_text().strip() == f"{GALLERY}/games/ALE/Pong-v5"
