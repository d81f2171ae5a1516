"""`ALE_ROMS_DIR`: the ROMs in it are used without a word, and a missing one is the machine's fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.checkpoints import random_checkpoint
from helpers.episodes import random_play

from tasks.arcade.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.emulator.environment_ids import RomError, rom_digest, rom_path
from tasks.arcade.episodes.verify import verify


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALE_ROMS_DIR", raising=False)
    rom_digest.cache_clear()
    action_names.cache_clear()


def missing(folder: Path) -> Path:
    return folder / "gone"


def a_file(folder: Path) -> Path:
    return rom_path("pong")


def without_the_game(folder: Path) -> Path:
    shutil.copy(rom_path("breakout"), folder)
    return folder


def with_another_rom(folder: Path) -> Path:
    shutil.copy(rom_path("breakout"), folder / "pong.bin")
    return folder


@pytest.mark.parametrize("folder", [missing, a_file, without_the_game, with_another_rom])
def test_a_rom_that_cannot_be_read_is_neither_a_damaged_checkpoint_nor_another_game(
    folder: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert callable(folder)
    digest = write_checkpoint(random_checkpoint(), tmp_path / "checkpoint")
    trace = random_play("ALE/Pong-v5", 20)
    rom_digest.cache_clear()
    monkeypatch.setenv("ALE_ROMS_DIR", str(folder(tmp_path)))
    for attempt in (
        lambda: rom_path("pong"),
        lambda: read_checkpoint(tmp_path / "checkpoint", digest),
        lambda: verify(trace),
    ):
        with pytest.raises(RomError, match=r"^ALE_ROMS_DIR is .* Unset it to use the ROMs of ale-py") as caught:
            attempt()
        assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


def test_the_roms_of_the_folder_are_used_without_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(rom_path("pong"), tmp_path)
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    assert rom_path("pong") == tmp_path / "pong.bin"
    assert verify(random_play("ALE/Pong-v5", 20)).ok, "in Gymnasium's environment too"
    assert capfd.readouterr() == ("", "")
