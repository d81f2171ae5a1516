"""A panel shows the observation and the policy's decision at each step, checked on decoded frames."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers.episodes import CAPTION, STEPS, network_checkpoint, play_checkpoint

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.canvas import Box, Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.drawing.text import text_coverage, truncate_text, with_minus_sign
from tasks.arcade.drawing.widgets import CHANGED, RAISED, SALIENT, SLATE, Label, LineChart
from tasks.arcade.episodes.playing import replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.policies.q_network import QPolicy
from tasks.arcade.policies.saliency import Saliency
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.video.panel import GAME, HEIGHT, WIDTH, PanelRenderer
from tasks.arcade.video.render import render_video


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Trace, list[npt.NDArray[np.uint8]]]:
    checkpoint, path = network_checkpoint(), tmp_path_factory.mktemp("panel") / "video.mp4"
    trace = play_checkpoint(checkpoint)
    video = render_video(trace, path, partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    assert (video.width, video.height, video.frames) == (WIDTH, HEIGHT, 4 * STEPS + 1)
    with Mp4Decoder(path) as decoder:
        return checkpoint, trace, list(decoder)


def has_color(frame: npt.NDArray[np.uint8], color: tuple[int, int, int], x: int, y: int) -> bool:
    """Return whether a pixel of a video has a color, up to encoding errors."""
    canvas = Canvas(WIDTH, HEIGHT, frame=frame)
    pixel = [canvas.luma[y, x], *canvas.chroma[:, y // 2, x // 2]]
    return bool(np.abs(np.array(pixel, int) - rgb_to_ycbcr(np.array(color, np.uint8))).max() < 16)


def cell(byte: int) -> tuple[int, int]:
    """Return the upper left corner of a byte's cell."""
    return 908 + 22 * (byte % 16), 58 + 22 * (byte // 16)


Recorded = tuple[Checkpoint, Trace, list[npt.NDArray[np.uint8]]]


def test_changed_bytes_glow_in_the_step_decided_on_them(recorded: Recorded) -> None:
    _, trace, frames = recorded
    steps = list(replay(trace))
    found = 0
    for before, step in pairwise(steps[:-1]):
        frame = frames[4 * step.number + 2]
        for byte in range(128):
            x, y = cell(byte)
            lit = has_color(frame, CHANGED, x + 3, y + 3)
            assert lit == (step.ram[byte] != before.ram[byte]), (step.number, byte)
            found += lit
    assert found > STEPS


def panel_luma(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """Return the luma of the panel."""
    return frame[:HEIGHT, 880:].astype(np.int16)


def test_the_panel_changes_once_a_step_and_the_game_every_frame(recorded: Recorded) -> None:
    _, _, frames = recorded
    for step in range(1, STEPS):
        first, *others = map(panel_luma, frames[4 * step + 1 : 4 * step + 5])
        assert all(np.abs(first - other).max() < 16 for other in others), step
        assert np.abs(first - panel_luma(frames[4 * step])).max() > 60, step
    games = {frame[:650, :860].tobytes() for frame in frames}
    assert len(games) > 2 * STEPS


def test_the_most_salient_byte_has_a_border(recorded: Recorded) -> None:
    checkpoint, trace, frames = recorded
    algorithm = checkpoint.settings.approach.algorithm
    assert isinstance(algorithm, PpoSettings)
    features = checkpoint.settings.approach.features
    saliency = Saliency(features, checkpoint.statistics, algorithm.network, checkpoint.weights)
    steps = list(replay(trace))
    for before, step, action in zip(steps, steps[1:-1], trace.actions[1:], strict=False):
        effects = np.abs(saliency(step.ram, before.ram, action)) * checkpoint.statistics.deviation
        frame = frames[4 * step.number + 2]
        most, least = int(effects.argmax()), int(effects.argmin())
        assert has_color(frame, SALIENT, cell(most)[0], cell(most)[1])
        assert not has_color(frame, SALIENT, cell(least)[0], cell(least)[1])


def test_bars_show_action_probabilities_and_the_chosen_action_is_highlighted(recorded: Recorded) -> None:
    checkpoint, trace, frames = recorded
    agent = checkpoint.agent()
    steps = list(replay(trace))
    for before, step, action in zip(steps, steps[1:-1], trace.actions[1:], strict=False):
        logits = agent.policy.logits(agent.features(step.ram[None], before.ram[None]))
        odds = np.exp(logits[0] - logits[0].max())
        frame = frames[4 * step.number + 2]
        for at in range(4):
            row = 274 + 40 * at + 18
            lit = [has_color(frame, SALIENT if at == action else SLATE, x, row) for x in range(996, 1216)]
            assert sum(lit) == pytest.approx(220 * odds[at] / odds.sum(), abs=4), (step.number, at)


def test_bars_show_q_values_between_the_smallest_and_the_largest(tmp_path: Path) -> None:
    checkpoint = network_checkpoint(name="qrdqn")
    trace = play_checkpoint(checkpoint, 6)
    render_video(trace, tmp_path / "video.mp4", partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        frames = list(decoder)
    agent = checkpoint.agent()
    assert isinstance(agent.policy, QPolicy)
    steps = list(replay(trace))
    for before, step, action in zip(steps, steps[1:-1], trace.actions[1:], strict=False):
        q_values = agent.policy.q_values(agent.features(step.ram[None], before.ram[None]))[0]
        assert action == q_values.argmax()
        for at in range(4):
            color, row = SALIENT if at == action else SLATE, 274 + 40 * at + 18
            lit = [has_color(frames[4 * step.number + 2], color, x, row) for x in range(996, 1216)]
            share = (q_values[at] - q_values.min()) / (q_values.max() - q_values.min())
            assert sum(lit) == pytest.approx(220 * share, abs=4), (step.number, at)


def test_the_first_frame_is_complete(recorded: Recorded) -> None:
    """The reset's frame shows the decision made on it."""
    _, _, frames = recorded
    assert has_color(frames[0], RAISED, 900, 520)
    bars = [has_color(frames[0], SALIENT, 997, 274 + 40 * at + 18) for at in range(4)]
    assert sum(bars) == 1
    assert np.abs(panel_luma(frames[0]) - panel_luma(frames[1])).max() < 16


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("ALE/Seaquest-v5", "ppo"),
        ("ALE/KingKong-v5", "random"),
        ("ALE/Pong-v5", "ppo-bits"),
        ("ALE/Pong-v5", "noop"),
        ("ALE/Seaquest-v5", "dqn"),
    ],
)
def test_every_approach_and_screen_size_has_a_panel(env_id: str, name: str, tmp_path: Path) -> None:
    checkpoint = network_checkpoint(env_id, name)
    trace = play_checkpoint(checkpoint, 5)
    render_video(trace, tmp_path / "video.mp4", partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        last = list(decoder)[-1]
    names = Canvas(WIDTH, HEIGHT, frame=last).luma[274:472, 884:1260]
    assert names.max() > 120, "actions have names"
    assert last[GAME.y : GAME.y + GAME.height, GAME.x : GAME.x + GAME.width].max() > 40


def test_a_line_chart_shows_every_value_and_jumps_back_at_the_right_edge() -> None:
    canvas = Canvas(120, 40)
    chart = LineChart(canvas, Box(0, 0, 120, 40), (255, 255, 255), 1.0)
    values = [0.0, 10.0, *np.random.default_rng(0).uniform(0, 10, 300)]
    for index, value in enumerate(values):
        chart.append(value)
        lit = (canvas.luma > 120).any(axis=0)
        shown = index + 1 if index < 120 else 80 + (index - 120) % 40 + 1
        assert lit.tolist() == [column < shown for column in range(120)]
    rows = [round(6 + 28 * (1 - value / 10)) for value in values[len(values) - shown :]]
    assert all(canvas.luma[row, column] > 100 for column, row in enumerate(rows))


def test_labels_are_aligned_and_truncated() -> None:
    canvas = Canvas(200, 40)
    label = Label(canvas, Box(20, 10, 100, 20), "Inter-Medium", 12, (255, 255, 255), "right", (0, 0, 0))
    label.set("score")
    lit = np.flatnonzero((canvas.luma > 120).any(axis=0))
    assert lit[0] > 80 and lit[-1] in (118, 119)
    label.set("a very long text that does not fit into so few pixels")
    lit = np.flatnonzero((canvas.luma > 120).any(axis=0))
    assert lit[0] >= 20 and lit[-1] < 120
    label.set("")
    assert canvas.luma.max() == 16


def test_text_fits_or_ends_with_an_ellipsis() -> None:
    assert truncate_text("short", "Inter-Medium", 12, 200) == "short"
    cut = truncate_text("a rather long text", "Inter-Medium", 12, 50)
    assert cut.endswith("…") and text_coverage(cut, "Inter-Medium", 12).shape[1] <= 50
    assert with_minus_sign("-3") == "\N{MINUS SIGN}3"
    assert (
        text_coverage("-3", "JetBrainsMono-Medium", 12).shape
        == text_coverage(with_minus_sign("-3"), "JetBrainsMono-Medium", 12).shape
    )
