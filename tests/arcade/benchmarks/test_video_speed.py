"""The video benchmark runs every contender on the same episode; its ratios are those of medians."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flows.cli.app import run
from tasks.arcade.benchmarks.video_speed import (
    DRAWING,
    ENCODING,
    PANEL,
    PLAIN,
    RECORD_VIDEO,
    SMALL,
    VideoSpeed,
    VideoSpeedSettings,
    measure_video,
)
from tasks.arcade.emulator.environment_ids import resolve

CEILINGS = [DRAWING, *(ENCODING + name for name in (SMALL, PLAIN, PANEL))]


def test_every_contender_records_the_same_episode(tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="moviepy, which RecordVideo uses, requires an older Pillow than ramreel")
    lines: list[str] = []
    speed = measure_video(
        VideoSpeedSettings(game=resolve("ALE/Boxing-v5"), frames=100, rounds=1), tmp_path, lines.append
    )
    assert list(speed.rounds) == [RECORD_VIDEO, SMALL, PLAIN, PANEL, *CEILINGS]
    assert all(value > 0 for values in speed.rounds.values() for value in values)
    assert len(lines) == len(speed.rounds)
    assert len(list(tmp_path.glob("peer/*.mp4"))) == 1, "RecordVideo wrote its video"


def test_ratios_are_of_medians() -> None:
    rounds = {RECORD_VIDEO: (1.0, 100.0, 900.0), SMALL: (300.0, 1.0, 301.0), PLAIN: (200.0, 200.0, 0.1)}
    rounds |= {PANEL: (60.0, 50.0, 70.0), DRAWING: (600.0, 600.0, 600.0)}
    rounds |= {ENCODING + name: (240.0, 240.0, 240.0) for name in (SMALL, PLAIN, PANEL)}
    speed = VideoSpeed(settings=VideoSpeedSettings(game=resolve("ALE/Pong-v5")), rounds=rounds)
    assert speed.vs_record_video == {SMALL: 3, PLAIN: 2, PANEL: 0.6}
    assert speed.of_ceilings == {SMALL: (0.5, 1.25), PLAIN: (200 / 600, 200 / 240), PANEL: (0.1, 0.25)}


def test_without_moviepy_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "moviepy", None)
    assert run(["benchmark", "video"]) == 2
    error = capfd.readouterr().err
    assert "pip install --no-deps moviepy" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"), [(["--frames", "3"], "frames"), (["--env", "CartPole-v1"], "no Atari RAM")]
)
def test_invalid_options_are_errors_of_one_line(
    options: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["benchmark", "video", *options]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
