"""Hyperparameter optimization of an approach with Optuna.

The study is stored in a database that `optuna-dashboard` and all other tools of Optuna can open.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.inputs.settings_file import with_hyperparameters
from tasks.arcade.process_identity import has_ended, process_identity
from tasks.arcade.settings.algorithms import ActorCriticSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.legacy import current_names
from tasks.arcade.settings.run import ApproachSettings
from tasks.arcade.tuning.search_space import SEARCH_SPACE, SweepError, searched_parameters, suggest_value
from tasks.arcade.tuning.storage import STALE_SECONDS, Heartbeat, StudyStorage, open_storage, without_warnings

if TYPE_CHECKING:
    from optuna.samplers import TPESampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

Figure = tuple[str, str, dict[str, Any]]
"""Title, caption, and plotly's JSON."""
PRUNING_CHECKS = 20
"""Number of equally spaced pruning checks per trial, at the same steps in all trials."""
_STARTUP_TRIALS = 5
"""Number of trials that are sampled at random and never pruned."""
_PARAMS = "given"
"""User attribute of a trial: the hyperparameters that it was trained with."""
_NO_EPISODE = "silent"
"""User attribute of a failed trial in which no episode ended."""
_LAST_CHECK = "looked"
"""User attribute of a trial: step of its last pruning check."""
_OWNER = "owner"
"""User attribute of a trial: identity of the process that trains it."""
_WAIT_SECONDS = 1


_LABELS = {
    "Objective Value": "mean return",
    "Intermediate Value": "mean return",
    "Best Value": "best so far",
    "Trial": "trial",
    "Step": "step",
    "Hyperparameter": "",
    "Hyperparameter Importance": "share of the variance",
}
"""Labels in Optuna's figures → labels in the report."""


class ProposedTrial(Settings):
    """A trial to be trained."""

    number: int
    approach: ApproachSettings
    params: dict[str, float | int | str]


class TrialRow(Settings):
    """A trial in the report."""

    number: int
    state: str = Field(description="One of complete, pruned, failed, running")
    value: float | None = Field(description="Mean return of the last training episodes")
    steps: int
    run_id: str
    params: dict[str, float | int | str]


@contextmanager
def open_study(uri: str, settings: SweepSettings) -> Iterator[SweepStudy]:
    """Create the study of a sweep, or resume the one with the same title.

    Args:
        uri: SQLAlchemy URI of the database that holds it.
        settings: the sweep's.

    Raises:
        SweepError: If that one has other settings.
        StudyDatabaseError: If the database cannot be used.
    """
    import optuna

    with open_storage(uri, repeat=_enqueue_again) as storage:
        study = optuna.create_study(
            storage=storage.rdb,
            study_name=settings.title,
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=settings.steps // 4),
        )
        current = settings.model_dump(mode="json", include={"env_id", "approach", "parameters", "steps", "seed"})
        stored = current_names(study.user_attrs.get("settings", current))
        if changed := [name for name in current if current[name] != stored[name]]:
            changes = ", ".join(f"{name} is {current[name]}, was {stored[name]}" for name in changed)
            raise SweepError(f"{settings.title!r} exists with other settings ({changes}): choose another --name")
        study.set_user_attr("settings", current)
        opened = SweepStudy(study, settings, storage)
        try:
            yield opened
        finally:
            opened.release()


