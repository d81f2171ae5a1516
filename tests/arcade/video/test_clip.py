"""A clip shows the beginning of an episode, frame for frame."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import emulator_for_trace, play, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.policies.agent import ActionSelector
from tasks.arcade.video.clip import render_clip


class Player:
    """Presses fire every seven steps, and moves in between."""

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


def decode(path: Path) -> np.ndarray:
    """Return the frames at the game's own size: uint8 of shape (frames, 210, 160, 3)."""
    return iio.imread(path, plugin="pyav")[:, ::2, ::2]


def test_every_frame_shows_the_emulators_screen(trace: Trace, tmp_path: Path) -> None:
    clip = render_clip(trace, tmp_path / "clip.mp4", 10_000)
    decoded = decode(tmp_path / "clip.mp4")
    emulator, screens = emulator_for_trace(trace), list[np.ndarray]()
    steps = list(replay(trace, emulator=emulator, on_frame=lambda: screens.append(emulator.screen().copy())))
    assert clip.frames == len(decoded) == len(screens) == trace.frames + 1
    for index in (0, 77, 78, 79, len(decoded) - 1):
        assert np.abs(decoded[index].astype(int) - screens[index]).mean() < 4, "of 255: compressed, not changed"
    assert clip.fps == pytest.approx(59.92, abs=0.01)
    totals = np.cumsum([step.reward for step in steps])
    changes = [(step.frame, total) for step, total in zip(steps, totals, strict=True) if step.reward]
    assert changes, "the score changes"
    assert list(clip.score) == changes
    assert (tmp_path / "clip.mp4").stat().st_size < 120_000
    assert np.array_equal(iio.imread(clip.poster), screens[len(screens) // 2]), "the first screen may be empty"


def test_a_clip_ends_with_the_step_that_reaches_its_maximum_length(trace: Trace, tmp_path: Path) -> None:
    clip = render_clip(trace, tmp_path / "clip.mp4", 100)
    assert 100 <= clip.frames < 104
    assert len(decode(tmp_path / "clip.mp4")) == clip.frames
    shorter = render_clip(trace, tmp_path / "clip.mp4", 50)
    assert shorter.poster != clip.poster, "its own middle"


def test_a_replay_that_differs_from_the_trace_is_an_error(trace: Trace, tmp_path: Path) -> None:
    other = trace.model_copy(update={"actions": (2, *trace.actions[1:])})
    with pytest.raises(VideoError, match=r"RAM at step \d+ differs from the trace"):
        render_clip(other, tmp_path / "clip.mp4", 10_000)
