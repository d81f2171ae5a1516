"""A command whose output nobody reads, or whose streams are closed, does its work all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import ROOT

from tasks.store import open_store

TRAIN = ["train", "ALE/Breakout-v5", "--approach", "random", "--steps", "100"]


def ramreel(arguments: list[str], redirection: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell with its streams redirected."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" -m flows "$@" {redirection}', sys.executable, *arguments],
        env={**os.environ, **environment}, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [["games"], ["games", "--json"], ["--help"], ["trian"]], ids=" ".join)
def test_reader_of_the_output_may_leave(arguments: list[str]) -> None:
    # `true` has exited when the first line is printed.
    ended = ramreel(arguments, "2>&1 | true")
    assert (ended.returncode, ended.stdout, ended.stderr) == (2 if arguments == ["trian"] else 0, "", "")


@pytest.mark.parametrize("redirection", ["2>&1 | true", ">&- 2>&- <&-"], ids=["pipe", "closed"])
def test_training_ends_with_its_checkpoint_and_an_intact_store(redirection: str, home: Path) -> None:
    assert ramreel(TRAIN, redirection, RAMREEL_HOME=str(home)).returncode == 0
    store = open_store(f"sqlite:///{home}/mlruns/mlflow.db")
    run_id = store.resolve_run("latest")
    assert store.run(run_id).status == "FINISHED"
    assert [saved.step for saved in store.list_checkpoints(run_id)] == [100]


def test_characters_that_the_encoding_lacks_are_escaped() -> None:
    ended = ramreel(["games", "\N{INVERTED QUESTION MARK}"], "", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert ended.returncode == 2
    assert ended.stderr.startswith("ramreel: No environment id contains")
    shown = ramreel(["--help"], "", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert (shown.returncode, shown.stderr) == (0, "")


def test_full_disk_under_the_output_is_an_error() -> None:
    assert ramreel(["games", "--json"], "> /dev/full").returncode != 0
