"""Selection of the runs of a comparison, and whether they are comparable."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tasks.arcade.emulator.environment_ids import rom_path
from tasks.arcade.scores.published import REFERENCES
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.runs.lookup import resolve_reference
from tasks.store import ChampionRegistry, Store, StoredRun, StoreError

CHAMPION = "champion"
_NORMALIZED_HINT = "--normalized compares human-normalized scores instead"


class RunSelection(Settings):
    """The runs of a comparison, by run id.

    Attributes:
        runs: the compared runs, in the given order.
        baseline: the runs they are compared against; may be empty.
        baseline_name: name of the baseline in the report.
        baseline_step: last step of the baseline that counts, since the champion is a single checkpoint; None: all.
        normalized: compare human-normalized scores.
    """

    runs: tuple[str, ...] = Field(min_length=1)
    baseline: tuple[str, ...] = ()
    baseline_name: str | None = None
    baseline_step: int | None = None
    normalized: bool = False

    @property
    def all_runs(self) -> tuple[str, ...]:
        return (*self.runs, *self.baseline)


def select_runs(
    store: Store, references: Sequence[str], against: Sequence[str] = (), *, normalized: bool = False
) -> RunSelection:
    """Resolve the runs of a comparison, each once, and check that they are comparable.

    Args:
        store: the store.
        references: run ids, prefixes of run ids, or run names.
        against: the baseline, likewise; or `champion`, the champion of the runs' game.
        normalized: allow runs of several games, or with different game settings.

    Raises:
        StoreError: a reference matches no run or several; a run has no game; the game has no champion, or it was not
            evaluated; the games or their settings differ; or no human score is published for a game.
        RomError: the ROM of a game cannot be read, which names the actions and plays the episodes.
    """
    run_ids = _resolve_all(store, references)
    if list(against) == [CHAMPION]:
        selection = _against_champion(store, run_ids, normalized)
    else:
        baseline = _resolve_all(store, against)
        if both := set(run_ids) & set(baseline):
            raise StoreError(f"run {both.pop()} would be compared against itself: choose another baseline")
        selection = RunSelection(
            runs=run_ids, baseline=baseline, baseline_name="baseline" if baseline else None, normalized=normalized
        )
    _check_comparable(store, selection)
    return selection


def _resolve_all(store: Store, references: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(resolve_reference(store, reference) for reference in references))


def _against_champion(store: Store, run_ids: tuple[str, ...], normalized: bool) -> RunSelection:
    env_id = game_of(store.run(run_ids[0])).env_id
    champion = ChampionRegistry(store.address).champion(env_id)
    if champion is None:
        raise StoreError(f"{env_id} has no champion yet: give --against a run instead")
    if champion.step not in store.evaluations(champion.run_id):
        raise StoreError(
            f"the champion of {env_id} is not evaluated: run `ramreel record {champion.run_id[:8]} "
            f"--checkpoint {champion.step}` first"
        )
    # A champion among the runs is not compared against itself.
    others = tuple(run_id for run_id in run_ids if run_id != champion.run_id)
    if not others:
        raise StoreError(f"run {champion.run_id} is the champion itself: choose another run")
    return RunSelection(
        runs=others,
        baseline=(champion.run_id,),
        baseline_name=CHAMPION,
        baseline_step=champion.step,
        normalized=normalized,
    )


def game_of(run: StoredRun) -> GameSettings:
    """Return the game of a run.

    Raises:
        StoreError: it is neither a training run nor imported.
    """
    if run.settings is not None:
        return run.settings.game
    if run.external is not None:
        return run.external.game
    raise StoreError(
        f"run {run.name} ({run.run_id[:8]}) is not a training run: only training runs and imported runs are comparable"
    )


def _check_comparable(store: Store, selection: RunSelection) -> None:
    runs = [store.run(run_id) for run_id in selection.all_runs]
    games = [game_of(run) for run in runs]
    for game in games:
        rom_path(game.rom)
    if selection.normalized:
        for game in games:
            reference = REFERENCES.get(game.rom)
            if reference is None or reference.random is None or reference.human is None:
                raise StoreError(f"no human score is published for {game.rom}: leave it out, or leave out --normalized")
        return
    for run, game in zip(runs, games, strict=True):
        if different := game_difference(games[0], game):
            raise StoreError(f"{runs[0].name} and {run.name} are not comparable: {different}; {_NORMALIZED_HINT}")


def game_difference(one: GameSettings, other: GameSettings) -> str:
    """Describe how the emulators of two games differ; empty if they do not: environment ids are only names."""
    if one.rom != other.rom:
        return f"they play {one.env_id} and {other.env_id}"
    ours, theirs = one.model_dump(exclude={"env_id"}), other.model_dump(exclude={"env_id"})
    return ", ".join(f"{key} is {ours[key]} and {theirs[key]}" for key in ours if ours[key] != theirs[key])
