"""A video without a trace leads back to the RAM, and nothing is certain that the pictures do not determine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import numpy.typing as npt
import pytest
from helpers.episodes import random_play
from helpers.processes import error_lines

from flows.cli.app import run
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import replay
from tasks.arcade.episodes.trace import Trace, read_trace
from tasks.arcade.episodes.verify import verify
from tasks.arcade.video.follow import FollowedVideo, follow_video
from tasks.arcade.video.picture_timing import moviepy_indices
from tasks.arcade.video.render import PlainRenderer, render_video

LOSSLESS = {"macro_block_size": 1, "quality": None, "output_params": ["-qp", "0"]}
LOSSY: dict[str, object] = {}
"""imageio's own settings: pictures are scaled to 160x224, at a constant rate factor of 25."""


@dataclass(frozen=True)
class Episode:
    trace: Trace
    screens: list[npt.NDArray[np.uint8]]
    ram: npt.NDArray[np.uint8]

    def write(self, path: Path, options: dict[str, object], pictures: object = slice(None)) -> Path:
        imageio.mimwrite(path, list(np.array(self.screens)[pictures]), fps=30, **options)  # type: ignore[index]
        return path


def episode(env_id: str, steps: int) -> Episode:
    trace = random_play(env_id, steps)
    emulator = Emulator(trace.game, trace.seed)
    screens, ram = [], []
    for step in replay(trace, emulator=emulator):
        screens.append(emulator.screen().copy())
        ram.append(step.ram)
    return Episode(trace, screens, np.array(ram))


@pytest.fixture(scope="module")
def freeway() -> Episode:
    return episode("ALE/Freeway-v5", 120)


def check(followed: FollowedVideo, truth: Episode, *, sure: float) -> None:
    """Check that all bytes are right where the confidence says so, which it does for a share of at least `sure`."""
    n = followed.n_steps + 1
    right, confidence = followed.history.ram == truth.ram[:n], followed.history.confidence
    assert right[confidence >= 0.99].mean() >= 0.9999
    assert (confidence >= 0.99).mean() >= sure
    sets = followed.history.action_sets()
    assert np.mean([a in one for a, one in zip(truth.trace.actions, sets, strict=False)]) >= 0.97
    assert verify(followed.trace).ok


@pytest.mark.parametrize(("env_id", "sure"), [("ALE/Pong-v5", 0.98), ("ALE/Breakout-v5", 0.98)])
def test_lossless_video_leads_back_to_ram(env_id: str, sure: float, tmp_path: Path) -> None:
    truth = episode(env_id, 50)
    followed = follow_video(truth.write(tmp_path / "video.mp4", LOSSLESS), truth.trace.game)
    assert (followed.n_steps, followed.lost_at, followed.every_frame) == (50, None, False)
    check(followed, truth, sure=sure)


