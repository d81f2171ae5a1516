"""The atlas finds what is published of Pong's RAM, and is the same however often it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.arcade.atlas.build import Chart, chart
from tasks.arcade.atlas.model import Atlas, AtlasError, read_atlas
from tasks.arcade.atlas.page import render_html
from tasks.arcade.atlas.perturb import PlaySettings, study
from tasks.arcade.emulator.emulator import resolve

PONG = resolve("ALE/Pong-v5")
PLAY = PlaySettings(game=PONG, seed=0, steps=800, states=24)


@pytest.fixture(scope="module")
def pong() -> Chart:
    return chart([study(PLAY)], PONG, seed=0, player="random")


@pytest.mark.parametrize(("byte", "kind"), [(51, "y"), (49, "x"), (54, "y"), (50, "y")])
def test_published_positions_are_found(pong: Chart, byte: int, kind: str) -> None:
    """Anand et al. 2019: player_y 51, ball_x 49, ball_y 54, enemy_y 50."""
    assert pong.atlas.entries[byte].kind == kind


def test_the_players_paddle_is_at_the_right_and_the_enemys_at_the_left(pong: Chart) -> None:
    (_, width) = pong.atlas.size
    player, enemy = (pong.atlas.entries[byte].region for byte in (51, 50))
    assert player is not None
    assert enemy is not None
    assert player.x > width / 2 > enemy.x + enemy.width


def test_an_atlas_is_read_as_it_was_written(pong: Chart, tmp_path: Path) -> None:
    path = tmp_path / "atlas.json"
    path.write_text(pong.atlas.model_dump_json())
    assert read_atlas(path) == pong.atlas
    path.write_text("{}")
    with pytest.raises(AtlasError):
        read_atlas(path)
    assert len(pong.atlas.entries) == 128


def test_what_a_strangers_atlas_says_is_text_in_its_page(pong: Chart) -> None:
    evil = "<script>alert(1)</script>"
    page = render_html(pong.atlas.model_copy(update={"player": evil, "ale_py": evil}), b"")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_same_seed_gives_the_same_atlas(pong: Chart) -> None:
    again: Atlas = chart([study(PLAY)], PONG, seed=0, player="random").atlas
    assert again == pong.atlas
