"""A play that is looked into: work for a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.arcade.atlas.perturb import PlaySettings, Study, study
from tasks.arcade.checkpoints import checkpoint as files


def silence_stderr() -> None:
    """Let nothing of this process come to standard error.

    The console's processor says there that a changed byte led it to something that is no instruction.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def study_checkpoint(play: PlaySettings, directory: Path | None, digest: str | None) -> Study:
    """Play as the checkpoint in a folder does, or at random, and change every byte in some of the states.

    Raises:
        CheckpointError: the checkpoint is damaged.
        UnknownGameError: the game cannot be emulated.
    """
    return study(play, files.read(directory, digest).agent() if directory else None)
