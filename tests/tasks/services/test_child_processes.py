"""A service that receives SIGTERM ends what it has started before it exits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from helpers.processes import ROOT

# The child needs a moment to end, like a worker whose training run saves a last checkpoint.
SERVICE = """
import sys, time
from tasks.services.child_processes import child_process, sigterm_as_ctrl_c

script = f"trap 'sleep 0.5; echo saved > {sys.argv[1]}; exit' TERM; echo ready > {sys.argv[2]}; "
script += "while :; do sleep 0.1; done"
with sigterm_as_ctrl_c(), child_process("child", ["sh", "-c", script], {}):
    print("started", flush=True)
    time.sleep(600)
"""


def test_children_end_before_a_service_that_receives_sigterm(tmp_path: Path) -> None:
    saved, ready = tmp_path / "saved", tmp_path / "ready"
    os.mkfifo(ready)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SERVICE, saved, ready]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        assert ready.read_text() == "ready\n"
        assert service.stdout is not None
        assert service.stdout.readline() == "started\n"
        service.send_signal(signal.SIGTERM)
        service.wait()
        assert saved.read_text() == "saved\n", "the child had the time that it needs"
        assert service.stderr is not None
        assert "KeyboardInterrupt" in service.stderr.read()
