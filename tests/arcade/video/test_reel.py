"""A reel shows every episode from its reset on, at the frames its segments name."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt
import pytest
from helpers.episodes import random_play

from tasks.arcade.drawing.canvas import Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.emulator.emulator import Emulator, action_names
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.video.reel import RenderedReel, evenly_spaced, render_grid, render_sequence, select_evenly
from tasks.arcade.video.reel_cells import EpisodeGroup, ReelEpisode, ReelSegment
from tasks.arcade.video.reel_layout import AGENTS, ReelLayout
from tasks.arcade.video.reel_outputs import render_part

SECONDS = 0.5


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return [random_play("ALE/Pong-v5", steps, seed=seed) for seed, steps in ((1, 12), (2, 5), (3, 9), (4, 20))]


def sides_of(traces: list[Trace]) -> list[list[ReelEpisode]]:
    """Return the episodes of two runs, two of each."""
    return [[ReelEpisode(trace=trace, name=f"run {at % 2}", side=at % 2) for trace in traces[at::2]] for at in (0, 1)]


def screens_of(trace: Trace) -> list[npt.NDArray[np.uint8]]:
    emulator, screens = Emulator(trace.game), list[npt.NDArray[np.uint8]]()
    for _ in replay(trace, emulator=emulator, on_frame=lambda: screens.append(emulator.screen())):
        pass
    return screens


def assert_shows(path: Path, reel: RenderedReel, segment: ReelSegment, trace: Trace) -> None:
    """Compare a segment with the emulator's screens: luma, up to encoding errors."""
    x, y, width, height = segment.game
    screens = screens_of(trace)
    with Mp4Decoder(path) as decoder:
        frames = list(decoder)
    assert (len(frames), decoder.stream.width, decoder.stream.height) == (reel.frames, reel.width, reel.height)
    assert decoder.stream.sample_aspect_ratio == 1, "square pixels"
    assert width == pytest.approx(height * 4 / 3, abs=2)
    for index in range(segment.frames):
        luma = Canvas(reel.width, reel.height, frame=frames[segment.first_frame + index]).luma
        screen = rgb_to_ycbcr(screens[index])[..., 0]
        rows, columns = (
            (2 * np.arange(n) + 1) * of // (2 * n) for n, of in zip((height, width), screen.shape, strict=True)
        )
        difference = np.abs(luma[y : y + height, x : x + width].astype(int) - screen[rows][:, columns])
        assert difference.max() < 24, (segment, index)


def test_a_sequence_shows_groups_one_after_the_other(traces: list[Trace], tmp_path: Path) -> None:
    path, sides = tmp_path / "reel.mp4", sides_of(traces)
    reel = render_sequence(list(zip(*sides, strict=True)), path, SECONDS)
    assert [segment.side for segment in reel.shown] == [0, 1, 0, 1]
    assert [segment.ram_digest for segment in reel.shown] == [trace.ram_digest for trace in traces]
    limit = round(SECONDS * reel.fps)
    lengths = [min(limit, trace.frames + 1) for trace in traces]
    assert [segment.frames for segment in reel.shown] == lengths
    assert reel.frames == max(lengths[:2]) + max(lengths[2:])
    assert [segment.first_frame for segment in reel.shown] == [0, 0, max(lengths[:2]), max(lengths[:2])]
    for segment, trace in zip(reel.shown, traces, strict=True):
        assert_shows(path, reel, segment, trace)


def test_of_two_games_the_first_is_heard(traces: list[Trace]) -> None:
    first, second = (ReelEpisode(trace=trace, name="run", side=side) for side, trace in enumerate(traces[:2]))
    layout = ReelLayout(Emulator(first.trace.game).screen_size, 2, 2)
    group, sounds = EpisodeGroup(layout, [first, second], sound=True), list[npt.NDArray[np.uint8]]()
    emulator = Emulator(first.trace.game, first.trace.seed, sound=True)
    for _ in replay(first.trace, emulator=emulator, on_frame=lambda: sounds.append(emulator.sound().copy())):
        pass
    for sound in sounds:
        heard = group.draw()
        assert heard is not None
        assert np.array_equal(heard, sound)
    assert set(np.asarray(group.draw()).tolist()) == {128}, "silence after its end"


@pytest.mark.parametrize("game", ["Pong", "Boxing", "FishingDerby"])
def test_the_agents_figure_is_where_the_header_says(game: str) -> None:
    """Two emulators differ where the agent's figure is after other actions."""
    settings = resolve(f"ALE/{game}-v5").model_copy(update={"repeat_action_probability": 0.0})
    one, other = Emulator(settings, 0), Emulator(settings, 0)
    names = action_names(settings)
    for emulator in (one, other):
        emulator.reset(0)
        for _ in range(40):
            emulator.step(names.index("NOOP"))
    for _ in range(3):
        one.step(names.index("RIGHT"))
        other.step(names.index("LEFT"))
    screen, differs = one.screen(), (one.screen() != other.screen()).any(axis=2)
    assert differs.any()
    columns, colors = np.flatnonzero(differs.any(axis=0)), {tuple(color) for color in screen[differs].tolist()}
    place = {
        "right paddle": columns.min() > 80,
        "left fisher": columns.max() < 80,
        "white boxer": (214, 214, 214) in colors and (0, 0, 0) not in colors,
    }
    assert place[AGENTS[settings.rom]], (columns, colors)


def test_a_grid_shows_all_episodes_simultaneously(traces: list[Trace], tmp_path: Path) -> None:
    path, (first, second) = tmp_path / "grid.mp4", sides_of(traces)
    reel = render_grid([first, second], path, SECONDS)
    assert {segment.first_frame for segment in reel.shown} == {0}
    assert len({segment.game[:2] for segment in reel.shown}) == 4, "each in a cell"
    for segment, episode in zip(reel.shown, [*first, *second], strict=True):
        assert segment.side == episode.side
        assert_shows(path, reel, segment, episode.trace)


def test_the_animation_is_small_and_has_20_frames_per_second(traces: list[Trace], tmp_path: Path) -> None:
    path = tmp_path / "reel.webp"
    assert render_part("reel.webp", sides_of(traces), path, SECONDS) is None
    frames = iio.imread(path, index=..., plugin="pillow")
    assert len(frames) == 10
    assert len({frame.tobytes() for frame in frames}) > 5
    assert path.stat().st_size < 100_000


def test_evenly_spaced_indices_include_the_first_and_the_last() -> None:
    assert evenly_spaced(3, 16) == (0, 1, 2)
    assert evenly_spaced(100, 4) == (0, 33, 66, 99)
    assert evenly_spaced(5, 1) == (4,), "a single one is the last"
    with pytest.raises(ValueError, match="cannot select 4 of 0"):
        evenly_spaced(0, 4)


def test_two_runs_have_the_same_number_of_episodes_in_whole_rows() -> None:
    assert [len(indices) for indices in select_evenly([20])] == [16]
    assert [len(indices) for indices in select_evenly([7, 20])] == [6, 6]
    assert select_evenly([1, 3]) == ((0,), (2,))
