"""A highlight shows the liveliest stretch of an episode, frame for frame, with square pixels and its sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
import pytest
from helpers.episodes import network_checkpoint, play_checkpoint

from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.episodes.playing import emulator_for_trace, replay
from tasks.arcade.video.highlight import liveliest_stretch, render_highlight

STEPS = 40
FRAMES = [4 * step for step in range(1, STEPS + 1)]


def stretch(scored: dict[int, int], values: dict[int, float], length: int = 40) -> int:
    """Return the first frame of the liveliest stretch, with rewards and value estimates by step."""
    rewards = [scored.get(step, 0) for step in range(STEPS)]
    estimates = np.cumsum([values.get(step, 0.0) for step in range(STEPS)]).tolist()
    return liveliest_stretch(FRAMES, rewards, estimates, length)


def test_the_liveliest_stretch_has_most_score_changes_and_value_swings() -> None:
    assert 84 <= stretch({5: 1, 29: -1, 30: 1}, {}) <= 120, "two changes of the score instead of one"
    assert stretch({5: 100}, {}) == stretch({5: 1}, {}), "however many points"
    assert stretch({}, {30: 1.0, 31: -1.0, 5: 1.0}) > 80, "swings of the value in both directions"
    assert stretch({5: 1, 35: 1}, {34: 1.0}) > 100, "both together"
    start = stretch({20: 1}, {})
    assert abs(start + 20 - FRAMES[20]) <= 1, "an event has as much before it as after it"
    assert stretch({}, {}) <= FRAMES[-1] + 1 - 40, "an episode in which nothing happens"
    assert stretch({3: 1}, {}, length=1000) == 0, "the whole of a short episode"


def test_a_highlight_shows_the_emulators_screens_of_its_stretch(tmp_path: Path) -> None:
    checkpoint = network_checkpoint("ALE/Pong-v5")
    trace, path = play_checkpoint(checkpoint, 150), tmp_path / "highlight.mp4"
    highlight = render_highlight(checkpoint, trace, path, 1.0)
    assert (highlight.frames, highlight.width, highlight.height) == (60, 560, 420)
    frames = [4 * step for step in range(1, trace.length + 1)]
    ends = [frame for frame, reward in zip(frames, trace.rewards, strict=True) if reward]
    assert any(highlight.first_frame <= frame < highlight.first_frame + 60 for frame in ends), "a point is scored"
    emulator, screens = emulator_for_trace(trace), list[np.ndarray]()
    for _ in replay(trace, emulator=emulator, on_frame=lambda: screens.append(emulator.screen().copy())):
        pass
    decoded = iio.imread(path, plugin="pyav")
    columns = (2 * np.arange(560) + 1) * 160 // 1120
    for index in (0, 30, 59):
        expected = screens[highlight.first_frame + index].repeat(2, axis=0)[:, columns]
        assert np.abs(decoded[index].astype(int) - expected).mean() < 4, "of 255: compressed, not changed"
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(1), "square pixels"
        assert len(container.streams.audio) == 1
    assert path.stat().st_size < 100_000


def test_a_replay_that_differs_from_the_trace_is_an_error(tmp_path: Path) -> None:
    checkpoint = network_checkpoint("ALE/Pong-v5")
    trace = play_checkpoint(checkpoint, 30)
    other = trace.model_copy(update={"digests": (*trace.digests[:9], "0" * 8, *trace.digests[10:])})
    with pytest.raises(VideoError, match="RAM at step 9 differs from the trace"):
        render_highlight(checkpoint, other, tmp_path / "highlight.mp4", 10)
    assert list(tmp_path.iterdir()) == []
