"""Proving films: traces played again, and the checkpoint that they name asked for every decision."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade import checkpoint as files
from tasks.arcade.episode import Trace, TraceError, Verification, read_trace, verify, verify_decisions
from tasks.arcade.settings import Settings
from tasks.store import Film, Store, StoredCheckpoint


class Proof(Settings):
    """A film or trace that was checked."""

    name: str
    ok: bool
    steps_checked: int
    first_difference: int | None
    what: str
    by_checkpoint: bool = False

    @property
    def line(self) -> str:
        if not self.ok:
            return f"{self.name}: NOT proved: {self.what}"
        decided = ", every action is the checkpoint's" if self.by_checkpoint else ""
        return f"{self.name}: proved, {self.steps_checked:,} steps identical{decided}"


def verify_trace(path: Path) -> Proof:
    """Play a trace's file again and compare the RAM at every step.

    Raises:
        TraceError: the file is no trace.
    """
    return _proof(path.name, verify(read_trace(path)))


def verify_run(store: Store, run_id: str) -> list[Proof]:
    """Check every film of a run: its trace's RAM, and that its checkpoint decides every one of its actions.

    Raises:
        TraceError: the run has no film.
    """
    films, checkpoints = store.whole_films(run_id), store.list_checkpoints(run_id)
    if not films:
        raise TraceError(f"run {run_id} has no film to verify: `ramreel record {run_id[:8]}` makes them")
    by_step = {checkpoint.step: checkpoint for checkpoint in checkpoints}
    return [_verify_film(store, run_id, film, by_step.get(step)) for step, film in films.items()]


def _verify_film(store: Store, run_id: str, film: Film, stored: StoredCheckpoint | None) -> Proof:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        try:
            trace = read_trace(store.fetch_artifact(run_id, film.trace, folder))
            proof = _proof(film.mp4, verify(trace))
            if not proof.ok:
                return proof
            return _decided(store, film.mp4, trace, stored, folder)
        except (TraceError, files.CheckpointError) as error:
            return Proof(name=film.mp4, ok=False, steps_checked=0, first_difference=None, what=str(error))


def _decided(store: Store, name: str, trace: Trace, stored: StoredCheckpoint | None, folder: Path) -> Proof:
    if stored is None or stored.digest != trace.checkpoint:
        what = f"the run has no checkpoint {str(trace.checkpoint)[:12]}, which its trace names"
        return Proof(name=name, ok=False, steps_checked=trace.length, first_difference=None, what=what)
    loaded = files.read(store.fetch_checkpoint(stored, folder / "checkpoint"), stored.digest)
    return _proof(name, verify_decisions(trace, loaded.agent())).model_copy(update={"by_checkpoint": True})


def _proof(name: str, verification: Verification) -> Proof:
    return Proof(
        name=name,
        ok=verification.ok,
        steps_checked=verification.steps_checked,
        first_difference=verification.first_difference,
        what=verification.what,
    )
