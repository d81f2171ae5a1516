"""Proxies of the environment: never between ramreel and its own servers, always to the outside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
from helpers.forward_proxy import ForwardProxy, forward_proxy
from helpers.inboxes import Webhook
from helpers.processes import started
from helpers.servers import Server
from prefect import flow
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from flows.cli.app import run
from flows.runtime.proxies import exempt_loopback
from tasks import notify

OUTSIDE = "10.11.12.13"
"""An address that only the proxy can reach."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
SCHEMES = ("http", "socks5")


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def proxy(webhook: Webhook) -> Iterator[ForwardProxy]:
    with forward_proxy({OUTSIDE: f"http://{webhook.netloc}"}) as proxy:
        yield proxy


def export(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "exempt",
    [
        {},
        {"NO_PROXY": "example.org, .example.net"},
        {"no_proxy": "example.org", "NO_PROXY": "localhost"},
        {"no_proxy": "127.0.0.1"},
        {"no_proxy": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_loopback_is_exempt_and_the_outside_is_not(
    scheme: str, exempt: dict[str, str], proxy: ForwardProxy, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Restored after the test, also where `exempt_loopback` sets them.
    export({"no_proxy": "", "NO_PROXY": "", **proxy.environment(scheme), **exempt}, monkeypatch)
    exempt_loopback()
    for host in LOOPBACK[:2]:
        address = f"http://{host}:{webhook.server_port}"
        assert httpx.post(address, json={}).is_success
        assert requests.post(address, json={}, timeout=30).ok
        assert get_proxy(parse_uri(address.replace("http", "ws"))) is None
    assert proxy.hosts == []
    assert httpx.post(f"http://{OUTSIDE}", json={}).is_success
    assert requests.post(f"http://{OUTSIDE}", json={}, timeout=30).ok
    assert proxy.hosts == [OUTSIDE, OUTSIDE]
    assert exempt.get("no_proxy", exempt.get("NO_PROXY", "")).split(",")[0] in os.environ["no_proxy"]


def test_exemption_of_every_host_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    export({"no_proxy": "", "NO_PROXY": "*", "HTTP_PROXY": "http://127.0.0.1:9"}, monkeypatch)
    exempt_loopback()
    assert os.environ["NO_PROXY"] == "*"
    assert requests.utils.get_environ_proxies("http://example.org") == {}


def test_environment_without_proxies_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    exempt_loopback()
    assert dict(os.environ) == before


@pytest.mark.parametrize("address", ["socks://127.0.0.1:1080/", "ftp://proxy", "http://user:s3cr3t@proxy:port"])
def test_invalid_proxy_is_named_before_anything_starts(
    address: str, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    assert run(["train", "ALE/Breakout-v5"]) == 2
    printed = capfd.readouterr()
    assert printed.err.startswith(
        "ramreel: ALL_PROXY is not the address of a proxy: set it to an address such as http:"
    )
    assert "s3cr3t" not in printed.err
    assert not (home / "mlruns" / "prefect.db").exists()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_notification_goes_through_the_proxy(
    scheme: str, proxy: ForwardProxy, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    export({"no_proxy": "", "NO_PROXY": "", **proxy.environment(scheme)}, monkeypatch)
    monkeypatch.setenv(notify.ENVIRONMENT, f"json://{OUTSIDE}/")
    exempt_loopback()

    @flow
    def notifying() -> None:
        notify.notify("ramreel: a milestone", "It plays better than random.")

    notifying()
    assert [message["title"] for message in webhook.received] == ["ramreel: a milestone"]
    assert set(proxy.hosts) == {OUTSIDE}, "Prefect's server, on loopback, is reached without it"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_training_reaches_its_own_server_directly_and_the_tracking_server_by_proxy(
    scheme: str, tracking_server: Server, tmp_path: Path
) -> None:
    with forward_proxy({OUTSIDE: tracking_server.address}) as proxy:
        environment = {**proxy.environment(scheme), "MLFLOW_TRACKING_URI": f"http://{OUTSIDE}"}
        arguments = ["train", "ALE/Breakout-v5", "--approach", "random", "--steps", "100", "--json"]
        with started([*arguments, "--experiment", f"by {scheme}"], tmp_path, environment) as command:
            code, out, errors = command.wait()
    assert code == 0, errors
    assert json.loads(out)["steps"] == 100
    assert set(proxy.hosts) == {OUTSIDE}
