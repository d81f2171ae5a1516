"""Reels: several episodes in one video, one after the other or side by side.

Frames are streamed: only the frames of one step of each episode are held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

from tasks.arcade.drawing.canvas import RgbImage
from tasks.arcade.drawing.mp4_encoder import Mp4Encoder
from tasks.arcade.episodes.playing import emulator_for_trace
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.reel_cells import EpisodeGroup, ReelEpisode, ReelSegment
from tasks.arcade.video.reel_layout import AGENTS, ReelLayout
from tasks.arcade.video.render import video_format

MAX_EPISODES = 16
"""Episodes of one run in a reel: a grid of four by four."""
_EPISODES_PER_RUN = (1, 2, 3, 4, 6, 8)
"""Episodes of each of two runs that fill whole rows of a grid."""


class RenderedReel(Settings):
    """A reel that was written."""

    frames: int
    width: int
    height: int
    fps: float
    shown: tuple[ReelSegment, ...]


def evenly_spaced(n: int, at_most: int) -> tuple[int, ...]:
    """Return at most `at_most` evenly spaced indices out of n, including the first and the last.

    If a single one is requested, it is the last.

    Raises:
        ValueError: No index can be selected.
    """
    count = min(n, at_most)
    if count < 1:
        raise ValueError(f"cannot select {at_most} of {n}")
    return (n - 1,) if count == 1 else tuple(round(k * (n - 1) / (count - 1)) for k in range(count))


def select_evenly(counts: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Select the checkpoints of one run or two for a reel: evenly spaced indices, the same number for each run.

    Args:
        counts: Number of checkpoints of each run.
    """
    at_most = MAX_EPISODES if len(counts) == 1 else max(n for n in _EPISODES_PER_RUN if n <= min(counts))
    return tuple(evenly_spaced(n, at_most) for n in counts)


def render_sequence(groups: Sequence[Sequence[ReelEpisode]], path: Path, seconds: float) -> RenderedReel:
    """Render groups of episodes one after the other; the episodes of a group play side by side.

    Of two games at once, only the first run's is heard, and the header marks it.

    Args:
        groups: Groups of one or two episodes of one game, all of the same size.
        path: Path of the video, in a folder that exists. The file appears complete or not at all.
        seconds: Maximum duration of each group, which ends earlier if all its episodes have ended.

    Raises:
        TraceError: A trace cannot be replayed with the installed ale-py.
        VideoError: A replay differs from its trace, or ffmpeg failed.
    """
    return _render(groups, path, seconds, columns=len(groups[0]), sound=True)


def render_grid(sides: Sequence[Sequence[ReelEpisode]], path: Path, seconds: float) -> RenderedReel:
    """Render a silent video of episodes side by side, up to four by four, all starting at their reset.

    Args:
        sides: Episodes of one run or two, the same number for each run; their rows alternate.
        path: Path of the video, in a folder that exists. The file appears complete or not at all.
        seconds: Maximum duration.

    Raises:
        TraceError: A trace cannot be replayed with the installed ale-py.
        VideoError: A replay differs from its trace, or ffmpeg failed.
    """
    columns, episodes = _arrange(sides)
    return _render([episodes], path, seconds, columns=columns, sound=False)


def grid_frames(sides: Sequence[Sequence[ReelEpisode]], seconds: float, every: int) -> Iterator[RgbImage]:
    """Yield every `every`-th frame of a small grid, as RGB images for an animation.

    Raises:
        TraceError: A trace cannot be replayed with the installed ale-py.
        VideoError: A replay differs from its trace.
    """
    columns, episodes = _arrange(sides)
    screen_size = emulator_for_trace(episodes[0].trace).screen_size
    layout = ReelLayout(screen_size, len(episodes), columns, small=True)
    _draw_header(layout, episodes)
    group = EpisodeGroup(layout, episodes, sound=False)
    for index in range(group.length(seconds)):
        group.draw()
        if index % every == 0:
            yield layout.canvas.to_rgb()


def _arrange(sides: Sequence[Sequence[ReelEpisode]]) -> tuple[int, list[ReelEpisode]]:
    """Return the number of columns, and the episodes row by row."""
    n = len(sides[0])
    if len(sides) == 1:
        return (2 if n == 2 else ceil(n**0.5)), list(sides[0])
    columns = n if n <= 4 else n // 2
    if n == 1:
        return 2, [episode for side in sides for episode in side]
    return columns, [episode for at in range(0, n, columns) for side in sides for episode in side[at : at + columns]]


def _draw_header(layout: ReelLayout, episodes: Sequence[ReelEpisode], *, sound: bool = False) -> None:
    game = episodes[0].trace.game
    agent = f"  ·  agent: {AGENTS[game.rom]}" if game.rom in AGENTS else ""
    runs = sorted({(episode.side, episode.name) for episode in episodes})
    if sound and len(runs) > 1:
        runs[0] = (runs[0][0], f"{runs[0][1]} (sound)")
    layout.draw_header(game.env_id + agent, runs)


def _render(
    groups: Sequence[Sequence[ReelEpisode]], path: Path, seconds: float, *, columns: int, sound: bool
) -> RenderedReel:
    emulator = emulator_for_trace(groups[0][0].trace)
    layout = ReelLayout(emulator.screen_size, len(groups[0]), columns)
    encoded = video_format(layout.canvas, emulator, sound=sound)
    _draw_header(layout, [episode for group in groups for episode in group], sound=sound)
    has_progress = len(groups) > 1
    if has_progress:
        for part in range(len(groups)):
            layout.draw_progress(part, len(groups), 0)
    segments: list[ReelSegment] = []
    with Mp4Encoder(path, encoded, _metadata(groups)) as encoder:
        for part, episodes in enumerate(groups):
            group, first_frame = EpisodeGroup(layout, episodes, sound=sound), encoder.frames
            length = group.length(seconds)
            for index in range(1, length + 1):
                audio = group.draw()
                if has_progress:
                    layout.draw_progress(part, len(groups), index / length)
                encoder.write(layout.canvas.frame, audio)
            segments += group.segments(first_frame)
    return RenderedReel(
        frames=encoder.frames,
        width=encoded.width,
        height=encoded.height,
        fps=float(encoded.frame_rate),
        shown=tuple(segments),
    )


def _metadata(groups: Sequence[Sequence[ReelEpisode]]) -> dict[str, str]:
    episodes = [episode for group in groups for episode in group]
    names = " and ".join(dict.fromkeys(episode.name for episode in episodes))
    digests = " ".join(episode.trace.ram_digest[:16] for episode in episodes)
    return {
        "title": f"{episodes[0].trace.game.env_id}, {names}: {pluralize(len(episodes), 'checkpoint')}",
        "comment": f"ramreel: seed {episodes[0].trace.seed}, RAM digests {digests}",
    }
