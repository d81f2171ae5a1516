"""A search for an approach's hyper-parameters: the only room that knows optuna.

The study lies in a SQLite file of Optuna's own; `optuna-dashboard` and every other tool of Optuna's can open it.
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
from tasks.arcade.settings.algorithms import ActorCriticSettings, UnlearnedSettings
from tasks.arcade.settings.approaches import approach, suggestion
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import ApproachSettings

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

Figure = tuple[str, str, dict[str, Any]]
"""Heading, words, and plotly's JSON."""
LOOKS = 20
"""How often in a training it is asked whether it is worth going on: at the same steps in all of them."""
_FIRST = 5
"""Trials that nothing can stop, since there is nothing to hold them against."""


@dataclass(frozen=True)
class Range:
    """Any number between two, or with `log` of any order of magnitude between."""

    low: float
    high: float
    log: bool = False


Choices = tuple[float, ...]
SPACE: Mapping[str, Range | Choices] = {
    "learning_rate": Range(1e-5, 1e-2, log=True),
    "ent_coef": Range(1e-5, 0.1, log=True),
    "gamma": (0.9, 0.95, 0.98, 0.99, 0.995, 0.999),
    "gae_lambda": (0.8, 0.9, 0.95, 0.98, 1.0),
    "n_steps": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "batch_size": (32, 64, 128, 256, 512, 1024),
    "n_epochs": (1, 2, 3, 5, 8, 10),
    "clip_range": (0.1, 0.2, 0.3, 0.4),
    "vf_coef": Range(0.1, 1.0),
    "max_grad_norm": (0.3, 0.5, 1.0, 2.0, 5.0),
}
"""What is tried of each hyper-parameter: about what rl-baselines3-zoo tries."""


_WORDS = {
    "Objective Value": "mean return",
    "Intermediate Value": "mean return",
    "Best Value": "best so far",
    "Trial": "trial",
    "Step": "step",
    "Hyperparameter": "",
    "Hyperparameter Importance": "share of the variance",
}
"""What Optuna's figures call it, and what the page does."""


class Chosen(Settings):
    """A trial that is to be trained."""

    number: int
    approach: ApproachSettings
    given: dict[str, float | int | str]


class TrialRow(Settings):
    """A trial, as the report shows it."""

    number: int
    state: str = Field(description="complete, pruned, failed, or running")
    value: float | None = Field(description="mean return of the last episodes of training")
    steps: int
    run_id: str
    given: dict[str, float | int | str]


class SweepError(RamreelError, ValueError):
    """The search cannot be made, or cannot go on; the message is one line."""


def parameters(settings: SweepSettings) -> tuple[str, ...]:
    """The hyper-parameters that are searched for.

    Raises:
        SweepError: the approach learns nothing, or has no such hyper-parameter that can be searched for.
        UnknownApproachError: no such approach.
    """
    base = approach(settings.approach)
    if isinstance(base.algorithm, UnlearnedSettings):
        raise SweepError(f"{base.name} learns nothing: there is nothing to search for")
    able = tuple(name for name in SPACE if name in type(base.algorithm).model_fields)
    for name in settings.parameters:
        if name not in able:
            raise SweepError(f"{name} cannot be searched for in {base.name}. {suggestion(name, able)}")
    return settings.parameters or able


