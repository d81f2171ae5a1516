"""`doctor` checks the machine with real parts, a training run of five seconds included."""

import json
from pathlib import Path

import pytest

from flows.cli.app import run


def test_doctor_names_what_is_wrong(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAMREEL_HOME", str(home))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/true")
    assert run(["doctor", "--json"]) == 1
    printed = capfd.readouterr()
    checks = {one["name"]: one for one in json.loads(printed.out.splitlines()[-1])["checks"]}
    assert checks["ffmpeg"] == {"name": "ffmpeg", "ok": False, "details": checks["ffmpeg"]["details"]}
    assert "is not ffmpeg: unset IMAGEIO_FFMPEG_EXE" in checks["ffmpeg"]["details"]
    assert "steps/s of ppo-tuned on ALE/Pong-v5" in checks["training"]["details"]
    assert [one["name"] for one in checks.values() if not one["ok"] and one["name"] != "ports"] == ["ffmpeg"]
    assert "WRONG  ffmpeg: " in printed.err
