"""The whole of it: two approaches trained, filmed and compared, with a report and what Prefect shows."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.compare import compare
from flows.pipeline import pipeline
from flows.train import train
from tasks.arcade.settings import CompareSettings, EvaluationSettings, PipelineSettings, TrainSettings
from tasks.store import Store, StoreError


def test_two_approaches_are_trained_filmed_and_compared(store: Store, tmp_path: Path) -> None:
    compared = pipeline(
        PipelineSettings(
            env_id="ALE/Breakout-v5",
            approaches=("ppo-tuned", "random"),
            seeds=(1,),
            steps=2000,
            checkpoint_every=1000,
            evaluation=EvaluationSettings(episodes=2),
        )
    )
    kinds = [store.run(run_id).params["approach.name"] for run_id in compared.runs]
    assert kinds == ["ppo-tuned", "random"]
    for run_id in compared.runs:
        films = store.films(run_id)
        assert len(films) == len(store.list_checkpoints(run_id)) > 0
    assert store.address.artifacts is not None
    kept = [path for path in store.address.artifacts.rglob("*") if path.is_file()]
    data = {".json", ".safetensors", ".mp4", ".png", ".html", ".md"}
    assert {path.suffix for path in kept} == data, "nothing that is code, and nothing that is unpickled"
    run = store.run(compared.run_id)
    assert (run.kind, run.status) == ("comparison", "FINISHED")
    html = store.fetch_artifact(compared.run_id, compared.report, tmp_path).read_text()
    assert html.count("<video") == sum(len(store.films(run_id)) for run_id in compared.runs)
    assert "ppo-tuned" in compared.verdict
    markdown = store.fetch_artifact(compared.run_id, "reports/report.md", tmp_path).read_text()
    assert "random" in markdown
    with get_client(sync_client=True) as client:
        names = {run.name: run for run in client.read_flow_runs()}
        artifacts = {artifact.key for artifact in client.read_artifacts()}
    parent = next(run for name, run in names.items() if name.startswith("pipeline ALE/Breakout-v5"))
    assert parent.state_name == "Completed"
    assert names["train ALE/Breakout-v5 ppo-tuned seed 1"].parent_task_run_id is not None, "a subflow of the pipeline"
    assert f"comparison-{compared.run_id[:8]}" in artifacts
    assert f"films-{compared.runs[0][:8]}" in artifacts


def test_runs_of_different_games_are_not_compared(small: TrainSettings, store: Store) -> None:
    one = train(small).run_id
    other = train(small.model_copy(update={"env_id": "Breakout-v4"})).run_id
    with pytest.raises(StoreError, match="cannot be compared: env_id is ALE/Breakout-v5 and Breakout-v4"):
        compare(CompareSettings(runs=(one, other)))
    compared = compare(CompareSettings(runs=(one,)))
    assert compared.verdict.startswith("Nothing to judge yet"), "a run without an evaluation is said to have none"
