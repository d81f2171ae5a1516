"""A panel shows the observation and the policy's decision at each step, checked on decoded frames."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers.episodes import CAPTION, ENDING, STEPS, network_checkpoint, play_checkpoint

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.drawing.canvas import Box, Canvas, rgb_to_ycbcr
from tasks.arcade.drawing.mp4_decoder import Mp4Decoder
from tasks.arcade.drawing.text import Font, text_coverage, truncate_text, with_minus_sign
from tasks.arcade.drawing.widgets import (
    BACKGROUND,
    CHANGED,
    RAISED,
    SALIENT,
    SLATE,
    SOFT,
    ActionBars,
    Label,
    LineChart,
    ScaledChart,
)
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.episodes.playing import replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.policies.q_network import QPolicy
from tasks.arcade.policies.saliency import Saliency
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.video.observation_views import WIDTH as PANEL_WIDTH
from tasks.arcade.video.panel import GAME, HEIGHT, WIDTH, Caption, PanelRenderer
from tasks.arcade.video.render import render_video


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Trace, list[npt.NDArray[np.uint8]]]:
    checkpoint, path = network_checkpoint(), tmp_path_factory.mktemp("panel") / "video.mp4"
    trace = play_checkpoint(checkpoint)
    video = render_video(trace, path, partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    assert (video.width, video.height, video.frames) == (WIDTH, HEIGHT, 4 * STEPS + 1 + ENDING)
    with Mp4Decoder(path) as decoder:
        return checkpoint, trace, list(decoder)


def has_color(frame: npt.NDArray[np.uint8], color: tuple[int, int, int], x: int, y: int) -> bool:
    """Return whether a pixel of a video has a color, up to encoding errors."""
    canvas = Canvas(WIDTH, HEIGHT, frame=frame)
    pixel = [canvas.luma[y, x], *canvas.chroma[:, y // 2, x // 2]]
    return bool(np.abs(np.array(pixel, int) - rgb_to_ycbcr(np.array(color, np.uint8))).max() < 28)


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
    games = {frame[:650, :860].tobytes() for frame in frames[:-ENDING]}
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
            lit = [has_color(frame, SALIENT if at == action else SLATE, x, row) for x in range(996, 1202)]
            assert sum(lit) == pytest.approx(206 * odds[at] / odds.sum(), abs=4), (step.number, at)


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
            lit = [has_color(frames[4 * step.number + 2], color, x, row) for x in range(996, 1202)]
            share = (q_values[at] - q_values.min()) / (q_values.max() - q_values.min())
            assert sum(lit) == pytest.approx(206 * share, abs=4), (step.number, at)


def test_the_first_frame_is_complete(recorded: Recorded) -> None:
    """The reset's frame shows the decision made on it."""
    _, _, frames = recorded
    assert has_color(frames[0], RAISED, 900, 520)
    bars = [has_color(frames[0], SALIENT, 997, 274 + 40 * at + 18) for at in range(4)]
    assert sum(bars) == 1
    assert np.abs(panel_luma(frames[0]) - panel_luma(frames[1])).max() < 16


def panel_text(
    frame: npt.NDArray[np.uint8], text: str, font: Font, size: int, box: Box, *, left: bool = False
) -> float:
    """Return how well a label of a frame correlates with a text: 1 if it shows exactly that text."""
    canvas = Canvas(WIDTH, HEIGHT)
    Label(canvas, box, font, size, (255, 255, 255), "left" if left else "right").set(text)
    shown = Canvas(WIDTH, HEIGHT, frame=frame)
    expected, found = (one.planes(box)[0].ravel().astype(float) for one in (canvas, shown))
    return float(np.corrcoef(expected, found)[0, 1])