class SweepStudy:
    """Optuna study of a sweep; this process trains one trial at a time, others may train theirs."""

    def __init__(self, study: Study, settings: SweepSettings, storage: StudyStorage) -> None:
        self._study, self._settings, self._storage = study, settings, storage
        self._trial: Trial | None = None
        self._heartbeat: Heartbeat | None = None

    def lock(self) -> AbstractContextManager[object]:
        """Return a lock to hold while finding or creating the sweep's MLflow run: concurrent sweeps share one."""
        return self._storage.lock()

    @property
    def run_id(self) -> str | None:
        """MLflow run id of the sweep; None before there is one."""
        found = self._study.user_attrs.get("run_id")
        return str(found) if found else None

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        self._study.set_user_attr("run_id", run_id)

    def ask(self) -> ProposedTrial | None:
        """Return the next trial; None if the sweep is complete.

        A trial whose process was killed is repeated. While other processes train the last trials, wait: one of them
        may be killed.
        """
        while True:
            with self._storage.lock():
                self._repeat_abandoned_trials()
                n_trained, n_running = self._counts()
                if n_trained >= self._settings.trials:
                    return None
                if n_trained + n_running < self._settings.trials:
                    return self._ask()
            time.sleep(_WAIT_SECONDS)

    def n_missing(self) -> int:
        """Return the number of trials that are not trained yet."""
        return max(0, self._settings.trials - self._counts()[0])

    def _counts(self) -> tuple[int, int]:
        """Return the numbers of trained trials and of running ones."""
        from optuna.trial import TrialState

        # One query: between two, another process may end its trial.
        trials = self._study.get_trials()
        trained = [
            trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            or (trial.state == TrialState.FAIL and _NO_EPISODE in trial.user_attrs)
            for trial in trials
        ]
        return sum(trained), sum(trial.state == TrialState.RUNNING for trial in trials)

    def _repeat_abandoned_trials(self) -> None:
        """Enqueue the running trials again whose process has ended: it did so here, or its heartbeats stopped."""
        import optuna

        with without_warnings():
            optuna.storages.fail_stale_trials(self._study)
        for trial in self._study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            # Version 0.1 recorded no owner. A trial is proposed and given its owner under one lock.
            if _OWNER not in trial.user_attrs or has_ended(trial.user_attrs[_OWNER]):
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                _enqueue_again(self._study, trial)

    def _ask(self) -> ProposedTrial:
        base = approach(self._settings.approach)
        with without_warnings():
            self._study.sampler = self._sampler()
            self._trial = trial = self._study.ask()
        trial.set_user_attr(_OWNER, process_identity())
        rdb = self._storage.rdb
        study_id = rdb.get_study_id_from_name(self._settings.title)
        self._heartbeat = Heartbeat(rdb, rdb.get_trial_id_from_study_id_trial_number(study_id, trial.number))
        params = {name: suggest_value(trial, name, SEARCH_SPACE[name]) for name in searched_parameters(self._settings)}
        if isinstance(getattr(base.algorithm, "learning_rate", None), str) and "learning_rate" in params:
            params["learning_rate"] = f"lin_{params['learning_rate']:.4g}"
        if "batch_size" in params and isinstance(base.algorithm, ActorCriticSettings):
            rollout = base.n_envs * int(params.get("n_steps", base.algorithm.n_steps))
            params["batch_size"] = min(int(params["batch_size"]), rollout)
        adapted = with_hyperparameters(base, params)
        trial.set_user_attr(_PARAMS, params)
        names = {
            "name": f"{base.name}-trial-{trial.number}",
            "description": f"{base.name}, trial {trial.number} of a sweep",
        }
        return ProposedTrial(number=trial.number, approach=adapted.model_copy(update=names), params=params)

    def _sampler(self) -> TPESampler:
        """Return the sampler of the next trial.

        Its seed is that of the trial: processes that train trials at the same time, and a sweep that is resumed, would
        otherwise propose the same ones. Running trials count as bad ones, so that others are proposed meanwhile.
        """
        from optuna.samplers import TPESampler

        number = len(self._study.get_trials(deepcopy=False))
        return TPESampler(seed=self._settings.seed + number, n_startup_trials=_STARTUP_TRIALS, constant_liar=True)

    def set_trial_run(self, run_id: str) -> None:
        """Record the MLflow run id of the current trial."""
        with self._updating() as trial:
            trial.set_user_attr("run_id", run_id)

    def should_prune(self, step: int, mean_return: float | None) -> bool:
        """Return whether to prune the current trial; call it at any step, only `PRUNING_CHECKS` of them count.

        Raises:
            SweepError: If another process repeats the trial.
        """
        check = step * PRUNING_CHECKS // self._settings.steps
        checked = check * self._settings.steps // PRUNING_CHECKS
        with self._updating() as trial:
            last = trial.user_attrs.get(_LAST_CHECK, 0)
            if mean_return is None or not 0 < check < PRUNING_CHECKS or checked <= last:
                return False
            trial.set_user_attr(_LAST_CHECK, checked)
            trial.report(mean_return, checked)
            return trial.should_prune()

    def tell(self, steps: int, mean_return: float | None) -> None:
        """Record the result of the current trial, complete or pruned; `mean_return` is None if no episode ended.

        Raises:
            SweepError: If another process repeats the trial.
        """
        from optuna.trial import TrialState

        with self._updating() as trial:
            trial.set_user_attr("steps", steps)
            if mean_return is None:
                # Optuna has no other state for a trial without a value.
                trial.set_user_attr(_NO_EPISODE, True)
                state = TrialState.FAIL
            elif steps < self._settings.steps:
                state = TrialState.PRUNED
            else:
                state = TrialState.COMPLETE
            value = mean_return if state == TrialState.COMPLETE else None
            self._study.tell(trial, value, state)
        self._end_trial()

    def tell_failed(self) -> None:
        """Record that the current trial raised an exception; it is not repeated."""
        from optuna.trial import TrialState

        assert self._trial is not None
        self._study.tell(self._trial, state=TrialState.FAIL, skip_if_finished=True)
        self._end_trial()

    def release(self) -> None:
        """Enqueue the current trial again if it was interrupted."""
        from optuna.exceptions import StorageInternalError
        from optuna.trial import TrialState

        if self._trial is None:
            return
        # If the database is away, the heartbeats stop, and the trial is repeated for that reason.
        with suppress(ValueError, StorageInternalError), self._storage.lock():
            self._study.tell(self._trial, state=TrialState.FAIL)
            self._study.enqueue_trial(self._trial.params)
        self._end_trial()

    @contextmanager
    def _updating(self) -> Iterator[Trial]:
        """Yield the current trial; raise `SweepError` if another process has set it to failed."""
        from optuna.exceptions import UpdateFinishedTrialError

        assert self._trial is not None
        try:
            yield self._trial
        except UpdateFinishedTrialError:
            raise SweepError(
                f"trial {self._trial.number} of {self._settings.title!r} is repeated by another process: this one "
                f"could not reach the study for more than {STALE_SECONDS} s"
            ) from None

    def _end_trial(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._trial = self._heartbeat = None

    def rows(self) -> tuple[TrialRow, ...]:
        """Return all trials: complete ones first, best first."""
        found = [_row(trial) for trial in self._study.get_trials() if _PARAMS in trial.user_attrs]
        return tuple(sorted(found, key=lambda row: (row.state != "complete", -(row.value or 0), row.number)))

    def figures(self) -> tuple[Figure, ...]:
        """Return Optuna's figures; empty until two complete trials differ."""
        from optuna import visualization as plots
        from optuna.trial import TrialState

        figures: list[tuple[str, str, Any]] = [
            (
                "Optimization history",
                "Mean return of each trial; best so far.",
                plots.plot_optimization_history,
            ),
            (
                "Learning curves",
                "Mean return during training; pruned trials end early.",
                plots.plot_intermediate_values,
            ),
            ("Slices", "Mean return by each hyperparameter; later trials are darker.", plots.plot_slice),
            (
                "Parallel coordinates",
                "One line per trial through its hyperparameters; better trials are darker.",
                plots.plot_parallel_coordinate,
            ),
            (
                "Hyperparameter importance",
                "Share of explained variance in mean return.",
                plots.plot_param_importances,
            ),
        ]
        complete = self._study.get_trials(states=(TrialState.COMPLETE,))
        if len({trial.value for trial in complete}) < 2:
            return ()
        return tuple((title, caption, _relabel(plot(self._study).to_plotly_json())) for title, caption, plot in figures)


def _relabel(figure: Any) -> Any:
    """Return a figure with the report's labels, without color scales: captions explain them, and phones are narrow."""
    match figure:
        case dict():
            return {key: key != "showscale" and _relabel(value) for key, value in figure.items()}
        case list() | tuple():
            return [_relabel(value) for value in figure]
        case str():
            return _LABELS.get(figure, figure)
        case _:
            return figure


def _enqueue_again(study: Study, trial: FrozenTrial) -> None:
    """Repeat a trial with its hyperparameters; Optuna's own callback would also copy its run id and its last check."""
    study.enqueue_trial(trial.params)


def _row(trial: FrozenTrial) -> TrialRow:
    last = max(trial.intermediate_values, default=None)
    intermediate = trial.intermediate_values[last] if last is not None else None
    return TrialRow(
        number=trial.number,
        state={"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower()),
        value=trial.value if trial.value is not None else intermediate,
        steps=trial.user_attrs.get("steps", 0),
        run_id=trial.user_attrs.get("run_id", ""),
        params=trial.user_attrs[_PARAMS],
    )


def best_trial(rows: Sequence[TrialRow]) -> TrialRow | None:
    """Return the best complete trial of `SweepStudy.rows`; None if no trial is complete."""
    return rows[0] if rows and rows[0].state == "complete" else None


def settings_toml(settings: SweepSettings, best: TrialRow) -> str:
    """Return the best trial as a settings file, for `--settings`."""
    lines = [f"approach = {json.dumps(settings.approach)}", f"n_timesteps = {settings.steps}"]
    return "\n".join([*lines, *(f"{name} = {json.dumps(value)}" for name, value in best.params.items())]) + "\n"
