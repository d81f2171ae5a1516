"""`ramreel up` where everything is sent through a proxy: its servers, workers and flow runs find each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.forward_proxy import forward_proxy
from helpers.inboxes import Webhook
from helpers.processes import wait_until
from helpers.scale import takes_minutes
from helpers.unattended import Unattended

OUTSIDE = "10.11.12.13"
TIMEOUT_SECONDS = 600
TRAINING = {"env_id": "ALE/Breakout-v5", "approach": "random", "steps": 100}


@takes_minutes
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_training_run_is_followed_up(
    scheme: str, tmp_path: Path, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forward_proxy({OUTSIDE: f"http://{webhook.netloc}"}) as proxy:
        up = Unattended(tmp_path, f"json://{OUTSIDE}/")
        try:
            with monkeypatch.context() as patch:
                for name, value in proxy.environment(scheme).items():
                    patch.setenv(name, value)
                up.start()
            flow_run = up.run("train", TRAINING)
            assert wait_until(lambda: up.state(flow_run) in ("Completed", "Failed", "Crashed"), TIMEOUT_SECONDS, 0.5)
            assert up.state(flow_run) == "Completed"
            titles = [f"ramreel: {TRAINING['env_id']} has a new champion"]
            assert wait_until(lambda: titles[0] in [one["title"] for one in webhook.received], TIMEOUT_SECONDS, 0.5)
        finally:
            up.end()
    assert set(proxy.hosts) == {OUTSIDE}
