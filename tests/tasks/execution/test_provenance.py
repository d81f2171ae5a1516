"""The command line of a run is stored without passwords."""

from __future__ import annotations

import shlex

import pytest

from tasks.execution.provenance import command


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://someone:secret@host/path", "https://host/path"),
        ("http://someone:se@cret@host", "http://host"),
        ("postgresql://someone:secret@host:5432/runs", "postgresql://host:5432/runs"),
        ("postgresql://host/runs?password=secret&user=someone", "postgresql://host/runs?user=someone"),
        ("sqlite:////srv/some@one/mlflow.db", "sqlite:////srv/some@one/mlflow.db"),
    ],
)
def test_command_is_stored_without_passwords(address: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/ramreel", "train", "ALE/Pong-v5", "--tracking-uri", address])
    assert shlex.split(command()) == ["ramreel", "train", "ALE/Pong-v5", "--tracking-uri", kept]
