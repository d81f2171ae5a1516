"""What a panel says of a step is what the policy sees and decides at it; read from the video's own pictures."""

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
    made = render_video(trace, path, partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    assert (made.width, made.height, made.frames) == (WIDTH, HEIGHT, 4 * STEPS + 1)
    with Mp4Decoder(path) as decoder:
        return checkpoint, trace, [picture.copy() for picture in decoder]


def like(picture: npt.NDArray[np.uint8], color: tuple[int, int, int], x: int, y: int) -> bool:
    """Whether a pixel of a video has a color, as near as encoding leaves it."""
    canvas = Canvas(WIDTH, HEIGHT, picture=picture)
    seen = [canvas.luma[y, x], *canvas.chroma[:, y // 2, x // 2]]
    return bool(np.abs(np.array(seen, int) - rgb_to_ycbcr(np.array(color, np.uint8))).max() < 16)


def cell(byte: int) -> tuple[int, int]:
    """Upper left corner of a byte's cell."""
    return 908 + 22 * (byte % 16), 58 + 22 * (byte // 16)


Recorded = tuple[Checkpoint, Trace, list[npt.NDArray[np.uint8]]]


def test_what_changed_lights_up_in_the_step_that_is_decided_on_it(recorded: Recorded) -> None:
    _, trace, pictures = recorded
    steps = list(replay(trace))
    found = 0
    for before, step in pairwise(steps[:-1]):
        picture = pictures[4 * step.number + 2]
        for byte in range(128):
            x, y = cell(byte)
            lit = like(picture, CHANGED, x + 3, y + 3)
            assert lit == (step.ram[byte] != before.ram[byte]), (step.number, byte)
            found += lit
    assert found > STEPS


def beside(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """The luma of what lies beside the game."""
    return picture[:HEIGHT, 880:].astype(np.int16)


def test_the_panel_changes_once_a_step_and_the_game_every_frame(recorded: Recorded) -> None:
    _, _, pictures = recorded
    for step in range(1, STEPS):
        first, *others = map(beside, pictures[4 * step + 1 : 4 * step + 5])
        assert all(np.abs(first - other).max() < 16 for other in others), step
        assert np.abs(first - beside(pictures[4 * step])).max() > 60, step
    games = {picture[:650, :860].tobytes() for picture in pictures}
    assert len(games) > 2 * STEPS


def test_what_the_decision_depends_on_most_has_a_frame(recorded: Recorded) -> None:
    checkpoint, trace, pictures = recorded
    algorithm = checkpoint.settings.approach.algorithm
    assert isinstance(algorithm, PpoSettings)
    features = checkpoint.settings.approach.features
    attention = Saliency(features, checkpoint.statistics, algorithm.network, checkpoint.weights)
    steps = list(replay(trace))
    for before, step, action in zip(steps, steps[1:-1], trace.actions[1:], strict=False):
        effects = np.abs(attention(step.ram, before.ram, action)) * checkpoint.statistics.deviation
        picture = pictures[4 * step.number + 2]
        most, least = int(effects.argmax()), int(effects.argmin())
        assert like(picture, SALIENT, cell(most)[0], cell(most)[1])
        assert not like(picture, SALIENT, cell(least)[0], cell(least)[1])


def test_bars_are_as_long_as_actions_are_likely_and_the_taken_one_is_set_off(recorded: Recorded) -> None:
    checkpoint, trace, pictures = recorded
    agent = checkpoint.agent()
    steps = list(replay(trace))
    for before, step, action in zip(steps, steps[1:-1], trace.actions[1:], strict=False):
        logits = agent.policy.logits(agent.features(step.ram[None], before.ram[None]))
        odds = np.exp(logits[0] - logits[0].max())
        picture = pictures[4 * step.number + 2]
        for at in range(4):
            row = 274 + 40 * at + 18
            lit = [like(picture, SALIENT if at == action else SLATE, x, row) for x in range(996, 1216)]
            assert sum(lit) == pytest.approx(220 * odds[at] / odds.sum(), abs=4), (step.number, at)


def test_bars_are_as_long_as_actions_are_worth_more_than_the_worst(tmp_path: Path) -> None:
    checkpoint = network_checkpoint(name="qrdqn")
    trace = play_checkpoint(checkpoint, 6)
    render_video(trace, tmp_path / "video.mp4", partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        pictures = [picture.copy() for picture in decoder]
    agent = checkpoint.agent()
    assert isinstance(agent.policy, QPolicy)
    steps = list(replay(trace))
    for before, step, action in zip(steps, steps[1:-1], trace.actions[1:], strict=False):
        worth = agent.policy.q_values(agent.features(step.ram[None], before.ram[None]))[0]
        assert action == worth.argmax()
        for at in range(4):
            color, row = SALIENT if at == action else SLATE, 274 + 40 * at + 18
            lit = [like(pictures[4 * step.number + 2], color, x, row) for x in range(996, 1216)]
            share = (worth[at] - worth.min()) / (worth.max() - worth.min())
            assert sum(lit) == pytest.approx(220 * share, abs=4), (step.number, at)


def test_the_first_picture_is_whole(recorded: Recorded) -> None:
    """The reset is shown with what is decided on it, beside it."""
    _, _, pictures = recorded
    assert like(pictures[0], RAISED, 900, 520)
    bars = [like(pictures[0], SALIENT, 997, 274 + 40 * at + 18) for at in range(4)]
    assert sum(bars) == 1
    assert np.abs(beside(pictures[0]) - beside(pictures[1])).max() < 16


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
def test_every_approach_and_every_shape_of_game_has_a_panel(env_id: str, name: str, tmp_path: Path) -> None:
    checkpoint = network_checkpoint(env_id, name)
    trace = play_checkpoint(checkpoint, 5)
    render_video(trace, tmp_path / "video.mp4", partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    with Mp4Decoder(tmp_path / "video.mp4") as decoder:
        last = [picture.copy() for picture in decoder][-1]
    names = Canvas(WIDTH, HEIGHT, picture=last).luma[274:472, 884:1260]
    assert names.max() > 120, "actions are named"
    assert last[GAME.y : GAME.y + GAME.height, GAME.x : GAME.x + GAME.width].max() > 40


def test_a_running_line_shows_every_value_and_jumps_back_when_it_arrives_at_the_right() -> None:
    canvas = Canvas(120, 40)
    chart = LineChart(canvas, Box(0, 0, 120, 40), (255, 255, 255), 1.0)
    values = [0.0, 10.0, *np.random.default_rng(0).uniform(0, 10, 300)]
    for number, value in enumerate(values):
        chart.add(value)
        lit = (canvas.luma > 120).any(axis=0)
        shown = number + 1 if number < 120 else 80 + (number - 120) % 40 + 1
        assert lit.tolist() == [column < shown for column in range(120)]
    rows = [round(6 + 28 * (1 - value / 10)) for value in values[len(values) - shown :]]
    assert all(canvas.luma[row, column] > 100 for column, row in enumerate(rows))


def test_labels_are_drawn_where_they_belong_and_cut_off_where_they_do_not_fit() -> None:
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


def test_letters_fit_or_end_with_an_ellipsis() -> None:
    assert truncate_text("short", "Inter-Medium", 12, 200) == "short"
    cut = truncate_text("a rather long text", "Inter-Medium", 12, 50)
    assert cut.endswith("…") and text_coverage(cut, "Inter-Medium", 12).shape[1] <= 50
    assert with_minus_sign("-3") == "\N{MINUS SIGN}3"
    assert text_coverage("-3", "JetBrainsMono-Medium", 12).shape == text_coverage(with_minus_sign("-3"), "JetBrainsMono-Medium", 12).shape
