"""The learning benchmark: approaches trained on several games with several seeds, their last checkpoints judged."""

from __future__ import annotations

from itertools import product

from prefect import flow

from flows.record import record
from flows.train import resume, train
from tasks.arcade.inputs.forms import LearningSettings, RecordSettings, ResumeSettings, TrainSettings
from tasks.arcade.report.learning_table import LearningScore
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.learning_benchmark import find_training, learning_score


@flow(name="learning", flow_run_name="benchmark {settings.title}")
def learning(settings: LearningSettings) -> tuple[LearningScore, ...]:
    """Train and judge what is not there yet; stopped and started again, it goes on where it was."""
    scores = []
    for env_id, approach, seed in product(settings.env_ids, settings.approaches, settings.seeds):
        judged = EvaluationSettings(episodes=settings.episodes, seed=settings.evaluation_seed)
        run_id = _trained(settings, judged, env_id, approach, seed)
        record(RecordSettings(run=run_id, evaluation=judged, last=True))
        scores.append(learning_score(run_id))
    return tuple(scores)


def _trained(settings: LearningSettings, judged: EvaluationSettings, env_id: str, approach: str, seed: int) -> str:
    """A finished training's run: found, gone on with, or made."""
    wanted = TrainSettings(
        env_id=env_id,
        approach=approach,
        seed=seed,
        steps=settings.steps,
        checkpoint_every=settings.checkpoint_every,
        name=f"benchmark {env_id} {approach} seed {seed}",
        evaluation=judged,
    )
    run_id, finished = find_training(wanted)
    if run_id is None:
        return train(wanted).run_id
    return run_id if finished else resume(ResumeSettings(run=run_id)).run_id
