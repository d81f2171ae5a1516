"""The unit file of systemd is valid, and stops `ramreel up` as it wants to be stopped."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.services import workers

UNIT = Path(__file__).parents[2] / "deployments/ramreel.service"


def unit() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(UNIT.read_text("utf-8"))
    return parsed


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # The command need not be installed where the unit expects it.
    copy.write_text(UNIT.read_text("utf-8").replace(unit()["Service"]["ExecStart"], "/bin/true"))
    completed = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")


def test_service_is_started_again_and_stopped_like_ctrl_c() -> None:
    parsed = unit()
    service = parsed["Service"]
    assert service["ExecStart"].split()[1:] == ["up"]
    assert service["Restart"] == "always"
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"
    assert (service["KillMode"], service["SuccessExitStatus"]) == ("mixed", "130")
    assert int(service["TimeoutStopSec"]) > workers._STOP_SECONDS + 10, "training runs save a last checkpoint"
    assert service["Environment"] == f"RAMREEL_HOME={service['WorkingDirectory']}"
