"""Proving films: traces played again, pictures compared, and the checkpoint that is named asked for every decision."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.drawing.mp4_encoder import FilmError
from tasks.arcade.episodes.trace import Trace, TraceError, read_trace
from tasks.arcade.episodes.verify import Verification, verify, verify_decisions
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.embedded_trace import read_mark
from tasks.arcade.video.verify import verify_pictures
from tasks.store import Film, Store, StoredCheckpoint


class Proof(Settings):
    """A film or trace that was checked.

    `pictures_checked` is 0 for a trace alone; `to_the_bit` says that the pictures are exactly what encoding gives;
    `by_checkpoint`, that the checkpoint was asked for every action, as it is of a run's films.
    """

    name: str
    ok: bool
    steps_checked: int
    first_difference: int | None
    what: str
    pictures_checked: int = 0
    first_frame: int | None = None
    to_the_bit: bool = False
    by_checkpoint: bool = False

    @property
    def line(self) -> str:
        if not self.ok:
            return f"{self.name}: NOT proved: {self.what}"
        parts = [f"{self.steps_checked:,} steps identical"]
        if self.pictures_checked:
            how = "to the bit as they are encoded" if self.to_the_bit else "as the emulator draws them"
            parts.append(f"{self.pictures_checked:,} pictures {how}")
        asked = "every action is the checkpoint's"
        parts.append(asked if self.by_checkpoint else "its checkpoint, which a file does not hold, was not asked")
        return f"{self.name}: proved, {', '.join(parts)}"


def verify_file(path: Path) -> Proof:
    """Check a trace's file, or a film's with the trace that is in it.

    Raises:
        TraceError: the file is no trace, or no film with a trace in it.
        FilmError: the film cannot be decoded.
    """
    if not path.is_file():
        raise TraceError(f"there is no file {path}")
    with path.open("rb") as file:
        is_film = file.read(8)[4:] == b"ftyp"
    if not is_film:
        return _of_steps(path.name, verify(read_trace(path)))
    return _film_file(path.name, path)


def _film_file(name: str, path: Path) -> Proof:
    proof = _of_steps(name, verify(read_mark(path)[0].trace))
    return _with_pictures(proof, path) if proof.ok else proof


def verify_run(store: Store, run_id: str) -> list[Proof]:
    """Check every film of a run: its trace's RAM, its pictures, and that its checkpoint decides every action.

    Raises:
        TraceError: the run has no film.
    """
    films, checkpoints = store.whole_films(run_id), store.list_checkpoints(run_id)
    if not films:
        raise TraceError(f"run {run_id} has no film to verify: `ramreel record {run_id[:8]}` makes them")
    by_step = {checkpoint.step: checkpoint for checkpoint in checkpoints}
    every = [film for step in films for film in (films[step], *store.episode_films(run_id, step))]
    return [_verify_film(store, run_id, film, by_step.get(film.step)) for film in every]


def _verify_film(store: Store, run_id: str, film: Film, stored: StoredCheckpoint | None) -> Proof:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        try:
            trace = read_trace(store.fetch_artifact(run_id, film.trace, folder))
            mp4 = store.fetch_artifact(run_id, film.mp4, folder)
            if read_mark(mp4)[0].trace != trace:
                return _wrong(film.mp4, trace, "the trace within the film is not the one beside it")
            proof = _film_file(film.mp4, mp4)
            return _decided(store, proof, trace, stored, folder) if proof.ok else proof
        except (TraceError, FilmError, files.CheckpointError) as error:
            return Proof(name=film.mp4, ok=False, steps_checked=0, first_difference=None, what=str(error))


def _decided(store: Store, proof: Proof, trace: Trace, stored: StoredCheckpoint | None, folder: Path) -> Proof:
    if stored is None or stored.digest != trace.checkpoint:
        return _wrong(
            proof.name, trace, f"the run has no checkpoint {str(trace.checkpoint)[:12]}, which its trace names"
        )
    loaded = files.read(store.fetch_checkpoint(stored, folder / "checkpoint"), stored.digest)
    decisions = _of_steps(proof.name, verify_decisions(trace, loaded.agent()))
    return proof.model_copy(update={"by_checkpoint": True}) if decisions.ok else decisions


def _wrong(name: str, trace: Trace, what: str) -> Proof:
    return Proof(name=name, ok=False, steps_checked=trace.length, first_difference=None, what=what)


def _of_steps(name: str, verification: Verification) -> Proof:
    return Proof(
        name=name,
        ok=verification.ok,
        steps_checked=verification.steps_checked,
        first_difference=verification.first_difference,
        what=verification.what,
    )


def _with_pictures(proof: Proof, path: Path) -> Proof:
    pictures = verify_pictures(path)
    if pictures.ok:
        return proof.model_copy(update={"pictures_checked": pictures.frames_checked, "to_the_bit": pictures.exact})
    return Proof(
        name=proof.name,
        ok=False,
        steps_checked=proof.steps_checked,
        first_difference=pictures.step,
        what=pictures.what,
        pictures_checked=pictures.frames_checked,
        first_frame=pictures.first_frame,
    )
