"""A small video is the episode's beginning, frame for frame."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import emulator_for_trace, play, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.policies.agent import ActionSelector
from tasks.arcade.video.clip import render_clip


class Player:
    """Presses fire, then wanders."""

    def __init__(self) -> None:
        self._step = 0

    def start_episode(self) -> ActionSelector:
        return self.decide

    def decide(self, ram: object, previous: object, uniform: float | None) -> int:
        self._step += 1
        return 1 if self._step % 7 == 1 else self._step // 9 % 4


@pytest.fixture(scope="module")
def trace() -> Trace:
    return play(Player(), resolve("ALE/Breakout-v5"), 3, action_seed=3, deterministic=False, max_steps=150)


def pictures(path: Path) -> np.ndarray:
    """Decoded, one pixel of four: uint8 of shape (frames, 210, 160, 3)."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-i",
        str(path),
        "-vf",
        "scale=160:210:flags=neighbor",
    ]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(raw.stdout, np.uint8).reshape(-1, 210, 160, 3)


def test_every_frame_is_there_and_shows_what_the_emulator_drew(trace: Trace, tmp_path: Path) -> None:
    made = render_clip(trace, tmp_path / "clip.mp4", 10_000)
    shown = pictures(tmp_path / "clip.mp4")
    emulator, drawn = emulator_for_trace(trace), list[np.ndarray]()
    steps = list(replay(trace, emulator=emulator, on_frame=lambda: drawn.append(emulator.screen().copy())))
    assert made.frames == len(shown) == len(drawn) == trace.frames + 1
    for number in (0, 77, 78, 79, len(shown) - 1):
        small = shown[number].astype(int)
        assert np.abs(small - drawn[number]).mean() < 4, "of 255: compressed, not changed"
    assert made.fps == pytest.approx(59.92, abs=0.01)
    totals = np.cumsum([step.reward for step in steps])
    changes = [(step.frame, total) for step, total in zip(steps, totals, strict=True) if step.reward]
    assert changes, "points were made"
    assert list(made.score) == changes
    assert (tmp_path / "clip.mp4").stat().st_size < 120_000


def test_a_clip_ends_with_the_step_that_reaches_its_length(trace: Trace, tmp_path: Path) -> None:
    made = render_clip(trace, tmp_path / "clip.mp4", 100)
    assert 100 <= made.frames < 104
    assert len(pictures(tmp_path / "clip.mp4")) == made.frames


def test_another_game_than_the_traces_is_no_video(trace: Trace, tmp_path: Path) -> None:
    other = trace.model_copy(update={"actions": (2, *trace.actions[1:])})
    with pytest.raises(VideoError, match="other RAM at step"):
        render_clip(other, tmp_path / "clip.mp4", 10_000)
