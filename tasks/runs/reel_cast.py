"""Who plays in a reel; the command asks it before Prefect is there."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.settings.base import Settings
from tasks.arcade.video.reel import cast
from tasks.runs.comparability import contenders
from tasks.store import Store, StoredCheckpoint, StoreError


class Side(Settings):
    """A run in a reel, and those of its checkpoints that play."""

    run_id: str
    name: str
    checkpoints: tuple[StoredCheckpoint, ...]
    there_are: int


class Cast(Settings):
    """Who plays in a reel, and where it is kept: a folder of the first run's artifacts."""

    sides: tuple[Side, ...]
    folder: str

    @property
    def run_id(self) -> str:
        """The run that keeps the reel."""
        return self.sides[0].run_id

    @property
    def said(self) -> str:
        """Which checkpoints play, in words."""
        return "; ".join(
            f"{side.name}: {len(side.checkpoints)} of {side.there_are} checkpoints"
            f"{', evenly chosen' if len(side.checkpoints) < side.there_are else ''}"
            for side in self.sides
        )


def find_cast(store: Store, references: Sequence[str]) -> Cast:
    """Who plays in a reel of one run, or of two.

    Raises:
        StoreError: a run is not there, is no training or has no checkpoint; the two are of different games; or there
            is one checkpoint in all.
    """
    run_ids = contenders(store, references).runs
    there = [store.checkpoints_at(run_id) for run_id in run_ids]
    chosen = cast([len(checkpoints) for checkpoints in there])
    sides = tuple(
        Side(
            run_id=run_id,
            name=store.run(run_id).name,
            checkpoints=tuple(checkpoints[at] for at in numbers),
            there_are=len(checkpoints),
        )
        for run_id, checkpoints, numbers in zip(run_ids, there, chosen, strict=True)
    )
    if sum(len(side.checkpoints) for side in sides) < 2:
        raise StoreError(
            f"run {sides[0].name} ({run_ids[0][:8]}) has one checkpoint: a reel takes two or more, or a second run; "
            "`ramreel record` videos one"
        )
    return Cast(sides=sides, folder="reels" if len(sides) == 1 else f"reels/beside-{run_ids[1][:8]}")
