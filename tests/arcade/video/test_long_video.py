"""Memory does not grow with the length of a video; RAMREEL_HOUR=1 records an hour."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from pathlib import Path

import av
import pytest
from helpers.episodes import ENDING, network_checkpoint

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.playing import play
from tasks.arcade.video.panel import Caption, PanelRenderer
from tasks.arcade.video.render import render_video

HOUR = bool(os.environ.get("RAMREEL_HOUR"))
FRAMES = 216_000 if HOUR else 3_000
MIB = 1024


def resident_memory(pid: int | str) -> int:
    """Return the resident memory of a process in KiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def children() -> list[str]:
    """Return the ids of the running child processes; one of an earlier test may have ended, and not be reaped yet."""
    found = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    return [pid for pid in found if "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_with_a_videos_length(tmp_path: Path) -> None:
    """Random play of ElevatorAction never ends, and every step has another screen."""
    checkpoint = network_checkpoint("ALE/ElevatorAction-v5")
    game = resolve("ALE/ElevatorAction-v5").model_copy(update={"max_episode_frames": FRAMES})
    player = network_checkpoint("ALE/ElevatorAction-v5", "random").agent()
    trace = play(player, game, 1, action_seed=1, deterministic=False)
    assert (trace.frames, trace.ended) == (FRAMES, "truncated")
    own, encoder = list[int](), list[int]()

    def measure(frame: int) -> None:
        if frame % (FRAMES // 100) == 0:
            own.append(resident_memory("self"))
            encoder.append(max(resident_memory(child) for child in children()))

    caption = Caption("ElevatorAction", "one hour")
    panel = partial(PanelRenderer, checkpoint=checkpoint, caption=caption)
    video = render_video(trace, tmp_path / "video.mp4", panel, on_frame=measure)
    assert video.frames == FRAMES + 1 + ENDING
    assert len(own) >= 100
    for name, samples in (("ramreel", own), ("ffmpeg", encoder)):
        early, late = max(samples[:25]), max(samples[25:])
        print(f"{name}: at most {max(samples) // MIB} MiB, {(late - early) // MIB} more than at first")
        assert late < early + 24 * MIB
        assert late < 600 * MIB or not HOUR, "in a process that does nothing else"
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(video.seconds, abs=0.1)
