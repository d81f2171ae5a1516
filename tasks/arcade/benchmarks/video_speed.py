"""Benchmark of video speed against Gymnasium's RecordVideo, the emulator and the encoder alone.

Contenders record the same frames of the same episode and take turns in every round; medians and ratios are reported.
"""

from __future__ import annotations

import statistics
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.wrappers import RecordVideo
from threadpoolctl import threadpool_limits

from tasks.arcade.benchmarks.untrained import untrained_checkpoint
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.ffmpeg import find_ffmpeg
from tasks.arcade.drawing.mp4_encoder import encoding_arguments
from tasks.arcade.drawing.video_format import VideoError, VideoFormat
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.episodes.playing import emulator_for_trace, play, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.commands import CONTENDER_FRAMES, ROUNDS, ContenderFrames, Rounds
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.video.panel import Caption, PanelRenderer
from tasks.arcade.video.render import FrameRenderer, PlainRenderer, render_video, replay_frames, video_format

RECORD_VIDEO, SMALL, PLAIN = "RecordVideo", "plain, the same size", "plain, 640 wide"
PANEL = "panel and sound, 1280x720"
DRAWING, ENCODING = "emulator with rendering alone", "x264 alone, "
_MAX_RAW_BYTES = 512 * 1024**2
"""Size limit of the file of raw frames for the encoder alone."""
_MAX_SEEDS = 50
"""Seeds tried to find an episode that is long enough."""


class NoMoviepyError(RamreelError):
    """moviepy, which RecordVideo writes videos with, is not installed; the message says how to install it."""


class VideoSpeedSettings(Settings):
    """Settings of the benchmark."""

    game: GameSettings
    frames: ContenderFrames = CONTENDER_FRAMES
    rounds: Rounds = ROUNDS


class VideoSpeed(Settings):
    """Frames per second of every contender in each round, from the start to the complete file."""

    settings: VideoSpeedSettings
    rounds: dict[str, tuple[float, ...]]

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.rounds.items()}

    @property
    def vs_record_video(self) -> dict[str, float]:
        """Speed of each of ramreel's videos relative to RecordVideo."""
        medians = self.medians
        return {name: medians[name] / medians[RECORD_VIDEO] for name in (SMALL, PLAIN, PANEL)}

    @property
    def of_ceilings(self) -> dict[str, tuple[float, float]]:
        """Speed of each video relative to the emulator with rendering alone, and to the encoder alone."""
        medians = self.medians
        return {
            name: (medians[name] / medians[DRAWING], medians[name] / medians[ENCODING + name])
            for name in (SMALL, PLAIN, PANEL)
        }


@dataclass(frozen=True)
class _Workload:
    """Episode to record, the checkpoint that played it, and a folder for the files."""

    checkpoint: Checkpoint
    trace: Trace
    folder: Path

    @property
    def renderers(self) -> Mapping[str, Callable[[Emulator], FrameRenderer]]:
        caption = Caption("benchmark", "one episode of an untrained policy")
        return {
            SMALL: partial(PlainRenderer, scale_x=1, scale_y=1),
            PLAIN: PlainRenderer,
            PANEL: partial(PanelRenderer, checkpoint=self.checkpoint, caption=caption),
        }


def measure_video(settings: VideoSpeedSettings, folder: Path, log: Callable[[str], None]) -> VideoSpeed:
    """Measure all contenders in turn.

    Args:
        settings: Settings of the benchmark.
        folder: Empty folder for some gigabytes of videos and frames.
        log: Called with a line for each measurement.

    Raises:
        NoMoviepyError: moviepy is not installed.
        VideoError: No ffmpeg was found, or it failed.
        ValueError: No episode of the game is long enough.
    """
    _check_moviepy()
    with threadpool_limits(1):
        workload = _make_workload(settings, folder)
        contenders: dict[str, Callable[[], float]] = {
            RECORD_VIDEO: partial(_measure_record_video, workload),
            SMALL: partial(_measure_ramreel, workload, SMALL),
            PLAIN: partial(_measure_ramreel, workload, PLAIN),
            PANEL: partial(_measure_ramreel, workload, PANEL, sound=True),
            DRAWING: partial(_measure_emulator, workload),
        }
        for name, make_renderer in workload.renderers.items():
            contenders[ENCODING + name] = partial(_measure_encoder, *_write_raw_frames(workload, name, make_renderer))
        rounds: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(settings.rounds):
            for name, contender in contenders.items():
                rounds[name].append(contender())
                log(f"round {number + 1} of {settings.rounds}: {name}: {rounds[name][-1]:,.0f} frames/s")
    return VideoSpeed(settings=settings, rounds={name: tuple(values) for name, values in rounds.items()})


