"""Who is compared with whom: runs found, and whether they may be held against each other at all."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tasks.arcade.scores.published import REFERENCES
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.store import Registry, Store, StoredRun, StoreError

CHAMPION = "champion"
_OFFER = "--normalized compares human-normalized scores instead"


class Contenders(Settings):
    """The runs of a comparison, by MLflow's ids.

    Attributes:
        runs: those that are looked at, in the order they were named.
        baseline: those that they are held against; empty: nothing is.
        called: what the baseline is called.
        step: the baseline's checkpoint, where it is not the last one: the champion is one checkpoint.
        normalized: human-normalized scores are compared.
    """

    runs: tuple[str, ...] = Field(min_length=1)
    baseline: tuple[str, ...] = ()
    called: str | None = None
    step: int | None = None
    normalized: bool = False

    @property
    def everyone(self) -> tuple[str, ...]:
        return (*self.runs, *self.baseline)


def contenders(
    store: Store, references: Sequence[str], against: Sequence[str] = (), *, normalized: bool = False
) -> Contenders:
    """The runs that are meant, each once; nothing is read of them but what says whether they can be compared.

    Args:
        store: where they are.
        references: runs, as a person names them.
        against: the baseline, likewise; or `champion`, that of the runs' game.
        normalized: runs of several games, or of differing settings, are allowed.

    Raises:
        StoreError: a run is not there, is named ambiguously or has no game; there is no champion, or it was not
            evaluated; the games or their settings differ; or no human score is published for a game.
    """
    run_ids = _resolved(store, references)
    if list(against) == [CHAMPION]:
        found = _with_champion(store, run_ids, normalized)
    else:
        baseline = _resolved(store, against)
        if both := set(run_ids) & set(baseline):
            raise StoreError(f"run {both.pop()} would be held against itself: name another one")
        found = Contenders(
            runs=run_ids, baseline=baseline, called="baseline" if baseline else None, normalized=normalized
        )
    _check(store, found)
    return found


def _resolved(store: Store, references: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(store.resolve_run(reference) for reference in references))


def _with_champion(store: Store, run_ids: tuple[str, ...], normalized: bool) -> Contenders:
    env_id = game_of(store.run(run_ids[0])).env_id
    champion = Registry(store.address).champion(env_id)
    if champion is None:
        raise StoreError(f"{env_id} has no champion yet: --against takes a run as well")
    if champion.step not in store.evaluations(champion.run_id):
        raise StoreError(
            f"the champion of {env_id} is not evaluated: `ramreel record {champion.run_id[:8]} "
            f"--checkpoint {champion.step}` does it"
        )
    # A champion that is among the runs is not compared with itself.
    others = tuple(run_id for run_id in run_ids if run_id != champion.run_id)
    if not others:
        raise StoreError(f"run {champion.run_id} is the champion itself: name another one")
    return Contenders(
        runs=others, baseline=(champion.run_id,), called=CHAMPION, step=champion.step, normalized=normalized
    )


def game_of(run: StoredRun) -> GameSettings:
    """The game that a run plays.

    Raises:
        StoreError: it is neither a training nor imported.
    """
    if run.settings is not None:
        return run.settings.game
    if run.foreign is not None:
        return run.foreign.game
    raise StoreError(
        f"run {run.name} ({run.run_id[:8]}) is no training: only trainings and imported runs can be compared"
    )


def _check(store: Store, found: Contenders) -> None:
    runs = [store.run(run_id) for run_id in found.everyone]
    games = [game_of(run) for run in runs]
    if found.normalized:
        for game in games:
            reference = REFERENCES.get(game.rom)
            if reference is None or reference.random is None or reference.human is None:
                raise StoreError(f"no human score is published for {game.rom}: leave it out, or leave out --normalized")
        return
    for run, game in zip(runs, games, strict=True):
        if different := difference(games[0], game):
            raise StoreError(f"{runs[0].name} and {run.name} cannot be compared: {different}; {_OFFER}")


def difference(one: GameSettings, other: GameSettings) -> str:
    """What two games' emulators do differently, in words; empty if nothing: an id is only a name."""
    if one.rom != other.rom:
        return f"they play {one.env_id} and {other.env_id}"
    ours, theirs = one.model_dump(exclude={"env_id"}), other.model_dump(exclude={"env_id"})
    return ", ".join(f"{key} is {ours[key]} and {theirs[key]}" for key in ours if ours[key] != theirs[key])
