"""The atlas of Pong agrees with the published RAM annotations and is reproducible."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.arcade.atlas.atlas import Atlas, AtlasError, read_atlas
from tasks.arcade.atlas.build import AtlasData, assemble_atlas
from tasks.arcade.atlas.page import render_html
from tasks.arcade.atlas.perturb import PerturbationSettings, perturb_play
from tasks.arcade.emulator.environment_ids import resolve

PONG = resolve("ALE/Pong-v5")
SETTINGS = PerturbationSettings(game=PONG, seed=0, steps=800, states=24)


@pytest.fixture(scope="module")
def pong() -> AtlasData:
    return assemble_atlas([perturb_play(SETTINGS)], PONG, seed=0, player="random")


@pytest.mark.parametrize(("byte", "kind"), [(51, "y"), (49, "x"), (54, "y"), (50, "y")])
def test_published_positions_are_found(pong: AtlasData, byte: int, kind: str) -> None:
    """Anand et al. 2019: player_y 51, ball_x 49, ball_y 54, enemy_y 50."""
    assert pong.atlas.entries[byte].kind == kind


def test_the_players_paddle_is_on_the_right_and_the_enemys_on_the_left(pong: AtlasData) -> None:
    (_, width) = pong.atlas.size
    player, enemy = (pong.atlas.entries[byte].region for byte in (51, 50))
    assert player is not None
    assert enemy is not None
    assert player.x > width / 2 > enemy.x + enemy.width


def test_a_written_atlas_reads_back_equal(pong: AtlasData, tmp_path: Path) -> None:
    path = tmp_path / "atlas.json"
    path.write_text(pong.atlas.model_dump_json())
    assert read_atlas(path) == pong.atlas
    path.write_text("{}")
    with pytest.raises(AtlasError):
        read_atlas(path)
    assert len(pong.atlas.entries) == 128


FORMER_FIELDS = {
    '"relation"': '"how"',
    '"confidence"': '"sure"',
    '"object"': '"thing"',
    '"objects"': '"things"',
    '"bounds"': '"reach"',
    '"perturbations"': '"pokes"',
    '"discarded_states"': '"unsteady"',
    '"x motion"': '"x drive"',
    '"y motion"': '"y drive"',
    '"appearance"': '"look"',
}


def test_an_atlas_with_former_field_names_is_read(pong: AtlasData, tmp_path: Path) -> None:
    path, text = tmp_path / "atlas.json", pong.atlas.model_dump_json()
    for current, former in FORMER_FIELDS.items():
        text = text.replace(current, former)
    assert '"thing"' in text
    path.write_text(text)
    assert read_atlas(path) == pong.atlas


def test_text_of_an_untrusted_atlas_is_escaped_in_its_page(pong: AtlasData) -> None:
    script = "<script>alert(1)</script>"
    page = render_html(pong.atlas.model_copy(update={"player": script, "ale_py": script}), b"")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_same_seed_gives_the_same_atlas(pong: AtlasData) -> None:
    again: Atlas = assemble_atlas([perturb_play(SETTINGS)], PONG, seed=0, player="random").atlas
    assert again == pong.atlas
