"""Flows on an MLflow server: a champion, and links for people, who may reach it under another address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.servers import Server
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from flows.cli.app import run
from flows.follow_up import follow_up
from flows.record import record
from flows.train import train
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings
from tasks.arcade.inputs.unattended import FollowUpSettings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.settings.run import RunSettings
from tasks.execution.links import UI_ENVIRONMENT, mlflow_url
from tasks.store import ChampionRegistry, Store

GAME = "ALE/Assault-v5"
PUBLIC = "https://mlflow.example.org/ram"


@pytest.fixture
def store(server_store: Store, tracking_server: Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.address)
    return server_store


def test_training_run_is_followed_up(
    store: Store, small: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.runs.champion_evaluation.FRESH_EPISODES", 3)
    monkeypatch.setenv(UI_ENVIRONMENT, f"{PUBLIC}/")
    run_id = train(small.model_copy(update={"env_id": GAME, "steps": 512})).run_id
    evaluation, video = EvaluationSettings(episodes=3), VideoSettings(panel=False)
    record(RecordSettings(run=run_id, evaluation=evaluation, video=video))
    followed = follow_up(FollowUpSettings(run=run_id))
    champion = ChampionRegistry(store.address).champion(GAME)
    assert champion is not None
    assert champion.run_id == run_id

    page = f"{PUBLIC}/#/experiments/{store._client.get_run(run_id).info.experiment_id}/runs/{run_id}"
    ml = "?workflowType=machine_learning"
    assert mlflow_url(store, run_id) == page + ml
    html = store.fetch_artifact(followed.comparison.run_id, followed.comparison.report, tmp_path).read_text("utf-8")
    assert f'href="{page}/artifacts/videos/step-000000512.mp4{ml}"' in html
    with get_client(sync_client=True) as client:
        links = {artifact.key: str(artifact.data) for artifact in client.read_artifacts(sort=ArtifactSort.CREATED_DESC)}
    assert f"{page}{ml}" in links[f"run-{run_id[:8]}"]
    assert f"{page}/artifacts/videos/step-000000512.mp4{ml}" in links[f"video-{run_id[:8]}"]


def test_links_lead_to_the_server_by_default(
    store: Store, settings: RunSettings, start: Callable[..., str], tracking_server: Server
) -> None:
    assert mlflow_url(store, start(store, settings)).startswith(f"{tracking_server.address}/#/experiments/")


def test_address_that_is_not_a_url_is_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UI_ENVIRONMENT, "mlflow.example.org")
    assert run(["compare", "latest"]) == 2
    assert (
        "RAMREEL_MLFLOW_UI_URL must be a URL such as https://mlflow.example.org, got 'mlflow" in capfd.readouterr().err
    )
