"""How fast videos are made, beside Gymnasium's RecordVideo and beside what there is to reach at all.

Every contender videos the same frames of the same episode, in turn, round after round; medians and ratios are what
counts. This is the one room that knows moviepy, which RecordVideo writes with: as the yardstick.
"""

from __future__ import annotations

import statistics
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import RecordVideo
from threadpoolctl import threadpool_limits

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.mp4_encoder import VideoError, VideoFormat, find_ffmpeg, picture_arguments
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.episodes.playing import emulator_for_trace, play, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.commands import CONTENDER_FRAMES, ROUNDS, ContenderFrames, Rounds
from tasks.arcade.policies.algorithms import policy_weight_shapes
from tasks.arcade.policies.features import Statistics
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.video.panel import Caption, PanelRenderer
from tasks.arcade.video.render import FrameRenderer, PlainRenderer, render_video, replay_frames, video_format

RECORD_VIDEO, SMALL, PLAIN = "RecordVideo", "plain, the same size", "plain, 640 wide"
PANEL = "panel and sound, 1280x720"
DRAWING, ENCODING = "the emulator with drawing alone", "x264 alone, "
_RAW_BYTES = 512 * 1024**2
"""Of pictures that wait in a file for the encoder alone: of larger pictures fewer."""
_TRIES = 50


class NoMoviepyError(RamreelError):
    """RecordVideo cannot write videos here; the message says what to install."""


class VideoSpeedSettings(Settings):
    """What is measured."""

    game: GameSettings
    frames: ContenderFrames = CONTENDER_FRAMES
    rounds: Rounds = ROUNDS


class VideoSpeed(Settings):
    """Frames a second of every contender, round by round, from nothing to the whole file."""

    settings: VideoSpeedSettings
    rounds: dict[str, tuple[float, ...]]

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.rounds.items()}

    @property
    def vs_record_video(self) -> dict[str, float]:
        """Each of ramreel's videos, as a multiple of RecordVideo."""
        medians = self.medians
        return {name: medians[name] / medians[RECORD_VIDEO] for name in (SMALL, PLAIN, PANEL)}

    @property
    def of_ceilings(self) -> dict[str, tuple[float, float]]:
        """Each as a share of the emulator with drawing alone, and of the encoder alone on the same pictures."""
        medians = self.medians
        return {
            name: (medians[name] / medians[DRAWING], medians[name] / medians[ENCODING + name])
            for name in (SMALL, PLAIN, PANEL)
        }


@dataclass(frozen=True)
class _Scene:
    """What is recorded, and by whom it is played."""

    checkpoint: Checkpoint
    trace: Trace
    folder: Path

    @property
    def looks(self) -> Mapping[str, Callable[[Emulator], FrameRenderer]]:
        caption = Caption("an episode", "for the benchmark")
        return {
            SMALL: partial(PlainRenderer, across=1, down=1),
            PLAIN: PlainRenderer,
            PANEL: partial(PanelRenderer, checkpoint=self.checkpoint, caption=caption),
        }


def measure_video(settings: VideoSpeedSettings, folder: Path, said: Callable[[str], None]) -> VideoSpeed:
    """Measure all contenders in turn.

    Args:
        settings: what is measured.
        folder: an empty one, for some gigabytes of videos and pictures.
        said: told each figure as it comes.

    Raises:
        NoMoviepyError: there is no moviepy.
        VideoError: there is no ffmpeg, or it failed.
        ValueError: no episode of the game is so long.
    """
    _check_moviepy()
    with threadpool_limits(1):
        scene = _scene(settings, folder)
        contenders: dict[str, Callable[[], float]] = {
            RECORD_VIDEO: partial(_record_video, scene),
            SMALL: partial(_record_video_of, scene, SMALL),
            PLAIN: partial(_record_video_of, scene, PLAIN),
            PANEL: partial(_record_video_of, scene, PANEL, sound=True),
            DRAWING: partial(_drawing, scene),
        }
        for name, look in scene.looks.items():
            contenders[ENCODING + name] = partial(_encoding, *_raw(scene, name, look))
        rounds: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(settings.rounds):
            for name, contender in contenders.items():
                rounds[name].append(contender())
                said(f"round {number + 1} of {settings.rounds}: {name}: {rounds[name][-1]:,.0f} frames/s")
    return VideoSpeed(settings=settings, rounds={name: tuple(values) for name, values in rounds.items()})


def _check_moviepy() -> None:
    try:
        import moviepy  # noqa: F401
    except ImportError:
        raise NoMoviepyError(
            "RecordVideo writes its videos with moviepy, which is not installed: "
            "pip install --no-deps moviepy imageio decorator proglog tqdm"
        ) from None


