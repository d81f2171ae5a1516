"""Perturbation of states of a checkpoint's play, as a job for a worker process."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.arcade.atlas.perturb import PerturbationResult, PerturbationSettings, perturb_play
from tasks.arcade.checkpoints import checkpoint as files


def silence_stderr() -> None:
    """Redirect standard error of this process to the null device.

    ALE writes "Illegal Instruction" there when a perturbed byte leads its processor to an invalid opcode.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def perturb_checkpoint(
    settings: PerturbationSettings, directory: Path | None, digest: str | None
) -> PerturbationResult:
    """Play with the checkpoint of a folder, or randomly without one, and perturb every byte in some of the states.

    Raises:
        CheckpointError: The checkpoint is damaged.
        UnknownEnvironmentError: The game cannot be emulated.
    """
    return perturb_play(settings, files.read_checkpoint(directory, digest).agent() if directory else None)
