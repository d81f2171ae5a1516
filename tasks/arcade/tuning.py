"""Hyperparameter optimization of an approach with Optuna.

The study is stored in a SQLite file that `optuna-dashboard` and all other tools of Optuna can open.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import Field

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.inputs.settings_file import with_hyperparameters
from tasks.arcade.settings.algorithms import ActorCriticSettings
from tasks.arcade.settings.approaches import approach, suggestion
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.legacy import current_names
from tasks.arcade.settings.run import ApproachSettings

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class FloatRange:
    """Uniform distribution between two numbers, on a logarithmic scale with `log`."""

    low: float
    high: float
    log: bool = False


Categories = tuple[float, ...]
SEARCH_SPACE: Mapping[str, FloatRange | Categories] = {
    "learning_rate": FloatRange(1e-5, 1e-2, log=True),
    "ent_coef": FloatRange(1e-5, 0.1, log=True),
    "gamma": (0.9, 0.95, 0.98, 0.99, 0.995, 0.999),
    "gae_lambda": (0.8, 0.9, 0.95, 0.98, 1.0),
    "n_steps": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "batch_size": (32, 64, 128, 256, 512, 1024),
    "n_epochs": (1, 2, 3, 5, 8, 10),
    "clip_range": (0.1, 0.2, 0.3, 0.4),
    "vf_coef": FloatRange(0.1, 1.0),
    "max_grad_norm": (0.3, 0.5, 1.0, 2.0, 5.0),
}
"""Search space of each hyperparameter, similar to rl-baselines3-zoo's."""

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


class SweepError(RamreelError, ValueError):
    """A sweep cannot be started or resumed."""


def searched_parameters(settings: SweepSettings) -> tuple[str, ...]:
    """Return the names of the hyperparameters that a sweep searches.

    Raises:
        SweepError: If the approach does not learn, or a hyperparameter is not in its search space.
        UnknownApproachError: If there is no such approach.
    """
    base = approach(settings.approach)
    if not base.algorithm.learns:
        raise SweepError(f"{base.name} does not learn: it has no hyperparameters to search")
    available = tuple(name for name in SEARCH_SPACE if name in type(base.algorithm).model_fields)
    for name in settings.parameters:
        if name not in available:
            raise SweepError(f"{name} is not in the search space of {base.name}. {suggestion(name, available)}")
    return settings.parameters or available


@contextmanager
def open_study(file: Path, settings: SweepSettings) -> Iterator[SweepStudy]:
    """Create the study of a sweep, or resume the one with the same title.

    Raises:
        SweepError: If that one has other settings.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Optuna creates its tables without a lock: of two sweeps started at the same time, one would fail.
    with FileLock(f"{file}.lock"):
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    try:
        known = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
        # A resumed sampler needs another seed: with the same one it would propose the same trials again.
        n_proposed = known[settings.title].n_trials if settings.title in known else 0
        study = optuna.create_study(
            storage=storage,
            study_name=settings.title,
            load_if_exists=True,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=settings.seed + n_proposed, n_startup_trials=_STARTUP_TRIALS),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=settings.steps // 4),
        )
        current = settings.model_dump(mode="json", include={"env_id", "approach", "parameters", "steps", "seed"})
        stored = current_names(study.user_attrs.get("settings", current))
        if changed := [name for name in current if current[name] != stored[name]]:
            changes = ", ".join(f"{name} is {current[name]}, was {stored[name]}" for name in changed)
            raise SweepError(f"{settings.title!r} exists with other settings ({changes}): choose another --name")
        study.set_user_attr("settings", current)
        yield SweepStudy(study, settings, FileLock(f"{file}.lock"))
    finally:
        storage.remove_session()
        storage.engine.dispose()


class SweepStudy:
    """Optuna study of a sweep, one trial at a time.

    Attributes:
        lock: to hold while finding or creating the sweep's MLflow run, so that concurrent sweeps share one.
    """

    def __init__(self, study: Study, settings: SweepSettings, lock: FileLock) -> None:
        self._study, self._settings = study, settings
        self.lock = lock
        self._trial: Trial | None = None

    @property
    def run_id(self) -> str | None:
        """MLflow run id of the sweep; None before there is one."""
        found = self._study.user_attrs.get("run_id")
        return str(found) if found else None

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        self._study.set_user_attr("run_id", run_id)

    def ask(self) -> ProposedTrial | None:
        """Return the next trial; None if the sweep is complete. A trial whose process was killed is repeated."""
        from optuna.trial import TrialState

        for killed in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(killed.number, state=TrialState.FAIL)
            self._study.enqueue_trial(killed.params)
        ended = self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        trained = [trial for trial in ended if trial.state != TrialState.FAIL or trial.user_attrs.get(_NO_EPISODE)]
        if len(trained) >= self._settings.trials:
            return None
        base = approach(self._settings.approach)
        self._trial = trial = self._study.ask()
        params = {name: _suggest(trial, name, SEARCH_SPACE[name]) for name in searched_parameters(self._settings)}
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

    def set_trial_run(self, run_id: str) -> None:
        """Record the MLflow run id of the current trial."""
        assert self._trial is not None
        self._trial.set_user_attr("run_id", run_id)

    def should_prune(self, step: int, mean_return: float | None) -> bool:
        """Return whether to prune the current trial; call it at any step, only `PRUNING_CHECKS` of them count."""
        assert self._trial is not None
        check = step * PRUNING_CHECKS // self._settings.steps
        checked = check * self._settings.steps // PRUNING_CHECKS
        last = self._trial.user_attrs.get(_LAST_CHECK, 0)
        if mean_return is None or not 0 < check < PRUNING_CHECKS or checked <= last:
            return False
        self._trial.set_user_attr(_LAST_CHECK, checked)
        self._trial.report(mean_return, checked)
        return self._trial.should_prune()

    def tell(self, steps: int, mean_return: float | None) -> None:
        """Record the result of the current trial, complete or pruned; `mean_return` is None if no episode ended."""
        from optuna.trial import TrialState

        assert self._trial is not None
        self._trial.set_user_attr("steps", steps)
        if mean_return is None:
            # Optuna has no other state for a trial without a value.
            self._trial.set_user_attr(_NO_EPISODE, True)
            state = TrialState.FAIL
        elif steps < self._settings.steps:
            state = TrialState.PRUNED
        else:
            state = TrialState.COMPLETE
        value = mean_return if state == TrialState.COMPLETE else None
        self._study.tell(self._trial, value, state)

    def tell_failed(self) -> None:
        """Record that the current trial raised an exception; it is not repeated."""
        from optuna.trial import TrialState

        assert self._trial is not None
        self._study.tell(self._trial, state=TrialState.FAIL)

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


def _suggest(trial: Trial, name: str, space: FloatRange | Categories) -> Any:
    if isinstance(space, FloatRange):
        return float(f"{trial.suggest_float(name, space.low, space.high, log=space.log):.4g}")
    return trial.suggest_categorical(name, space)


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
