"""From a video without a trace back to RAM: an emulator follows the pictures, and the actions are inferred as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tasks.arcade.atomic_write import atomic_file
from tasks.arcade.decoding.histories import History, read_history
from tasks.arcade.decoding.state_search import Hypothesis, StateSearch
from tasks.arcade.drawing.luma_reader import Luma, LumaReader, Resampler, resamplers
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import EpisodeRunner, TraceRecorder
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.video.luma_matcher import COLOR_SPACES, ColorSpace, LumaMatcher
from tasks.arcade.video.picture_timing import MAX_PICTURES, RepeatDetector, moviepy_indices
from tasks.arcade.video.verify import TOLERANCE

_HELD = 0.75
"""Assumed probability that a frame repeats the action of the one before, in a video of every frame."""
_FULL_RATE = 40
"""Frames per second from which a video is expected to show every frame."""
_COARSER, _COARSEST = 3, 2 * TOLERANCE
"""Accepted difference of a block: that of the proof of videos, or of a coarser video this multiple of what the first
picture, whose state is known, differs by. In motion the right state differs by up to three times as much as at the
start, and the state of another step by a median of 30 to 50: what differs by more than the limit cannot be followed."""
_LOSSLESS = 1.0
"""Largest difference of pictures that differ by rounding only."""
_START = 30
"""Pictures at the start of a video that must be followed; otherwise it is not one of this game."""


class NotFollowedError(RamreelError, ValueError):
    """The video is not one of an episode of the game from its reset."""


@dataclass(frozen=True)
class FollowedVideo:
    """RAM and actions behind a video.

    Row 0 is the reset; row t is the state after the t-th step, or frame if the video shows every frame.

    Attributes:
        trace: The most probable episode, at one frame per step without sticky actions: its actions are those that the
            console executed.
        history: RAM, actions and their probabilities.
        pictures: Picture that shows each row, from 0, or -1: int32 of shape (n + 1,).
        lost: Whether no state showed the row's picture: bool of shape (n + 1,).
        every_frame: Whether the video shows every frame, and not one per step.
        repeats: Whether pictures are repeated in place of others, as MoviePy does.
        n_pictures: Pictures of the video.
        lost_at: First picture from which on none was explained; None if the last one is.
        largest_difference: Largest root mean square difference of a block's luma that was accepted, of 255.
        mean_hypotheses: Mean number of states that were kept.
    """

    trace: Trace
    history: History
    pictures: npt.NDArray[np.int32]
    lost: npt.NDArray[np.bool_]
    every_frame: bool
    repeats: bool
    n_pictures: int
    lost_at: int | None
    largest_difference: float
    mean_hypotheses: float

    @property
    def n_steps(self) -> int:
        """Number of steps, or frames if the video shows every frame."""
        return len(self.history.actions)


def write_ram(followed: FollowedVideo, path: Path) -> None:
    """Write the RAM and the actions behind a video as a compressed .npz file, atomically.

    Raises:
        OSError: The file cannot be written; no partial file remains.
    """
    history = followed.history
    with atomic_file(path, ".npz") as temporary:
        np.savez_compressed(
            temporary,
            ram=history.ram,
            confidence=history.confidence,
            # After the end of an episode no further frames are emulated.
            frames=np.minimum(history.frames, followed.trace.frames),
            pictures=followed.pictures,
            lost=followed.lost,
            actions=history.actions,
            action_probabilities=history.action_probabilities,
            action_names=np.array(history.action_names),
        )


class _Scan(NamedTuple):
    """What a first pass over a video tells."""

    n_pictures: int
    size: tuple[int, int]
    frame_rate: Fraction
    first: npt.NDArray[np.uint8]
    repeats: bool


class _Pursuit:
    """One reading of a video: every picture a step, or every picture a frame.

    Attributes:
        lost_since: Picture since which no state shows the pictures; None if one does.
    """

    def __init__(self, game: GameSettings, matcher: LumaMatcher, indices: Sequence[int]) -> None:
        self.game, self._indices, self._matcher = game, indices, matcher
        self._search = StateSearch(game, self._matcher, keeps_history=True)
        self._actions = range(self._search.emulator.n_actions)
        self._pictures, self._lost, self._kept = [0], [False], list[int]()
        self._found: tuple[int, list[Hypothesis]] = (0, [])
        self.lost_since: int | None = None

    def start(self, picture: Luma) -> None:
        self._matcher.observe(picture)
        self._search.start()
        self._matcher.accept()
        self._found = (0, self._search.hypotheses)

    def follow(self, number: int, picture: Luma) -> None:
        """Follow the steps up to a picture."""
        steps = self._indices[number] - self._indices[number - 1]
        for _ in range(steps - 1):
            self._search.advance(self._actions, seen=False)
            self._append(-1, lost=self.lost_since is not None)
        if not steps:
            return
        self._matcher.observe(picture)
        found = self._search.advance(self._actions)
        self._append(number, lost=not found)
        if found:
            self._matcher.accept()
            self._found, self.lost_since = (len(self._lost) - 1, self._search.hypotheses), None
        elif self.lost_since is None:
            self.lost_since = number

    def _append(self, picture: int, *, lost: bool) -> None:
        self._pictures.append(picture)
        self._lost.append(lost)
        self._kept.append(len(self._search.hypotheses))

    @property
    def n_found(self) -> int:
        """Steps up to the last picture that a state shows."""
        return self._found[0]

    @property
    def n_lost(self) -> int:
        """Pictures that no state shows."""
        return sum(self._lost)

    def result(self, scan: _Scan, *, every_frame: bool) -> FollowedVideo:
        """Return the RAM up to the last picture that a state shows."""
        steps, hypotheses = self._found
        lost = np.array(self._lost[: steps + 1])
        # Once lost, the nearest states are kept: what a lossy video shows later does not prove that one is right.
        uncertain = lost if self._matcher.worst < _LOSSLESS else np.logical_or.accumulate(lost)
        history = read_history(hypotheses, self._search.emulator.action_names, uncertain)
        return FollowedVideo(
            trace=_replay(self.game, history),
            history=history,
            pictures=np.array(self._pictures[: steps + 1], np.int32),
            lost=lost,
            every_frame=every_frame,
            repeats=scan.repeats and not every_frame,
            n_pictures=scan.n_pictures,
            lost_at=self.lost_since,
            largest_difference=self._matcher.worst,
            mean_hypotheses=float(np.mean(self._kept[:steps])),
        )


def follow_video(
    path: Path, game: GameSettings, *, max_lost: int = 10, on_picture: Callable[[int, int], object] | None = None
) -> FollowedVideo:
    """Return the RAM and the actions behind a video of an episode from its reset.

    Args:
        path: MP4, Matroska, AVI or GIF with the game's screen and nothing else, at its own resolution or larger.
        game: Emulator settings of the environment that was recorded.
        max_lost: Pictures in a row that no state may show before following stops.
        on_picture: Called after each picture with the number of pictures so far and of all.

    Raises:
        VideoError: The file is not a video.
        NotFollowedError: The video is not one of the game, does not begin at the reset, or has no second picture.
    """
    with threadpool_limits(1):
        return _follow(path, game, max_lost, on_picture)


def _follow(
    path: Path, game: GameSettings, max_lost: int, on_picture: Callable[[int, int], object] | None
) -> FollowedVideo:
    scan = _scan(path)
    resample, color_space, difference = _start(path, scan, game)
    tolerance = min(max(TOLERANCE, _COARSER * difference), _COARSEST)
    pursuits = _pursuits(scan, game, lambda: LumaMatcher(color_space, tolerance))
    for pursuit in pursuits:
        pursuit.start(resample(scan.first))
    active = list(pursuits)
    with LumaReader(path) as reader:
        for number, picture in enumerate(reader):
            if number:
                luma = resample(picture)
                for pursuit in active:
                    pursuit.follow(number, luma)
                active = [one for one in active if one.lost_since is None or number - one.lost_since < max_lost]
            if on_picture:
                on_picture(number + 1, scan.n_pictures)
            if not active:
                break
    best = min(pursuits, key=lambda one: (-one.n_found if one not in active else -np.inf, one.n_lost))
    followed = best.n_found
    if followed < min(_START, scan.n_pictures - 1):
        raise NotFollowedError(
            f"{path}: {game.env_id} never shows picture {best.lost_since} after those before. Expected an episode from "
            f"its reset, with a picture of every frame or of every step of {_frames(game)} (--frame-skip)"
        )
    return best.result(scan, every_frame=best.game != game)


def _frames(game: GameSettings) -> str:
    skip = game.frame_skip
    return f"{skip} frame{'' if skip == 1 else 's'}" if isinstance(skip, int) else f"{skip[0]} to {skip[1] - 1} frames"


def _scan(path: Path) -> _Scan:
    with LumaReader(path) as reader:
        first, count = None, 0
        detector = RepeatDetector(moviepy_indices(MAX_PICTURES, reader.frame_rate or Fraction(30)))
        for picture in reader:
            first = picture if first is None else first
            count += 1
            if count > MAX_PICTURES:
                raise NotFollowedError(f"{path} has more than {MAX_PICTURES:,} pictures: expected one episode")
            detector.add(picture)
        if first is None or count < 2:
            raise NotFollowedError(f"{path} has fewer than two pictures: expected an episode from its reset")
        return _Scan(count, reader.size, reader.frame_rate, first, detector.repeats)


def _start(path: Path, scan: _Scan, game: GameSettings) -> tuple[Resampler, ColorSpace, float]:
    """Return the scaling and color space with which the first picture is most like the game's start, and how much."""
    emulator = Emulator(game)
    emulator.reset()
    (height, width), (lines, columns) = scan.size, emulator.screen_size
    ways = resamplers(scan.size, emulator.screen_size)
    if not ways:
        raise NotFollowedError(
            f"{path} is {width}x{height}. Expected at least {columns}x{lines}, the screen of {game.env_id}"
        )
    fits = []
    for resample in ways:
        picture = resample(scan.first)
        for color_space in COLOR_SPACES:
            matcher = LumaMatcher(color_space)
            matcher.observe(picture)
            matcher.compare(emulator)
            matcher.accept()
            fits.append((matcher.worst, resample, color_space))
    worst, resample, color_space = min(fits, key=lambda fit: fit[0])
    if worst > _COARSEST / _COARSER:
        raise NotFollowedError(
            f"{path} does not begin at the start of {game.env_id}: its first picture ({width}x{height}) differs by "
            f"{worst:.1f} of 255, where encoding may explain {_COARSEST // _COARSER}. Expected the game's screen "
            f"({columns}x{lines}) in its own palette, from the reset"
        )
    return resample, color_space, worst


def _pursuits(scan: _Scan, game: GameSettings, matcher: Callable[[], LumaMatcher]) -> list[_Pursuit]:
    """Return the readings of a video, the likelier one first."""
    every: Sequence[int] = range(scan.n_pictures)
    steps = moviepy_indices(scan.n_pictures, scan.frame_rate).tolist() if scan.repeats else every
    pursuits = [_Pursuit(game, matcher(), steps)]
    if game.frame_skip != 1:
        by_frame = game.model_copy(update={"frame_skip": 1, "repeat_action_probability": _HELD})
        pursuits.append(_Pursuit(by_frame, matcher(), every))
    return pursuits[::-1] if scan.frame_rate > _FULL_RATE else pursuits


def _replay(game: GameSettings, history: History) -> Trace:
    """Return the trace of the executed actions, played again."""
    played = game.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0})
    runner = EpisodeRunner(Emulator(played, 0))
    step = runner.reset(0)
    recorder = TraceRecorder(step)
    for action in history.executed:
        if step.ended:
            break
        step = runner.step(int(action))
        recorder.append(int(action), step)
    return recorder.trace(played, 0, action_seed=0, deterministic=False, checkpoint=None, checkpoint_step=None)
