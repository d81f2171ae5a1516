"""Selection of the checkpoints of a reel."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.reel import select_evenly
from tasks.runs.comparability import select_runs
from tasks.store import Store, StoredCheckpoint, StoreError


class ReelSide(Settings):
    """A run of a reel and the checkpoints shown; `available` counts all checkpoints of the run."""

    run_id: str
    name: str
    checkpoints: tuple[StoredCheckpoint, ...]
    available: int


class ReelSelection(Settings):
    """The runs and checkpoints of a reel, and the artifact folder that it is stored in."""

    sides: tuple[ReelSide, ...]
    folder: str

    @property
    def run_id(self) -> str:
        """The run that stores the reel."""
        return self.sides[0].run_id

    @property
    def summary(self) -> str:
        """Number of checkpoints shown of each run."""
        return "; ".join(
            f"{side.name}: {len(side.checkpoints)} of {pluralize(side.available, 'checkpoint')}"
            f"{', evenly spaced' if len(side.checkpoints) < side.available else ''}"
            for side in self.sides
        )


def select_checkpoints(store: Store, references: Sequence[str]) -> ReelSelection:
    """Select the checkpoints of a reel of one run, or of two side by side.

    Raises:
        StoreError: a reference matches no run or several; a run is not a training run or has no checkpoint; the runs
            play different games; or there is only one checkpoint in all.
    """
    run_ids = select_runs(store, references).runs
    available = [store.checkpoints_at(run_id) for run_id in run_ids]
    chosen = select_evenly([len(checkpoints) for checkpoints in available])
    sides = tuple(
        ReelSide(
            run_id=run_id,
            name=store.run(run_id).name,
            checkpoints=tuple(checkpoints[index] for index in indices),
            available=len(checkpoints),
        )
        for run_id, checkpoints, indices in zip(run_ids, available, chosen, strict=True)
    )
    if sum(len(side.checkpoints) for side in sides) < 2:
        raise StoreError(
            f"run {sides[0].name} ({run_ids[0][:8]}) has one checkpoint, and a reel needs two or more: give a second "
            "run, or record the checkpoint with `ramreel record`"
        )
    return ReelSelection(sides=sides, folder="reels" if len(sides) == 1 else f"reels/beside-{run_ids[1][:8]}")
