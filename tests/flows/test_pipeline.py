"""The pipeline trains, records and compares a named and a user-defined approach; it leaves a report and artifacts."""

import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from flows.compare import compare
from flows.pipeline import pipeline
from flows.train import train
from tasks.arcade.inputs.forms import CompareSettings, PipelineSettings, TrainSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.runs.lookup import evaluation_of
from tasks.store import Store, StoreError


def test_two_approaches_are_trained_recorded_and_compared(store: Store, tmp_path: Path) -> None:
    compared = pipeline(
        PipelineSettings(
            env_id="ALE/Breakout-v5",
            approaches=("ppo-tuned", approach("random").model_copy(update={"name": "mine"})),
            seeds=(1,),
            steps=2000,
            checkpoint_every=1000,
            evaluation=EvaluationSettings(episodes=2),
        )
    )
    approaches = [store.run(run_id).params["approach.name"] for run_id in compared.runs]
    assert approaches == ["ppo-tuned", "mine"]
    videos_of_all = [video for run_id in compared.runs for video in store.videos(run_id).values()]
    for run_id in compared.runs:
        assert evaluation_of(store.run(run_id)).episodes == 2, "every later recording evaluates alike"
        videos = store.videos(run_id)
        assert len(videos) == len(store.list_checkpoints(run_id)) > 0
    assert store.address.artifacts is not None
    kept = [path for path in store.address.artifacts.rglob("*") if path.is_file()]
    data = {".json", ".safetensors", ".mp4", ".html", ".md", ".csv", ".parquet"}
    # MLflow's model files: `MLmodel`, its code, which is the same for every model, and its requirements.
    assert {path.suffix for path in kept} == data | {"", ".py", ".txt"}, "no pickles"
    assert len({path.read_text() for path in kept if path.suffix == ".py"}) == 1
    run = store.run(compared.run_id)
    assert (run.kind, run.status) == ("comparison", "FINISHED")
    html = store.fetch_artifact(compared.run_id, compared.report, tmp_path).read_text()
    videos = re.findall(r'data-player="([^"]+)" src="data:video/mp4;base64,([^"]+)"', html)
    assert len(videos) == sum(len(store.videos(run_id)) for run_id in compared.runs)
    facts = [json.loads(unescape(of_video)) for of_video, _ in videos]
    assert all(1 < fact["frames"] <= fact["episode"] for fact in facts)
    linked = re.findall(r'data-file="([^"]+)"', html)
    reports = Path(urlsplit(store.artifact_uri(compared.run_id, "reports")).path)
    assert len(linked) == len(videos)
    assert all((reports / link).is_file() for link in linked), (
        "complete videos are linked relative to the report's folder"
    )
    numbers = pd.read_parquet(store.fetch_artifact(compared.run_id, "reports/numbers.parquet", tmp_path))
    counts = numbers[numbers.name.str.startswith("action ")].groupby("run_id").value.sum()
    lengths = numbers[(numbers.name == "episode_length")].groupby(["run_id", "step"]).value.sum()
    for run_id in compared.runs:
        assert counts[run_id] == lengths[run_id].iloc[-1], "one action per step"
    costs = numbers[numbers.name == "cpu_seconds"].value
    assert len(costs) == 2
    assert (costs > 0).all()
    assert {"eval/mean_return/mine", "final/iqm_return/mine"} <= run.metrics.keys()
    assert "ppo-tuned" in compared.verdict
    markdown = store.fetch_artifact(compared.run_id, "reports/report.md", tmp_path).read_text()
    assert "mine" in markdown
    with get_client(sync_client=True) as client:
        names = {run.name: run for run in client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)}
        artifacts = {artifact.key: artifact for artifact in client.read_artifacts(sort=ArtifactSort.CREATED_DESC)}
    parent = next(run for name, run in names.items() if name.startswith("pipeline ALE/Breakout-v5"))
    assert parent.state_name == "Completed"
    assert names["train ALE/Breakout-v5 ppo-tuned seed 1"].parent_task_run_id is not None, "a subflow of the pipeline"
    assert "record ALE/Breakout-v5 ppo-tuned seed 1" in names
    assert "compare ALE/Breakout-v5 ppo-tuned seed 1, mine seed 1" in names
    assert f"comparison-{compared.run_id[:8]}" in artifacts
    assert f"videos-{compared.runs[0][:8]}" in artifacts
    summary = artifacts[f"pipeline-{compared.run_id[:8]}"]
    assert summary.flow_run_id == parent.id, "on the pipeline's own page"
    for part in (compared.verdict, *compared.runs, compared.report, *(video.mp4 for video in videos_of_all)):
        assert part in str(summary.data)


def test_runs_with_different_game_settings_are_not_compared(small: TrainSettings, store: Store) -> None:
    one = train(small).run_id
    other = train(small.model_copy(update={"env_id": "Breakout-v4"})).run_id
    with pytest.raises(
        StoreError,
        match=r"are not comparable: frame_skip is 4 and \(2, 5\), repeat_action_probability is 0\.25",
    ):
        compare(CompareSettings(runs=(one, other)))
    compared = compare(CompareSettings(runs=(one,)))
    assert compared.verdict.startswith("No results yet"), "the run has no evaluation"
