"""However long an episode is, recording it takes no more memory; RAMREEL_HOUR=1 records an hour of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import pytest
from helpers.episodes import network_checkpoint

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import play
from tasks.arcade.video.panel import Caption, PanelRenderer
from tasks.arcade.video.render import render_video

HOUR = bool(os.environ.get("RAMREEL_HOUR"))
FRAMES = 216_000 if HOUR else 3_000
MIB = 1024


def memory(pid: int | str) -> int:
    """What a process holds, in KiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def children() -> list[str]:
    return [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_a_videos_length(tmp_path: Path) -> None:
    """At random, ElevatorAction goes on for ever, and every step has another picture."""
    checkpoint = network_checkpoint("ALE/ElevatorAction-v5")
    game = resolve("ALE/ElevatorAction-v5").model_copy(update={"max_episode_frames": FRAMES})
    player = network_checkpoint("ALE/ElevatorAction-v5", "random").agent()
    trace = play(player, game, 1, action_seed=1, deterministic=False)
    assert (trace.frames, trace.ended) == (FRAMES, "truncated")
    ours, theirs = list[int](), list[int]()

    def look(frame: int) -> None:
        if frame % (FRAMES // 100) == 0:
            ours.append(memory("self"))
            theirs.append(max(memory(child) for child in children()))

    caption = Caption("an hour", "of ElevatorAction")
    panel = partial(PanelRenderer, checkpoint=checkpoint, caption=caption)
    made = render_video(trace, tmp_path / "video.mp4", panel, on_frame=look)
    assert made.frames == FRAMES + 1
    assert len(ours) == 100
    for name, held in (("ramreel", ours), ("ffmpeg", theirs)):
        print(f"{name}: at most {max(held) // MIB} MiB, {(max(held[25:]) - max(held[:25])) // MIB} more than at first")
        early, later = max(held[:25]), max(held[25:])
        assert later < early + 24 * MIB
        assert later < 600 * MIB or not HOUR, "a process that does nothing else"
    assert lasts(tmp_path / "video.mp4") == pytest.approx(made.seconds, abs=0.1)


def lasts(path: Path) -> float:
    """Seconds until picture and sound are over, whichever is longer."""
    said = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", path], capture_output=True, text=True, check=False)
    found = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said.stderr)
    assert found
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
