"""Files and folders appear complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.arcade.atomic_write import atomic_file, atomic_folder


def test_a_file_appears_complete_and_replaces_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("former")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "former"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_hidden_and_has_the_suffix(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file", suffix=".zip") as temporary:
        temporary.touch()
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".zip"


def test_an_error_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("former")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as temporary:
        temporary.write_text("incomplete")
        raise KeyboardInterrupt
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_complete(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "parent" / "folder") as temporary:
        (temporary / "file").write_text("new")
    assert (tmp_path / "parent" / "folder" / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "parent").iterdir()] == ["folder"]


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "file").write_text("incomplete")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