def test_command_writes_trace_and_ram(
    freeway: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    freeway.write(Path("episode.mp4"), LOSSY)
    assert run(["follow", "episode.mp4", "--env", "ALE/Freeway-v5", "--json"]) == 0
    values = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (values["steps"], values["lost_at"], values["trace"]) == (120, None, "episode.trace.json")
    assert sum(values["action_sets"].values()) == 120
    trace = read_trace(Path(values["trace"]))
    assert verify(trace).ok
    assert (trace.game.frame_skip, trace.game.repeat_action_probability, trace.length) == (1, 0.0, 480)
    with np.load(values["ram"]) as stored:
        assert stored["ram"].shape == stored["confidence"].shape == (121, 128)
        assert stored["action_probabilities"].shape == (120, len(stored["action_names"]))
        sure = stored["confidence"] >= 0.99
        assert (stored["ram"] == freeway.ram)[sure].all()
        assert sure.mean() > 0.99
        by_frame = np.array([step.ram for step in replay(trace)])
        assert np.array_equal(by_frame[stored["frames"]], stored["ram"]), "the trace gives the same RAM"
    assert run(["follow", "episode.mp4", "--env", "ALE/Freeway-v5"]) == 2, "existing files are not overwritten"
    assert "--to" in capfd.readouterr().err


def test_pictures_that_moviepy_repeats_are_recognized(freeway: Episode, tmp_path: Path) -> None:
    shown = moviepy_indices(len(freeway.screens), Fraction(30))
    assert len(set(shown.tolist())) < len(shown)
    followed = follow_video(freeway.write(tmp_path / "video.mp4", LOSSY, shown), freeway.trace.game)
    assert followed.repeats
    assert followed.lost_at is None
    check(followed, freeway, sure=0.98)


def test_video_of_every_frame_is_followed_by_frame(tmp_path: Path) -> None:
    trace = random_play("ALE/Freeway-v5", 30)
    render_video(trace, tmp_path / "plain.mp4", PlainRenderer)
    frames: list[npt.NDArray[np.uint8]] = []
    emulator = Emulator(trace.game, trace.seed)
    for _ in replay(
        trace, emulator=emulator, on_frame=lambda: frames.append(emulator.read_ram(np.zeros(128, np.uint8)))
    ):
        pass
    followed = follow_video(tmp_path / "plain.mp4", trace.game)
    assert (followed.every_frame, followed.n_steps) == (True, trace.frames)
    right, confidence = followed.history.ram == np.array(frames), followed.history.confidence
    assert right[confidence >= 0.99].mean() >= 0.9999
    assert (confidence >= 0.99).mean() > 0.98


def test_lost_thread_ends_the_files_and_fails(
    freeway: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    freeway.write(Path("cut.mp4"), LOSSLESS, [*range(50), *range(80, 121)])
    assert run(["follow", "cut.mp4", "--env", "ALE/Freeway-v5", "--max-lost", "5"]) == 1
    printed = capfd.readouterr()
    assert error_lines(printed.err) == [
        "ramreel: cut.mp4: lost at picture 50 of 91, which no state explains; the files end before it"
    ]
    with np.load("cut.npz") as stored:
        assert stored["ram"].shape == (50, 128)
    assert read_trace(Path("cut.trace.json")).length == 4 * 49


@pytest.mark.parametrize(
    ("pictures", "arguments", "message"),
    [
        (slice(40, None), ["ALE/Freeway-v5"], "does not begin at the start of ALE/Freeway-v5"),
        (slice(None), ["ALE/Pong-v5"], "does not begin at the start of ALE/Pong-v5"),
        (slice(None), ["ALE/Freeway-v5", "--frame-skip", "3"], "every step of 3 frames (--frame-skip)"),
        (slice(1), ["ALE/Freeway-v5"], "fewer than two pictures"),
        (None, ["ALE/Freeway-v5"], "is not a video: expected MP4"),
        (slice(None), ["ALE/Freway-v5"], "Did you mean"),
    ],
    ids=["middle", "another game", "frame skip", "one picture", "no video", "unknown game"],
)
def test_other_videos_are_refused(
    pictures: slice | None,
    arguments: list[str],
    message: str,
    freeway: Episode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if pictures is None:
        Path("video.mp4").write_bytes(b"not a video at all")
    else:
        freeway.write(Path("video.mp4"), LOSSLESS, pictures)
    capfd.readouterr()
    assert run(["follow", "video.mp4", "--max-lost", "3", "--env", *arguments]) == 2
    lines = error_lines(capfd.readouterr().err)
    assert len(lines) == 1
    assert message in lines[0]
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["video.mp4"]


def test_pictures_of_another_palette_and_of_a_pal_console_are_refused(
    freeway: Episode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = freeway.screens[:3]
    for name, screens in (
        ("palette", [screen[:, :, ::-1] // 2 for screen in shown]),
        ("pal", [np.pad(screen, ((20, 20), (0, 0), (0, 0))) for screen in shown]),
    ):
        path = tmp_path / f"{name}.mp4"
        imageio.mimwrite(path, screens, fps=50, **LOSSLESS)
        assert run(["follow", str(path), "--env", "ALE/Freeway-v5", "--to", str(tmp_path / "x.json")]) == 2
        (line,) = error_lines(capfd.readouterr().err)
        assert "does not begin at the start of ALE/Freeway-v5" in line
        assert "Expected the game's screen (160x210) in its own palette" in line


def test_small_pictures_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    imageio.mimwrite(tmp_path / "small.mp4", [np.zeros((84, 84, 3), np.uint8)] * 3, fps=30, macro_block_size=1)
    assert run(["follow", str(tmp_path / "small.mp4"), "--env", "ALE/Pong-v5", "--to", str(tmp_path / "x.json")]) == 2
    assert "is 84x84. Expected at least 160x210" in capfd.readouterr().err