@contextmanager
def opened(file: Path, settings: SweepSettings) -> Iterator[Search]:
    """The search of this title, which goes on if there is one.

    Raises:
        SweepError: it is of other settings.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Optuna makes its tables without a lock: of two sweeps that begin together one would fail.
    with FileLock(f"{file}.lock"):
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    try:
        known = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
        # Another seed for each sitting: with the same one the search would begin with the same trials again.
        drawn = known[settings.title].n_trials if settings.title in known else 0
        study = optuna.create_study(
            storage=storage,
            study_name=settings.title,
            load_if_exists=True,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=settings.seed + drawn, n_startup_trials=_FIRST),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST, n_warmup_steps=settings.steps // 4),
        )
        asked = settings.model_dump(mode="json", include={"env_id", "approach", "parameters", "steps", "seed"})
        before = study.user_attrs.get("settings", asked)
        if different := [name for name in asked if asked[name] != before[name]]:
            said = ", ".join(f"{name} is {asked[name]} and was {before[name]}" for name in different)
            raise SweepError(f"{settings.title!r} is there already, and {said}: --name begins another one")
        study.set_user_attr("settings", asked)
        yield Search(study, settings, FileLock(f"{file}.lock"))
    finally:
        storage.remove_session()
        storage.engine.dispose()


class Search:
    """A study of Optuna's, as a sweep uses it.

    Attributes:
        alone: held while a sweep looks whether it has an MLflow run and makes one, so that two make no two.
    """

    def __init__(self, study: Study, settings: SweepSettings, alone: FileLock) -> None:
        self._study, self._settings = study, settings
        self.alone = alone
        self._trial: Trial | None = None

    @property
    def run_id(self) -> str | None:
        """The MLflow run of the sweep, once there is one."""
        found = self._study.user_attrs.get("run_id")
        return str(found) if found else None

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        self._study.set_user_attr("run_id", run_id)

    def next(self) -> Chosen | None:
        """The next trial, or none if there were as many as were asked for.

        What a sitting that was killed had begun is tried again.
        """
        from optuna.trial import TrialState

        for killed in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(killed.number, state=TrialState.FAIL)
            self._study.enqueue_trial(killed.params)
        over = self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        trained = [trial for trial in over if trial.state != TrialState.FAIL or trial.user_attrs.get("silent")]
        if len(trained) >= self._settings.trials:
            return None
        base = approach(self._settings.approach)
        self._trial = trial = self._study.ask()
        given = {name: _drawn(trial, name, SPACE[name]) for name in parameters(self._settings)}
        if isinstance(getattr(base.algorithm, "learning_rate", None), str) and "learning_rate" in given:
            given["learning_rate"] = f"lin_{given['learning_rate']:.4g}"
        if "batch_size" in given and isinstance(base.algorithm, ActorCriticSettings):
            rollout = base.n_envs * int(given.get("n_steps", base.algorithm.n_steps))
            given["batch_size"] = min(int(given["batch_size"]), rollout)
        own = with_hyperparameters(base, given)
        trial.set_user_attr("given", given)
        named = {"name": f"{base.name}-trial-{trial.number}", "description": f"{base.name}, a trial of a sweep"}
        return Chosen(number=trial.number, approach=own.model_copy(update=named), given=given)

    def began(self, run_id: str) -> None:
        """A trial's training has an MLflow run."""
        assert self._trial is not None
        self._trial.set_user_attr("run_id", run_id)

    def should_prune(self, step: int, mean_return: float | None) -> bool:
        """Whether the trial is worse than the others were at this step; asked at any step, answered at `LOOKS`."""
        assert self._trial is not None
        look = step * LOOKS // self._settings.steps
        at = look * self._settings.steps // LOOKS
        if mean_return is None or not 0 < look < LOOKS or at <= self._trial.user_attrs.get("looked", 0):
            return False
        self._trial.set_user_attr("looked", at)
        self._trial.report(mean_return, at)
        return self._trial.should_prune()

    def ended(self, steps: int, mean_return: float | None) -> None:
        """The trial's training is over, or was stopped as should_prune."""
        from optuna.trial import TrialState

        assert self._trial is not None
        self._trial.set_user_attr("steps", steps)
        if mean_return is None:
            # Optuna has no other word for a trial that says nothing, whatever it is that was tried.
            self._trial.set_user_attr("silent", True)
            state = TrialState.FAIL
        elif steps < self._settings.steps:
            state = TrialState.PRUNED
        else:
            state = TrialState.COMPLETE
        value = mean_return if state == TrialState.COMPLETE else None
        self._study.tell(self._trial, value, state)

    def raised(self) -> None:
        """The trial's training failed, and might again: the next one tries something else."""
        from optuna.trial import TrialState

        assert self._trial is not None
        self._study.tell(self._trial, state=TrialState.FAIL)

    def rows(self) -> tuple[TrialRow, ...]:
        """All trials; the best one that was trained to its end first, those that were not last."""
        found = [_row(trial) for trial in self._study.get_trials() if "given" in trial.user_attrs]
        return tuple(sorted(found, key=lambda row: (row.state != "complete", -(row.value or 0), row.number)))

    def figures(self) -> tuple[Figure, ...]:
        """Optuna's own figures; none while there is nothing to draw."""
        from optuna import visualization as drawn
        from optuna.trial import TrialState

        made: list[tuple[str, str, Any]] = [
            ("Optimization history", "Mean return of each trial; best so far.", drawn.plot_optimization_history),
            (
                "Learning curves",
                "Mean return during training; pruned trials end early.",
                drawn.plot_intermediate_values,
            ),
            ("Slices", "Mean return by each hyperparameter; later trials are darker.", drawn.plot_slice),
            (
                "Parallel coordinates",
                "One line per trial through its hyperparameters; better trials are darker.",
                drawn.plot_parallel_coordinate,
            ),
            ("Hyperparameter importance", "Share of explained variance in mean return.", drawn.plot_param_importances),
        ]
        complete = self._study.get_trials(states=(TrialState.COMPLETE,))
        if len({trial.value for trial in complete}) < 2:
            return ()
        return tuple((title, words, _in_our_words(draw(self._study).to_plotly_json())) for title, words, draw in made)


def _in_our_words(figure: Any) -> Any:
    """Optuna's figure in the page's words, which also say what colors mean: scales leave a telephone no room."""
    match figure:
        case dict():
            return {key: key != "showscale" and _in_our_words(value) for key, value in figure.items()}
        case list() | tuple():
            return [_in_our_words(value) for value in figure]
        case str():
            return _WORDS.get(figure, figure)
        case _:
            return figure


def _drawn(trial: Trial, name: str, space: Range | Choices) -> Any:
    if isinstance(space, Range):
        return float(f"{trial.suggest_float(name, space.low, space.high, log=space.log):.4g}")
    return trial.suggest_categorical(name, space)


def _row(trial: FrozenTrial) -> TrialRow:
    last = max(trial.intermediate_values, default=None)
    reached = trial.intermediate_values[last] if last is not None else None
    return TrialRow(
        number=trial.number,
        state={"FAIL": "failed"}.get(trial.state.name, trial.state.name.lower()),
        value=trial.value if trial.value is not None else reached,
        steps=trial.user_attrs.get("steps", 0),
        run_id=trial.user_attrs.get("run_id", ""),
        given=trial.user_attrs["given"],
    )


def best_of(rows: Sequence[TrialRow]) -> TrialRow | None:
    """The best trial of `Search.rows` that was trained to its end; none if there is none."""
    return rows[0] if rows and rows[0].state == "complete" else None


def as_toml(settings: SweepSettings, best: TrialRow) -> str:
    """The best trial as a settings file, for `--settings`."""
    words = [f"approach = {json.dumps(settings.approach)}", f"n_timesteps = {settings.steps}"]
    return "\n".join([*words, *(f"{name} = {json.dumps(value)}" for name, value in best.given.items())]) + "\n"