def _scene(settings: VideoSpeedSettings, folder: Path) -> _Scene:
    """An episode of a network that has learned nothing: recording it costs what recording one that has learned costs."""
    checkpoint, skip = _untrained(settings.game), settings.game.frame_skip
    steps = settings.frames // (skip if isinstance(skip, int) else (skip[0] + skip[1] - 1) // 2)
    agent = checkpoint.agent()
    for seed in range(_TRIES):
        trace = play(agent, settings.game, seed, action_seed=seed, deterministic=False, max_steps=steps)
        if trace.length == steps:
            return _Scene(checkpoint, trace, folder)
    raise ValueError(f"frames: no episode of {settings.game.env_id} has {settings.frames}: ask for fewer")


def _untrained(game: GameSettings) -> Checkpoint:
    settings, emulator, rng = approach("ppo-tuned"), Emulator(game), np.random.default_rng(0)
    shapes = policy_weight_shapes(settings, emulator.n_actions)
    weights = {name: (rng.normal(size=shape) / 16).astype(np.float32) for name, shape in shapes.items()}
    run = RunSettings(game=game, approach=settings, seed=0, steps=1, checkpoint_every=1)
    return Checkpoint(run, 0, emulator.action_names, weights, Statistics.empty())


def _timed(trace: Trace, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (trace.frames + 1) / (time.perf_counter() - started)


def _record_video_of(scene: _Scene, name: str, *, sound: bool = False) -> float:
    """Plain videos are as silent as RecordVideo's."""
    return _timed(scene.trace, lambda: render_video(scene.trace, scene.folder / "a.mp4", scene.looks[name], sound=sound))


def _record_video(scene: _Scene) -> float:
    """Every frame as well: an environment that skips none, whose actions are repeated."""
    skip = scene.trace.frames // scene.trace.length
    game = scene.trace.game.model_copy(update={"frame_skip": 1})

    def work() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env: gymnasium.Env[Any, Any] = make_env(game, render_mode="rgb_array")
            env = RecordVideo(env, str(scene.folder / "peer"), episode_trigger=lambda _: True, fps=60)
            env.reset(seed=scene.trace.seed)
            for action in scene.trace.actions:
                for _ in range(skip):
                    env.step(action)
            env.close()  # type: ignore[no-untyped-call]

    return _timed(scene.trace, work)


def _drawing(scene: _Scene) -> float:
    """The emulator, drawing every frame as R, G and B; no video."""

    def work() -> None:
        emulator = emulator_for_trace(scene.trace)
        picture = emulator.screen()
        for _ in replay(scene.trace, emulator=emulator, on_frame=lambda: emulator.screen(picture)):
            pass

    return _timed(scene.trace, work)


def _raw(scene: _Scene, name: str, make: Callable[[Emulator], FrameRenderer]) -> tuple[VideoFormat, Path, int]:
    """The first pictures of a video in a file, ready to be encoded: their form, the file, how many the video has."""
    emulator = emulator_for_trace(scene.trace)
    look = make(emulator)
    form = video_format(look.canvas, emulator, look.pixel, sound=False)
    path, most = scene.folder / f"{len(name)}.raw", _RAW_BYTES // look.canvas.picture.nbytes
    count = 0
    with path.open("wb") as file:

        def draw() -> None:
            nonlocal count
            if count < most:
                look.draw(emulator)
                file.write(look.canvas.picture.data.cast("B"))
                count += 1

        replay_frames(scene.trace, emulator, lambda step: look.show(step, scene.trace), draw)
    return form, path, scene.trace.frames + 1


def _encoding(form: VideoFormat, path: Path, frames: int) -> float:
    """The encoder, with pictures that are there already, from the first again until there were as many as in a video."""
    command = [find_ffmpeg().path, "-loglevel", "error", "-y", *picture_arguments(form), "-f", "mp4"]
    left = frames * form.width * form.height * 3 // 2
    started = time.perf_counter()
    encoder = subprocess.Popen([*command, str(path.with_suffix(".mp4"))], stdin=subprocess.PIPE, bufsize=0)
    assert encoder.stdin is not None
    with path.open("rb") as file:
        while left:
            if part := file.read(min(left, 1024**2)):
                # To a pipe that blocks, everything is written.
                encoder.stdin.write(part)
                left -= len(part)
            else:
                file.seek(0)
    encoder.stdin.close()
    if encoder.wait() != 0:
        raise VideoError("ffmpeg failed with pictures that were there already")
    return frames / (time.perf_counter() - started)
