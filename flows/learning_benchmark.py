"""Learning benchmark: approaches trained on several games with several seeds, scored by their last checkpoints."""

from __future__ import annotations

from itertools import product

from prefect import flow

from flows.record import record
from flows.train import resume, train
from tasks.arcade.inputs.forms import LearningBenchmarkSettings, RecordSettings, ResumeSettings, TrainSettings
from tasks.arcade.report.learning_table import LearningScore
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.learning_benchmark import find_existing_run, learning_score


@flow(name="learning", flow_run_name="benchmark {settings.title}")
def learning(settings: LearningBenchmarkSettings) -> tuple[LearningScore, ...]:
    """Train and score the runs that do not exist yet; a benchmark that was stopped continues."""
    scores = []
    for env_id, approach, seed in product(settings.env_ids, settings.approaches, settings.seeds):
        evaluation = EvaluationSettings(episodes=settings.episodes, seed=settings.evaluation_seed)
        run_id = _finished_run(settings, evaluation, env_id, approach, seed)
        record(RecordSettings(run=run_id, evaluation=evaluation, last=True))
        scores.append(learning_score(run_id))
    return tuple(scores)


def _finished_run(
    settings: LearningBenchmarkSettings, evaluation: EvaluationSettings, env_id: str, approach: str, seed: int
) -> str:
    """Return the id of a finished training run: an existing one, resumed if necessary, or a new one."""
    inputs = TrainSettings(
        env_id=env_id,
        approach=approach,
        seed=seed,
        steps=settings.steps,
        checkpoint_every=settings.checkpoint_every,
        name=f"benchmark {env_id} {approach} seed {seed}",
        evaluation=evaluation,
    )
    run_id, finished = find_existing_run(inputs)
    if run_id is None:
        return train(inputs).run_id
    return run_id if finished else resume(ResumeSettings(run=run_id)).run_id
