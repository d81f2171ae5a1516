"""Data of a report, read from MLflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.external_runs import ExternalEvaluation, ExternalRun
from tasks.arcade.report import CheckpointRow, Cost, PixelsRow, RunView, checkpoint_row
from tasks.arcade.scores.pixels_returns import SOURCE_OF
from tasks.arcade.settings.game import GameSettings
from tasks.runs.comparability import RunSelection, game_of
from tasks.runs.consistency import metric_contradictions
from tasks.store import Store, StoredRun, StoreError


def read_runs(store: Store, selection: RunSelection) -> tuple[RunView, ...]:
    """Return the runs of a comparison.

    Raises:
        StoreError: a run cannot be read, or contains a return that is not a number.
    """
    return tuple(read_run(store, run_id, selection) for run_id in selection.all_runs)


def read_run(store: Store, run_id: str, selection: RunSelection) -> RunView:
    """Return one run of a comparison.

    Raises:
        StoreError: it cannot be read, or contains a return that is not a number.
    """
    run = store.run(run_id)
    game = game_of(run)
    baseline = run.run_id in selection.baseline
    last = selection.baseline_step if baseline else None
    evaluations = [one for one in store.fetch_evaluations(run.run_id) if last is None or one.step <= last]
    view = _view(store, run, game, evaluations, last)
    if run.external is not None:
        view = _imported(view, run, run.external)
    return view.model_copy(update={"side": "baseline" if baseline else "candidate"})


def _imported(view: RunView, run: StoredRun, external: ExternalRun) -> RunView:
    """Add what an import knows; its evaluations count unless the run was evaluated here."""
    update: dict[str, object] = {
        "origin": external.origin,
        "notes": (*external.notes, *view.notes),
        "steps": external.steps,
        "cost": Cost(),
    }
    if not view.checkpoints:
        rows = tuple(_external_row(run, external, one) for one in external.evaluations)
        update |= {"checkpoints": rows, "returns_from": external.returns_from, "evaluated_here": False}
    return view.model_copy(update=update)


def _external_row(run: StoredRun, external: ExternalRun, evaluation: ExternalEvaluation) -> CheckpointRow:
    # Without RAM digests: in a deterministic game, episodes with the same return and length count as one.
    sticky = external.game.repeat_action_probability > 0 or not evaluation.lengths
    indices = range(len(evaluation.returns))
    episodes = indices if sticky else zip(evaluation.returns, evaluation.lengths, strict=True)
    return _checked_row(run, evaluation.step, evaluation.returns, [str(one) for one in episodes], evaluation.lengths)


def _view(
    store: Store, run: StoredRun, game: GameSettings, evaluations: Sequence[Evaluation], last: int | None
) -> RunView:
    run_id, known = run.run_id, run.settings or run.external
    assert known is not None
    return RunView(
        run_id=run_id,
        run_name=run.name,
        approach=known.approach if isinstance(known, ExternalRun) else known.approach.name,
        learned=isinstance(known, ExternalRun) or known.approach.algorithm.learns,
        seed=known.seed,
        env_id=game.env_id,
        rom=game.rom,
        frame_skip=_frame_skip(game),
        repeat_action_probability=game.repeat_action_probability,
        steps=int(run.metrics.get("time/total_timesteps", 0)),
        checkpoints=tuple(_row(run, evaluation) for evaluation in evaluations),
        curve=tuple(store.history(run_id, "rollout/ep_rew_mean")),
        episode_length=run.metrics.get("rollout/ep_len_mean") or None,
        from_pixels=_from_pixels(store, run, last),
        actions=_actions(game, evaluations[-1]) if evaluations else (),
        parameters=dict(run.params),
        cost=_cost(store, run),
        command=run.tags.get("ramreel.command", ""),
        versions=run.versions,
        commit=run.tags.get("ramreel.commit"),
        deterministic=evaluations[-1].settings.deterministic if evaluations else None,
        notes=tuple(f"step {step}: {text}" for step, text in metric_contradictions(store, run_id, evaluations).items()),
    )


def _row(run: StoredRun, evaluation: Evaluation) -> CheckpointRow:
    episodes = evaluation.episodes
    digests = [episode.ram_digest for episode in episodes]
    return _checked_row(run, evaluation.step, evaluation.returns, digests, [episode.length for episode in episodes])


def _checked_row(
    run: StoredRun, step: int, returns: Sequence[float], digests: Sequence[str], lengths: Sequence[int]
) -> CheckpointRow:
    try:
        return checkpoint_row(step, returns, digests, lengths=lengths)
    except ValueError as error:
        raise StoreError(f"run {run.name} ({run.run_id[:8]}), step {step}: {error}") from None


def _from_pixels(store: Store, run: StoredRun, last: int | None) -> PixelsRow | None:
    """Return the last checkpoint that was recorded from pixels, by the method that compares more."""
    if "from_pixels/return_true" not in run.metrics:
        return None
    found = [
        PixelsRow(step=step, returns=store.fetch_pixels_evaluation(run.run_id, step, method).returns)
        for method in SOURCE_OF
        for step in [one for one in store.pixels_evaluations(run.run_id, method) if last is None or one <= last][-1:]
    ]
    return max(found, key=lambda row: (row.step, len(row.returns)), default=None)


def _cost(store: Store, run: StoredRun) -> Cost:
    """Add up every session of a run that completed; older runs only have a start and an end time."""
    known = {
        key: sum(value for _, value in store.history(run.run_id, f"time/{key}"))
        for key in ("wall_seconds", "cpu_seconds")
        if f"time/{key}" in run.metrics
    }
    # The clock may have been set back in between.
    if "wall_seconds" not in known and run.end_ms is not None and run.end_ms >= run.start_ms:
        known["wall_seconds"] = (run.end_ms - run.start_ms) / 1000
    return Cost(steps_per_second=run.metrics.get("time/fps"), **known)


def _actions(game: GameSettings, evaluation: Evaluation) -> tuple[tuple[str, int], ...]:
    counts = Counter[int]()
    for episode in evaluation.episodes:
        counts.update(dict(enumerate(episode.actions)))
    if not counts:
        return ()
    return tuple((name, counts[number]) for number, name in enumerate(action_names(game)))


def _frame_skip(game: GameSettings) -> str:
    skip = game.frame_skip
    return f"{skip[0]} to {skip[1] - 1}" if isinstance(skip, tuple) else str(skip)
