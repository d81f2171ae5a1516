"""The code blocks of the page "Serving a policy": Python in order, then the server and the request to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import Server, free_port, running

from tasks.store import ChampionRegistry, Store

PAGE = Path(__file__).parents[2] / "docs/serving.md"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_code_blocks_run_in_order(at_home: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(at_home)
    python, shell = blocks("python"), blocks("sh")
    assert (len(python), len(shell)) == (3, 2)
    namespace: dict[str, Any] = {"__name__": "docs.serving"}
    for number, block in enumerate(python, 1):
        exec(compile(block, f"docs/serving.md, code block {number}", "exec"), namespace)  # noqa: S102 - our own page
    registry = ChampionRegistry(store.address)
    (checkpoint,) = store.list_checkpoints(namespace["trained"].run_id)
    registry.set_champion(registry.register("ALE/Pong-v5", checkpoint, "trained by the page"))
    port = free_port()
    serve, request = (block.replace("5001", str(port)) for block in shell)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    with running(Server(["bash", "-c", serve], at_home, f"http://127.0.0.1:{port}", "/ping", environment)):
        tracked = {**os.environ, **environment, "MLFLOW_TRACKING_URI": store.address.uri}
        done = subprocess.run(
            ["bash", "-ec", request], cwd=at_home, env=tracked, capture_output=True, text=True, check=True
        )
    predictions = json.loads(done.stdout.splitlines()[-1])["predictions"]
    assert predictions.keys() == {"action", "probabilities", "value"}
    expected = namespace["model"].predict(namespace["model"].input_example)
    assert predictions["probabilities"] == expected["probabilities"].tolist()
