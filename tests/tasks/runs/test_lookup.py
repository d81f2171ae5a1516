"""Evaluation settings of a recording: those chosen for it, over those of its training run."""

from __future__ import annotations

from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.runs.lookup import evaluation_of, evaluation_tag
from tasks.store import Store


def test_settings_that_are_not_chosen_are_those_of_the_training_run(store: Store, run_id: str) -> None:
    assert evaluation_of(store.run(run_id)) == EvaluationSettings()
    own = EvaluationSettings(episodes=2, seed=5, deterministic=True)
    for name, value in evaluation_tag(own).items():
        store.set_tag(run_id, name, value)
    run = store.run(run_id)
    assert evaluation_of(run) == own
    assert evaluation_of(run, EvaluationSettings(episodes=3)) == own.model_copy(update={"episodes": 3})
    assert evaluation_of(run, EvaluationSettings(deterministic=False)).deterministic is False
