"""`ramreel render TRACE` renders a video without the policy, or fails with one line and leaves no file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.episodes import random_play

from flows.cli.app import run
from tasks.arcade.episodes.trace import write_trace
from tasks.arcade.video.render import render_video

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    played = random_play("ALE/Pong-v5", 20)
    write_trace(played, tmp_path / "step-7.trace.json")
    return tmp_path / "step-7.trace.json"


def changed(trace: Path, change: Change) -> Path:
    fields = json.loads(trace.read_text())
    change(fields)
    trace.write_text(json.dumps(fields))
    return trace


def test_a_trace_renders_to_the_same_video(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    render_video(random_play("ALE/Pong-v5", 20), tmp_path / "first.mp4")
    monkeypatch.chdir(tmp_path)
    assert run(["render", str(trace), "--json"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (result["path"], result["frames"]) == ("step-7.mp4", 81)
    assert Path("step-7.mp4").read_bytes() == Path("first.mp4").read_bytes()
    assert run(["render", str(trace)]) == 2, "an existing video is not overwritten"
    assert "--to" in capfd.readouterr().err
    assert run(["verify", "step-7.mp4", "--json"]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["videos"][0]["bit_exact"] is True


@pytest.mark.parametrize(
    ("change", "exit_code", "message"),
    [
        (lambda fields: fields.update(actions=[], rewards=[], digests=["0" * 8], length=0, frames=0), 2, "actions"),
        (lambda fields: fields["game"].update(rom="pong_two"), 2, "has no ROM 'pong_two'"),
        (lambda fields: fields.update(rom_sha256="0" * 64), 2, "differs from the trace's ROM"),
        (lambda fields: fields["actions"].__setitem__(3, 17), 2, "action 17 does not exist"),
        (lambda fields: fields["digests"].__setitem__(12, "0" * 8), 1, "RAM at step 12 differs from the trace"),
        (lambda fields: fields.update(schema=99), 2, "schema 99"),
    ],
    ids=["no step", "unknown game", "another ROM", "no such action", "another digest", "newer"],
)
def test_a_trace_that_cannot_be_rendered_is_an_error_of_one_line_and_leaves_no_file(
    change: Change, exit_code: int, message: str, trace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["render", str(changed(trace, change)), "--to", str(tmp_path / "video.mp4")]) == exit_code
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [trace.name]


@pytest.mark.parametrize(("program", "message"), [("/nowhere/ffmpeg", "ffmpeg"), ("/bin/false", "is not ffmpeg")])
def test_an_invalid_ffmpeg_is_named_before_anything_is_done(
    program: str,
    message: str,
    trace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", program)
    assert run(["render", str(trace), "--to", str(tmp_path / "video.mp4")]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [trace.name]