def test_the_end_stands_for_two_seconds_with_the_final_score(tmp_path: Path) -> None:
    """The reward of the last step is in no frame of the episode: they show the score before it."""
    checkpoint = network_checkpoint("ALE/Pong-v5")
    trace = play_checkpoint(checkpoint, 400)
    last = max(at for at, reward in enumerate(trace.rewards) if reward)
    trace = play_checkpoint(checkpoint, last + 1)
    assert trace.rewards[-1] == -1
    caption = Caption("title", "details", "return  ·  game over")
    video = render_video(trace, tmp_path / "video.mp4", partial(PanelRenderer, checkpoint=checkpoint, caption=caption))
    assert video.frames == trace.frames + 1 + ENDING
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        frames = list(decoder)
    final, before = (with_minus_sign(str(trace.episode_return + missing)) for missing in (0, 1))
    score = partial(panel_text, font="JetBrainsMono-Bold", size=24, box=Box(1160, 592, 100, 32))
    result = partial(
        panel_text, text="return  ·  game over", font="Inter-SemiBold", size=20, box=Box(20, 686, 840, 28), left=True
    )
    assert score(frames[trace.frames], text=before) > 0.95
    assert result(frames[trace.frames]) < 0.5, "not before the end"
    for frame in (frames[trace.frames + 1], frames[-1]):
        assert score(frame, text=final) > 0.95
        assert result(frame) > 0.95
        assert (np.abs(frame[20:650, 20:860].astype(int) - frames[trace.frames][20:650, 20:860]) < 24).all()


def test_charts_have_a_scale() -> None:
    canvas = Canvas(200, 80, BACKGROUND)
    chart = ScaledChart(canvas, Box(0, 0, 200, 80), (255, 255, 255), 1.0, lambda value: f"{value:.0f}")
    expected = Canvas(200, 80, BACKGROUND)

    def shows(**texts: str) -> bool:
        labels = {"top": Box(140, 0, 60, 24), "middle": Box(140, 28, 60, 24), "bottom": Box(140, 56, 60, 24)}
        for name, box in labels.items():
            Label(expected, box, "JetBrainsMono-Medium", 16, SOFT, "right").set(texts.get(name, " "))
        return all(np.array_equal(expected.planes(box)[0], canvas.planes(box)[0]) for box in labels.values())

    chart.append(5)
    assert shows(middle="5")
    chart.append(12)
    chart.append(-3)
    chart.append(7)
    assert shows(top="12", bottom="-3")


def test_text_that_matters_is_legible_in_mlflows_page() -> None:
    """Scaled to 582 of 1280 pixels, names, probabilities, values and scores are at least 8 pixels high."""
    sizes: list[int] = []
    made = Label.__init__

    def note(self: Label, canvas: Canvas, box: Box, font: Font, size: int, *more: Any, **options: Any) -> None:
        sizes.append(size)
        made(self, canvas, box, font, size, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Label, "__init__", note)
        checkpoint = network_checkpoint("ALE/Pong-v5")
        PanelRenderer(Emulator(checkpoint.settings.game), checkpoint, CAPTION)
    addresses = [10] * 24
    assert sorted(sizes)[:24] == addresses, "of bytes, which are not needed to read the rest"
    assert min(sorted(sizes)[24:]) * 582 / 1280 > 7


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


def test_the_longest_name_of_an_action_is_not_cut_off_in_two_columns() -> None:
    longest, actions = "DOWNRIGHTFIRE", 18
    drawn, alone = Canvas(PANEL_WIDTH, 200), Canvas(PANEL_WIDTH, 200)
    ActionBars(drawn, Box(0, 0, PANEL_WIDTH, 198), [longest] * actions).draw(np.ones(actions), ["0%"] * actions, 1)
    Label(alone, Box(0, 0, PANEL_WIDTH, 22), "JetBrainsMono-Medium", 13, SOFT).set(longest)
    width = text_coverage(longest, "JetBrainsMono-Medium", 13).shape[1]
    assert np.array_equal(drawn.luma[:22, :width], alone.luma[:22, :width])


def test_text_fits_or_ends_with_an_ellipsis() -> None:
    assert truncate_text("short", "Inter-Medium", 12, 200) == "short"
    cut = truncate_text("a rather long text", "Inter-Medium", 12, 50)
    assert cut.endswith("…") and text_coverage(cut, "Inter-Medium", 12).shape[1] <= 50
    assert with_minus_sign("-3") == "\N{MINUS SIGN}3"
    assert (
        text_coverage("-3", "JetBrainsMono-Medium", 12).shape
        == text_coverage(with_minus_sign("-3"), "JetBrainsMono-Medium", 12).shape
    )
