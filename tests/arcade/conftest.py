"""Runs as a report shows them, and a real video."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.arcade.report import CheckpointRow, Comparison, Cost, Findings, RunView, VideoView, checkpoint_row

FRAMES = 90


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second and a half of gray that grows lighter, 60 frames a second, H.264."""
    path: Path = tmp_path_factory.mktemp("video") / "video.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 48), fps=60, macro_block_size=1)
    writer.send(None)
    for frame in range(FRAMES):
        writer.send(np.full((48, 64, 3), frame * 2, np.uint8))
    writer.close()
    return path.read_bytes()


NUMBERS = itertools.count()


def a_row(step: int, returns: list[float]) -> CheckpointRow:
    digests = [f"episode {next(NUMBERS)}" for _ in returns]
    return checkpoint_row(step, returns, digests, lengths=[100 + index for index in range(len(returns))])


def a_video(step: int, mp4: bytes, episode_return: float = 4.0, **changes: Any) -> VideoView:
    values: dict[str, Any] = {
        "step": step,
        "episode_return": episode_return,
        "mp4": mp4,
        "frames": FRAMES,
        "episode_frames": FRAMES,
        "fps": 60,
        "score": ((20, 1.0), (50, 4.0)),
        "path": f"videos/step-{step:09d}.mp4",
    }
    return VideoView(**values | changes)


def a_run(approach: str, seed: int, level: float, mp4: bytes = b"", **changes: Any) -> RunView:
    rows = tuple(
        a_row(step, [level + step / 100_000 + offset for offset in (0, 1, 2, 3)]) for step in (50_000, 100_000)
    )
    values: dict[str, Any] = {
        "run_id": f"{approach}{seed}id",
        "run_name": f"{approach}-{seed}",
        "approach": approach,
        "seed": seed,
        "env_id": "ALE/Pong-v5",
        "rom": "pong",
        "frame_skip": "4",
        "sticky": 0.25,
        "steps": 100_000,
        "checkpoints": rows,
        "curve": tuple((step, level + step / 50_000) for step in range(10_000, 100_001, 10_000)),
        "videos": tuple(a_video(row.step, mp4, row.median) for row in rows) if mp4 else (),
        "actions": (("NOOP", 10), ("FIRE", 30)),
        "parameters": {"seed": seed, "approach.algorithm.gamma": 0.99 if approach == "ppo" else 0.9, "n": 8},
        "cost": Cost(wall_seconds=120, cpu_seconds=200, steps_per_second=1234.5),
        "command": f"ramreel train ALE/Pong-v5 --approach {approach}",
        "versions": {"ale-py": "0.12.1"},
        "commit": "abc1234",
        "deterministic": False,
    }
    return RunView(**values | changes)


def a_comparison(*runs: RunView, title: str = "two ways", **more: Any) -> Findings:
    return Findings(Comparison(title=title, env_id=runs[0].env_id if runs else "", runs=runs, **more))


@pytest.fixture(scope="session")
def row() -> Callable[..., CheckpointRow]:
    """Makes a checkpoint's row of (step, returns)."""
    return a_row


@pytest.fixture(scope="session")
def run() -> Callable[..., RunView]:
    """Makes a run of (approach, seed, level of its returns, video); whatever else by its name."""
    return a_run


@pytest.fixture(scope="session")
def compared() -> Callable[..., Findings]:
    """Makes a comparison of runs, and what it comes to."""
    return a_comparison


@pytest.fixture(scope="session")
def two_ways(mp4: bytes) -> Findings:
    """`ppo` and `ppo-tuned`, four seeds each, videos of both checkpoints of each."""
    runs = [a_run("ppo", seed, -15, mp4) for seed in range(4)]
    return a_comparison(*runs, *(a_run("ppo-tuned", seed, 5 + seed, mp4) for seed in range(4)))
