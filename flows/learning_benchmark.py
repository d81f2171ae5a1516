"""Learning benchmark: approaches trained on several games with several seeds, scored by their last checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product

from prefect import flow

from flows.record import record
from flows.runtime.child_run import ChildRun, ChildRunsError, FailedChild
from flows.runtime.child_runs import run_children
from flows.train import resume, train
from tasks.arcade.inputs.forms import LearningBenchmarkSettings, RecordSettings, ResumeSettings, TrainSettings
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.report.formatting import format_duration
from tasks.arcade.report.learning_table import LearningScore
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.progress_sink import log_message
from tasks.learning_benchmark import ExistingRun, find_existing_run, learning_score
from tasks.train import missing_run


class LearningBenchmarkError(ChildRunsError):
    """Some runs were not trained or recorded; the others were.

    Attributes:
        scores: their scores.
    """

    def __init__(self, failed: Sequence[FailedChild], total: int, scores: tuple[LearningScore, ...]) -> None:
        super().__init__(failed, total, "run the benchmark again to resume them")
        self.scores = scores


@flow(name="learning", flow_run_name="benchmark {settings.title}")
def learning(settings: LearningBenchmarkSettings) -> tuple[LearningScore, ...]:
    """Train and score the runs that do not exist yet, several at once; a benchmark that was stopped continues.

    Raises:
        LearningBenchmarkError: some runs were not trained or recorded; the others were.
    """
    refuse_crash_loop()
    runs = [
        _train_settings(settings, *chosen) for chosen in product(settings.env_ids, settings.approaches, settings.seeds)
    ]
    existing = {run.run_name: found for run in runs if (found := find_existing_run(run))}
    to_train = [run for run in runs if run.run_name not in existing or not existing[run.run_name].finished]
    log_message(f"{len(to_train)} of {pluralize(len(runs), 'run')} to train")
    time_left = _TimeLeft(len(to_train))
    failed = run_children([_missing_steps(run, existing.get(run.run_name), time_left) for run in runs])
    unfinished = {child.key for child in failed}
    scores = tuple(learning_score(_run_id(run)) for run in runs if run.run_name not in unfinished)
    if failed:
        raise LearningBenchmarkError(failed, len(runs), scores)
    return scores


def _train_settings(settings: LearningBenchmarkSettings, env_id: str, approach: str, seed: int) -> TrainSettings:
    return TrainSettings(
        env_id=env_id,
        approach=approach,
        seed=seed,
        steps=settings.steps,
        checkpoint_every=settings.checkpoint_every,
        name=f"benchmark {env_id} {approach} seed {seed}",
        evaluation=EvaluationSettings(episodes=settings.episodes, seed=settings.evaluation_seed),
    )


class _TimeLeft:
    """Reports the time that the runs which are not trained yet will take, as long on average as those before them."""

    def __init__(self, n_runs: int) -> None:
        self._n_runs, self._n_done, self._began = n_runs, 0, time.monotonic()

    def report(self) -> None:
        """Count one more run as trained and recorded."""
        self._n_done += 1
        seconds = (time.monotonic() - self._began) / self._n_done * (self._n_runs - self._n_done)
        log_message(f"{self._n_done} of {pluralize(self._n_runs, 'run')}, about {format_duration(seconds)} left")


def _missing_steps(run: TrainSettings, existing: ExistingRun | None, time_left: _TimeLeft) -> ChildRun:
    """Return the child run that trains, resumes or records a run; what is still missing follows it."""

    def recording() -> ChildRun:
        settings = RecordSettings(run=_run_id(run), evaluation=run.evaluation, last=True)
        was_trained = existing is not None and existing.finished
        return ChildRun(record, settings, run.run_name, None if was_trained else time_left.report)

    # One that this flow run started before it was started again belongs to an existing child run.
    if existing is None or (existing.own and not existing.finished):
        return ChildRun(train, run, run.run_name, recording)
    if existing.finished:
        return recording()
    return ChildRun(resume, ResumeSettings(run=existing.run_id), run.run_name, recording)


def _run_id(run: TrainSettings) -> str:
    existing = find_existing_run(run)
    if existing is None:
        raise missing_run(run)
    return existing.run_id