def _check_moviepy() -> None:
    try:
        import moviepy  # noqa: F401
    except ImportError:
        raise NoMoviepyError(
            "RecordVideo requires moviepy, which is not installed: pip install --no-deps moviepy decorator proglog tqdm"
        ) from None


def _make_workload(settings: VideoSpeedSettings, folder: Path) -> _Workload:
    """Play an episode with an untrained network, whose video costs as much as that of a trained one."""
    checkpoint = untrained_checkpoint(settings.game, approach("ppo-tuned"))
    steps = int(settings.frames / settings.game.frames_per_step)
    agent = checkpoint.agent()
    for seed in range(_MAX_SEEDS):
        trace = play(agent, settings.game, seed, action_seed=seed, deterministic=False, max_steps=steps)
        if trace.length == steps:
            return _Workload(checkpoint, trace, folder)
    raise ValueError(f"frames: no episode of {settings.game.env_id} has {settings.frames} frames: choose fewer")


def _timed(trace: Trace, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (trace.frames + 1) / (time.perf_counter() - started)


def _measure_ramreel(workload: _Workload, name: str, *, sound: bool = False) -> float:
    """Measure one of ramreel's videos; plain ones are silent, as RecordVideo's."""
    return _timed(
        workload.trace,
        lambda: render_video(workload.trace, workload.folder / "a.mp4", workload.renderers[name], sound=sound),
    )


def _measure_record_video(workload: _Workload) -> float:
    """Measure RecordVideo on every frame: the environment skips none, and actions are repeated."""
    skip = workload.trace.frames // workload.trace.length
    game = workload.trace.game.model_copy(update={"frame_skip": 1})

    def work() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env: gymnasium.Env[Any, Any] = make_env(game, render_mode="rgb_array")
            env = RecordVideo(env, str(workload.folder / "peer"), episode_trigger=lambda _: True, fps=60)
            env.reset(seed=workload.trace.seed)
            for action in workload.trace.actions:
                for _ in range(skip):
                    env.step(action)
            env.close()  # type: ignore[no-untyped-call]

    return _timed(workload.trace, work)


def _measure_emulator(workload: _Workload) -> float:
    """Measure the emulator alone, rendering every frame as RGB."""

    def work() -> None:
        emulator = emulator_for_trace(workload.trace)
        screen = emulator.screen()
        for _ in replay(workload.trace, emulator=emulator, on_frame=lambda: emulator.screen(screen)):
            pass

    return _timed(workload.trace, work)


def _write_raw_frames(
    workload: _Workload, name: str, make_renderer: Callable[[Emulator], FrameRenderer]
) -> tuple[VideoFormat, Path, int]:
    """Write the first raw frames of a video to a file; return their format, the file, and the number to encode."""
    emulator = emulator_for_trace(workload.trace)
    renderer = make_renderer(emulator)
    raw_format = video_format(renderer.canvas, emulator, renderer.sample_aspect_ratio, sound=False)
    raw_format = replace(raw_format, coarse_region=renderer.coarse_region)
    path, max_frames = workload.folder / f"{len(name)}.raw", _MAX_RAW_BYTES // renderer.canvas.frame.nbytes
    count = 0
    with path.open("wb") as file:

        def draw() -> None:
            nonlocal count
            if count < max_frames:
                renderer.draw(emulator)
                file.write(renderer.canvas.frame.data.cast("B"))
                count += 1

        replay_frames(workload.trace, emulator, lambda step: renderer.update(step, workload.trace), draw)
    return raw_format, path, workload.trace.frames + 1


def _measure_encoder(raw_format: VideoFormat, path: Path, frames: int) -> float:
    """Measure the encoder alone on raw frames from a file, repeated up to the length of the video."""
    command = [find_ffmpeg().path, "-loglevel", "error", "-y", *encoding_arguments(raw_format), "-f", "mp4"]
    bytes_left = frames * raw_format.width * raw_format.height * 3 // 2
    started = time.perf_counter()
    encoder = subprocess.Popen([*command, str(path.with_suffix(".mp4"))], stdin=subprocess.PIPE, bufsize=0)
    assert encoder.stdin is not None
    with path.open("rb") as file:
        while bytes_left:
            if chunk := file.read(min(bytes_left, 1024**2)):
                # A blocking pipe takes the whole chunk.
                encoder.stdin.write(chunk)
                bytes_left -= len(chunk)
            else:
                file.seek(0)
    encoder.stdin.close()
    if encoder.wait() != 0:
        raise VideoError("ffmpeg failed on raw frames from a file")
    return frames / (time.perf_counter() - started)
