"""A request that a server fails to handle once, as while one of its databases is away, is sent again."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.approaches import settings_file
from helpers.processes import started
from helpers.proxy import proxied
from prefect.settings import PREFECT_API_URL

from tasks.store import Store


def test_flow_run_survives_a_request_that_its_prefect_server_fails_to_handle(
    prefect_server: None, home: Path, store: Store, tmp_path: Path
) -> None:
    api = PREFECT_API_URL.value()
    assert api
    arguments = ["train", "ALE/Breakout-v5", "--settings", str(settings_file(tmp_path)), "--steps", "128", "--json"]
    with proxied(api) as proxy:
        proxy.failing = "/set_state"
        with started(arguments, home, {"PREFECT_API_URL": f"{proxy.address}/api"}) as command:
            code, out, errors = command.wait()
    assert proxy.failing is None, "a request failed"
    assert code == 0, errors
    assert store.run(json.loads(out.splitlines()[-1])["run_id"]).status == "FINISHED"
