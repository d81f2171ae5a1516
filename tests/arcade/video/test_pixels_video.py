"""A video from pixels shows the RAM and what was read from pictures, and where they differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from helpers.decoders import small_decoder
from helpers.episodes import network_checkpoint

from tasks.arcade.checkpoints.checkpoint import write_checkpoint
from tasks.arcade.decoding.decoder import write_decoder
from tasks.arcade.decoding.play_from_pixels import PixelSource
from tasks.arcade.drawing.canvas import Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.drawing.widgets import CHANGED
from tasks.arcade.episodes.playing import emulator_for_trace, replay
from tasks.arcade.episodes.trace import read_trace
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.video.checkpoint_video import VideoFiles
from tasks.arcade.video.panel import HEIGHT, WIDTH
from tasks.arcade.video.pixels_video import evaluate_from_pixels
from tasks.arcade.video.verify import verify_frames

GRIDS = (900, 1084)
"""Left edges of both grids."""


def lit(frame: npt.NDArray[np.uint8], left: int) -> set[int]:
    """Return the bytes that glow in the grid at an edge."""
    canvas, color = Canvas(WIDTH, HEIGHT, frame=frame), rgb_to_ycbcr(np.array(CHANGED, np.uint8)).astype(int)
    found = set()
    for byte in range(128):
        x, y = left + 22 * (byte % 8) + 3, 58 + 22 * (byte // 8) + 3
        pixel = np.array([canvas.luma[y, x], *canvas.chroma[:, y // 2, x // 2]], int)
        if np.abs(pixel - color).max() < 28:
            found.add(byte)
    return found


def test_bytes_that_differ_glow_in_both_grids(tmp_path: Path) -> None:
    checkpoint = network_checkpoint()
    game = checkpoint.settings.game.model_copy(update={"max_episode_frames": 120})
    checkpoint = replace(checkpoint, settings=checkpoint.settings.model_copy(update={"game": game}))
    digest = write_checkpoint(checkpoint, tmp_path / "checkpoint")
    decoder = PixelSource("decode", tmp_path / "decoder", write_decoder(small_decoder()[0], tmp_path / "decoder"))
    settings = EvaluationSettings(episodes=2)
    result = evaluate_from_pixels(
        tmp_path / "checkpoint", digest, settings, VideoSettings(), tmp_path, None, decoder, decoder
    )
    assert set(result.returns) == {"true", "followed", "decoded", "random"}
    assert all(len(returns) == 2 for returns in result.returns.values())
    assert result.returns["decoded"] == tuple(result.evaluation.returns)
    assert result.metrics()["from_pixels/return_decoded"] == result.evaluation.mean_return
    files = VideoFiles.in_folder(tmp_path)
    trace = read_trace(files.trace)
    assert trace.from_pixels is not None
    assert trace.from_pixels.decoder == decoder.digest
    assert verify_frames(files.mp4).ok
    with Mp4Decoder(files.mp4) as video:
        frames = list(video)
    emulator, reader, different = emulator_for_trace(trace), decoder.reader(game), 0
    for step in replay(trace, emulator=emulator):
        read = reader.read(trace.actions[step.number - 1] if step.number else None, emulator.screen())
        if step.number < trace.length:
            expected = set(np.flatnonzero(read != step.ram).tolist())
            assert [lit(frames[4 * step.number + 2], left) for left in GRIDS] == [expected, expected]
            different += len(expected)
    assert different > 0
