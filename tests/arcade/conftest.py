"""Factories of report data, and a real video."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.arcade.drawing.images import encode_png
from tasks.arcade.report import (
    CheckpointRow,
    Comparison,
    Cost,
    Findings,
    RunView,
    VideoView,
    analyze,
    checkpoint_row,
)

FRAMES = 90
POSTER = encode_png(np.full((48, 64, 3), (200, 0, 0), np.uint8))


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """H.264 video of 1.5 seconds at 60 frames per second, a gray that gets lighter."""
    path: Path = tmp_path_factory.mktemp("video") / "video.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 48), fps=60, macro_block_size=1)
    writer.send(None)
    for frame in range(FRAMES):
        writer.send(np.full((48, 64, 3), frame * 2, np.uint8))
    writer.close()
    return path.read_bytes()


_EPISODE_IDS = itertools.count()


def make_row(step: int, returns: list[float]) -> CheckpointRow:
    digests = [f"episode {next(_EPISODE_IDS)}" for _ in returns]
    return checkpoint_row(step, returns, digests, lengths=[100 + index for index in range(len(returns))])


def make_video(step: int, mp4: bytes, episode_return: float = 4.0, **changes: Any) -> VideoView:
    values: dict[str, Any] = {
        "step": step,
        "episode_return": episode_return,
        "mp4": mp4,
        "frames": FRAMES,
        "episode_frames": FRAMES,
        "fps": 60,
        "score": ((20, 1.0), (50, 4.0)),
        "path": f"videos/step-{step:09d}.mp4",
        "poster": POSTER,
    }
    return VideoView(**values | changes)


def make_run(approach: str, seed: int, level: float, **changes: Any) -> RunView:
    rows = tuple(
        make_row(step, [level + step / 100_000 + offset for offset in (0, 1, 2, 3)]) for step in (50_000, 100_000)
    )
    values: dict[str, Any] = {
        "run_id": f"{approach}{seed}id",
        "run_name": f"{approach}-{seed}",
        "approach": approach,
        "seed": seed,
        "env_id": "ALE/Pong-v5",
        "rom": "pong",
        "frame_skip": "4",
        "repeat_action_probability": 0.25,
        "steps": 100_000,
        "checkpoints": rows,
        "curve": tuple((step, level + step / 50_000) for step in range(10_000, 100_001, 10_000)),
        "actions": (("NOOP", 10), ("FIRE", 30)),
        "parameters": {"seed": seed, "approach.algorithm.gamma": 0.99 if approach == "ppo" else 0.9, "n": 8},
        "cost": Cost(wall_seconds=120, cpu_seconds=200, steps_per_second=1234.5),
        "command": f"ramreel train ALE/Pong-v5 --approach {approach}",
        "versions": {"ale-py": "0.12.1"},
        "commit": "abc1234",
        "deterministic": False,
    }
    return RunView(**values | changes)


def make_findings(*runs: RunView, title: str = "two approaches", **more: Any) -> Findings:
    return analyze(Comparison(title=title, env_id=runs[0].env_id if runs else "", runs=runs, **more))


def add_videos(findings: Findings, mp4: bytes) -> Findings:
    """Return the findings with a video of every checkpoint."""
    videos = {
        run.run_id: tuple(make_video(row.step, mp4, row.median) for row in run.checkpoints)
        for run in findings.comparison.runs
    }
    return dataclasses.replace(findings, videos=videos)


@pytest.fixture(scope="session")
def row() -> Callable[..., CheckpointRow]:
    """Return a factory of checkpoint rows: (step, returns)."""
    return make_row


@pytest.fixture(scope="session")
def run() -> Callable[..., RunView]:
    """Return a factory of runs: (approach, seed, level of its returns), and any field by name."""
    return make_run


@pytest.fixture(scope="session")
def compared() -> Callable[..., Findings]:
    """Return a factory of findings: (*runs), and any field of the comparison by name."""
    return make_findings


@pytest.fixture(scope="session")
def with_videos(mp4: bytes) -> Callable[[Findings], Findings]:
    """Return a function that adds a video of every checkpoint to findings."""
    return partial(add_videos, mp4=mp4)


@pytest.fixture(scope="session")
def two_approaches(mp4: bytes) -> Findings:
    """`ppo` and `ppo-tuned` with four seeds each, and videos of both checkpoints of each run."""
    runs = [make_run("ppo", seed, -15) for seed in range(4)]
    tuned = [make_run("ppo-tuned", seed, 5 + seed) for seed in range(4)]
    return add_videos(make_findings(*runs, *tuned), mp4)
