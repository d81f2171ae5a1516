from __future__ import annotations

import json
import pickle
import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from mlflow import MlflowClient

from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation
from tasks.arcade.episodes.trace import EpisodeEnd
from tasks.arcade.inputs.forms import CompareSettings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.settings.run import RunSettings
from tasks.store import RunStatus, Store, StoreError, queries
from tasks.store.artifact_paths import safe_path, step_name
from tasks.store.connection import connect
from tasks.store.values import flatten

Start = Callable[..., str]


def client_of(store: Store) -> MlflowClient:
    return connect(store.address)


def metrics_of(store: Store, model_id: str) -> list[tuple[str, float, int]]:
    metrics = connect(store.address).get_logged_model(model_id).metrics
    return [(metric.key, metric.value, metric.step) for metric in metrics or []]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings_file(store: Store, run_id: str) -> Path:
    assert store.address.artifacts is not None
    return next(store.address.artifacts.rglob(f"{run_id}/artifacts/settings.json"))


def reason_and_description(store: Store, run_id: str) -> tuple[str | None, str | None]:
    """Return the reason of a run and its description in MLflow."""
    tags = store.run(run_id).tags
    return tags.get("ramreel.reason"), tags.get("mlflow.note.content")


def message_of(error: pytest.ExceptionInfo[StoreError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def make_evaluation(step: int, score: float) -> Evaluation:
    episode = EpisodeResult(
        seed=1, episode_return=score, length=10, frames=40, ram_digest="ab", ended=get_args(EpisodeEnd)[0]
    )
    return Evaluation(
        checkpoint="d", step=step, settings=EvaluationSettings(), episodes=(episode,), recorded=0, video_frames=40
    )


class TestRuns:
    def test_every_setting_is_a_parameter(self, store: Store, settings: RunSettings, run_id: str) -> None:
        run = store.run(run_id)
        assert run.settings == settings
        assert run.params["approach.algorithm.learning_rate"] == "lin_5e-4"
        assert run.params["approach.algorithm.network.pi"] == "[64, 64]"
        assert run.params["game.frame_skip"] == "4"
        assert set(run.params) == set(flatten(settings.model_dump(mode="json")))
        assert (run.name, run.experiment, run.kind, run.status) == ("ppo-7", "ALE/Pong-v5", "training", "RUNNING")
        expected = {
            "ramreel.approach": "ppo",
            "ramreel.env_id": "ALE/Pong-v5",
            "ramreel.seed": "7",
            "ramreel.schema": "1",
            "ramreel.command": "ramreel train ALE/Pong-v5",
            "ramreel.version.torch": "2.13.0",
            "ramreel.commit": "abc123",
        }
        assert expected.items() <= run.tags.items()

    def test_artifacts_are_next_to_the_database(self, store: Store, home: Path, run_id: str) -> None:
        assert list((home / "mlruns/artifacts").rglob("settings.json")) == [
            home / f"mlruns/artifacts/ALE-Pong-v5/{run_id}/artifacts/settings.json"
        ]

    def test_named_experiment_is_created_once(self, store: Store, settings: RunSettings) -> None:
        names = []
        for _ in range(2):
            run_id = store.start_run(settings, name="a", command="c", versions={}, commit=None, experiment="../mine")
            names.append(store.run(run_id).experiment)
        assert names == ["../mine", "../mine"]

    def test_deleted_experiment_is_refused(
        self, store: Store, settings: RunSettings, start: Start, run_id: str
    ) -> None:
        client = client_of(store)
        client.delete_experiment(client.get_run(run_id).info.experiment_id)
        with pytest.raises(StoreError) as error:
            start(store, settings)
        assert "'ALE/Pong-v5' is deleted" in message_of(error)

    def test_run_that_cannot_start_is_failed(
        self, store: Store, home: Path, settings: RunSettings, start: Start
    ) -> None:
        (home / "mlruns/artifacts").write_text("in the way")
        with pytest.raises(StoreError) as error:
            start(store, settings)
        message_of(error)
        client = client_of(store)
        experiment = client.get_experiment_by_name("ALE/Pong-v5")
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FAILED"
        assert run.data.tags["ramreel.reason"]

    @pytest.mark.parametrize("left", [b"", b'{"schema": 99}', b"\xff"])
    def test_iter_runs_skips_unreadable_settings(
        self, store: Store, settings: RunSettings, start: Start, run_id: str, left: bytes
    ) -> None:
        whole = start(store, settings)
        settings_file(store, run_id).write_bytes(left)
        with pytest.raises(StoreError) as error:
            store.run(run_id)
        assert "are not readable by this version" in message_of(error)
        found = store.iter_runs(store.runs_named("ppo-7"))
        assert {run.run_id: run.settings for run in found} == {whole: settings, run_id: None}

    def test_iter_runs_skips_an_import_stopped_while_it_started(self, store: Store, settings: RunSettings) -> None:
        run_id = store.start_run(settings, name="sb3", command="c", versions={}, commit=None, kind="imported")
        with pytest.raises(StoreError, match=r"was stopped before its imported\.json was saved"):
            store.run(run_id)
        (run,) = store.iter_runs([run_id])
        assert (run.kind, run.settings, run.external) == ("imported", None, None)

    def test_iter_runs_raises_for_settings_that_cannot_be_fetched(self, store: Store, run_id: str) -> None:
        file = settings_file(store, run_id)
        file.unlink()
        file.symlink_to("/etc/hostname")
        with pytest.raises(StoreError, match="is a link that leads out of the run"):
            list(store.iter_runs([run_id]))

    @pytest.mark.parametrize(("status", "noted"), [("FINISHED", False), ("FAILED", True), ("KILLED", True)])
    def test_finish(self, store: Store, run_id: str, status: RunStatus, noted: bool) -> None:
        store.finish_run(run_id, status, "the encoder died")
        run = store.run(run_id)
        assert run.status == status
        assert run.tags["ramreel.reason"] == "the encoder died"
        resume = f"the encoder died\n\nResume: `ramreel train --resume {run_id[:8]}`"
        assert run.tags.get("mlflow.note.content") == (resume if noted else None)
        assert run.end_ms is not None
        assert run.end_ms >= run.start_ms

    def test_failure_reason_leaves_the_status(self, store: Store, run_id: str) -> None:
        store.finish_run(run_id, "FINISHED")
        store.set_failure_reason(run_id, "the encoder died")
        run = store.run(run_id)
        assert (run.status, run.tags["ramreel.reason"]) == ("FINISHED", "the encoder died")
        assert run.tags["mlflow.note.content"] == "the encoder died"

    @pytest.mark.parametrize("described", [None, "my best one"])
    def test_running_run_has_no_reason(
        self, store: Store, settings: RunSettings, run_id: str, described: str | None
    ) -> None:
        for set_running in (lambda: store.resume_run(run_id, settings), lambda: store.mark_running(run_id)):
            store.set_failure_reason(run_id, "1 of 2 videos failed")
            store.finish_run(run_id, "FAILED", "the disk is full")
            if described:
                store.set_tag(run_id, "mlflow.note.content", described)
                store.finish_run(run_id, "FAILED", "the disk is full again")
                assert reason_and_description(store, run_id) == ("the disk is full again", described)
            set_running()
            assert store.run(run_id).status == "RUNNING"
            assert reason_and_description(store, run_id) == (None, described)
            store.clear_failure_reason(run_id)
            assert reason_and_description(store, run_id) == (None, described)

    def test_clearing_a_failure_restores_the_reason_of_the_run(self, store: Store, run_id: str) -> None:
        store.finish_run(run_id, "KILLED", "stopped by hand")
        stopped = ("stopped by hand", f"stopped by hand\n\nResume: `ramreel train --resume {run_id[:8]}`")
        store.clear_failure_reason(run_id)
        assert reason_and_description(store, run_id) == stopped
        for _ in range(2):
            store.set_failure_reason(run_id, "the encoder died")
            store.set_failure_reason(run_id, "the encoder died again")
            assert reason_and_description(store, run_id) == ("the encoder died again", "the encoder died again")
            store.clear_failure_reason(run_id)
            assert reason_and_description(store, run_id) == stopped

    def test_clearing_a_failure_keeps_the_description_of_a_user(self, store: Store, run_id: str) -> None:
        store.finish_run(run_id, "FINISHED")
        store.set_tag(run_id, "ramreel.reason", "pruned at step 100")
        store.set_failure_reason(run_id, "the encoder died")
        store.set_tag(run_id, "mlflow.note.content", "my best one")
        store.clear_failure_reason(run_id)
        assert reason_and_description(store, run_id) == ("pruned at step 100", "my best one")

    def test_description_is_replaced_unless_a_user_changed_it(self, store: Store, run_id: str) -> None:
        for text in ("mean return 1", "mean return 2"):
            store.set_description(run_id, text)
            assert store.run(run_id).tags["mlflow.note.content"] == text
        store.set_tag(run_id, "mlflow.note.content", "my best one")
        store.set_description(run_id, "mean return 3")
        assert store.run(run_id).tags["mlflow.note.content"] == "my best one"
        store.set_tag(run_id, "mlflow.note.content", "")
        store.set_description(run_id, "mean return 4")
        assert store.run(run_id).tags["mlflow.note.content"] == "mean return 4"

    def test_description_as_version_0_1_wrote_it_is_replaced(self, store: Store, run_id: str) -> None:
        store.set_tag(run_id, "ramreel.reason", "the encoder died")
        store.set_tag(run_id, "mlflow.note.content", "the encoder died")
        store.set_description(run_id, "mean return 1")
        assert store.run(run_id).tags["mlflow.note.content"] == "mean return 1"

    def test_run_list_has_a_view(self, store: Store, settings: RunSettings, start: Start) -> None:
        run_id, client = start(store, settings), client_of(store)
        experiment = client.get_run(run_id).info.experiment_id
        view = json.loads(client.get_experiment(experiment).tags["mlflow.sharedViewState.ramreel"])
        assert "params.`approach.name`" in view["selectedColumns"]
        client.set_experiment_tag(experiment, "mlflow.sharedViewState.ramreel", "of an earlier version")
        start(store, settings)
        assert json.loads(client.get_experiment(experiment).tags["mlflow.sharedViewState.ramreel"]) == view
        assert store.run_list_ui_path(run_id) == (
            f"/#/experiments/{experiment}/runs?viewStateShareKey=ramreel&workflowType=machine_learning"
        )

    def test_comparison_run_lists_its_runs(self, store: Store, run_id: str, tmp_path: Path) -> None:
        comparison = store.start_comparison(
            "ALE/Pong-v5", "both", [run_id, "b" * 32], command="c", versions={}, commit=None
        )
        store.log_report(comparison, "<p>ré", "# ré")
        run = store.run(comparison)
        assert (run.kind, run.settings, run.tags["ramreel.runs"]) == ("comparison", None, f"{run_id} {'b' * 32}")
        assert "ramreel.commit" not in run.tags
        assert store.fetch_artifact(comparison, "reports/report.html", tmp_path / "x").read_text("utf-8") == "<p>ré"
        assert store.fetch_artifact(comparison, "reports/report.md", tmp_path / "x").read_text("utf-8") == "# ré"

    def test_comparison_has_as_many_runs_as_the_inputs_allow(self, store: Store) -> None:
        CompareSettings(runs=("a",) * 240)
        runs = [f"{number:032x}" for number in range(240)]
        comparison = store.start_comparison("e", "n", runs, command="c", versions={}, commit=None)
        assert store.run(comparison).tags["ramreel.runs"].split() == runs

    def test_store_can_be_pickled(self, store: Store, run_id: str) -> None:
        assert pickle.loads(pickle.dumps(store)).resolve_run(run_id) == run_id  # noqa: S301


class TestResolve:
    def test_run_id_prefix_name_and_latest(self, store: Store, settings: RunSettings, start: Start) -> None:
        first = start(store, settings, "first")
        time.sleep(0.002)
        second = store.start_run(settings, name="it's", command="c", versions={}, commit=None, experiment="elsewhere")
        store.start_comparison("ALE/Pong-v5", "later", [first], command="c", versions={}, commit=None)
        assert store.resolve_run(first) == first
        assert store.resolve_run(first[:12]) == first
        assert store.resolve_run("first") == first
        assert store.resolve_run("latest") == second
        for unknown in ("it's", "", "fir", "first%", "' OR ''='", first[:3], "f" * 32):
            with pytest.raises(StoreError) as error:
                store.resolve_run(unknown)
            assert "or `latest`" in message_of(error)

    def test_latest_stays_the_run_started_last_when_an_earlier_one_is_resumed(
        self, store: Store, settings: RunSettings, start: Start
    ) -> None:
        first = start(store, settings, "first")
        store.finish_run(first, "KILLED")
        time.sleep(0.002)
        second = start(store, settings, "second")
        store.finish_run(second, "FINISHED")
        store.resume_run(first, settings)
        store.log_metrics(first, {"rollout/ep_rew_mean": 1.0}, 500)
        store.finish_run(first, "FINISHED")
        assert store.resolve_run("latest") == second

    def test_ambiguous_name_lists_the_matches(self, store: Store, settings: RunSettings, start: Start) -> None:
        runs = [start(store, settings, "twin") for _ in range(4)]
        with pytest.raises(StoreError) as error:
            store.resolve_run("twin")
        message = message_of(error)
        assert sum(run_id[:12] in message for run_id in runs) == 3
        assert ", ...; give a longer prefix" in message

    def test_deleted_runs_are_not_found(self, store: Store, settings: RunSettings, run_id: str) -> None:
        client_of(store).delete_run(run_id)
        for reference in (run_id, "ppo-7", "latest"):
            with pytest.raises(StoreError):
                store.resolve_run(reference)

    def test_experiments_beyond_the_first_page(
        self, store: Store, settings: RunSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = [
            store.start_run(settings, name=name, command="c", versions={}, commit=None, experiment=name)
            for name in ("one", "two", "three")
        ]
        monkeypatch.setattr(queries, "PAGE", 1)
        assert [store.resolve_run(name) for name in ("one", "two", "three")] == runs

    def test_runs_beyond_the_first_page(self, store: Store, run_id: str) -> None:
        client = client_of(store)
        experiment = client.get_run(run_id).info.experiment_id
        tags = {"ramreel.env_id": "ALE/Pong-v5"}
        runs = [
            client.create_run(experiment, start_time=number + 1, tags=tags, run_name="trial").info.run_id
            for number in range(2 * queries.PAGE + 5)
        ]
        client.delete_run(runs[7])
        found = [run for run in reversed(runs) if run != runs[7]]
        assert store.runs_tagged("ramreel.env_id", "ALE/Pong-v5") == (run_id, *found)
        assert store.runs_named("trial") == tuple(found)

    def test_run_started_while_pages_are_fetched_is_no_duplicate(self, store: Store, run_id: str) -> None:
        client = client_of(store)
        experiment = client.get_run(run_id).info.experiment_id
        runs = [
            client.create_run(experiment, start_time=number + 1, run_name="trial").info.run_id
            for number in range(queries.PAGE + 1)
        ]
        search = client.search_runs

        def search_and_start_another(*args: object, **kwargs: object) -> object:
            page = search(*args, **kwargs)
            client.create_run(experiment, run_name="trial")
            return page

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "search_runs", search_and_start_another)
            assert store.runs_named("trial") == tuple(reversed(runs))


class TestMetrics:
    def test_history_keeps_the_last_value_at_a_step(self, store: Store, run_id: str) -> None:
        for step, value in ((20, 2.0), (10, 5.0), (30, 3.0), (10, 1.0)):
            store.log_metrics(run_id, {"eval/mean_reward": value}, step)
            time.sleep(0.002)
        assert store.history(run_id, "eval/mean_reward") == [(10, 1.0), (20, 2.0), (30, 3.0)]
        assert store.history(run_id, "never/logged") == []

    def test_value_logged_again_after_another_counts(self, store: Store, run_id: str) -> None:
        for value in (1.0, 2.0, 1.0):
            store.log_metrics(run_id, {"eval/mean_reward": value}, 10)
            time.sleep(0.002)
        assert store.history(run_id, "eval/mean_reward") == [(10, 1.0)]
        assert store.run(run_id).metrics == {"eval/mean_reward": 1.0}

    def test_value_logged_last_counts_although_the_clock_was_set_back(
        self, store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.log_metrics(run_id, {"eval/mean_reward": 1.0}, 10)
        hour_ago = time.time_ns() - 3600 * 10**9
        monkeypatch.setattr("tasks.store.metric_writer.time.time_ns", lambda: hour_ago)
        for value in (2.0, 2.0, 3.0):
            store.log_metrics(run_id, {"eval/mean_reward": value}, 10)
            assert store.history(run_id, "eval/mean_reward") == [(10, value)]
            assert store.run(run_id).metrics["eval/mean_reward"] == value

    def test_non_finite_values_are_dropped(self, store: Store, run_id: str) -> None:
        store.log_metrics(run_id, {"a": float("nan"), "b": float("inf"), "c": 1.5, "d": -float("inf")}, 1)
        store.log_metrics(run_id, {"a": float("nan")}, 2)
        assert store.run(run_id).metrics == {"c": 1.5}

    def test_log_never_waits_for_the_store(self, store: Store, home: Path, run_id: str) -> None:
        with store.metric_writer(run_id) as log:
            log.log({"rollout/ep_rew_mean": 0.0}, 0)
            log.flush()
            blocker = sqlite3.connect(home / "mlruns/mlflow.db", isolation_level=None)
            blocker.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            for step in range(1, 600):
                log.log({"rollout/ep_rew_mean": step / 2, "time/fps": 1e3, "nan": float("nan")}, step)
            assert time.monotonic() - began < 1
            assert len(store.history(run_id, "time/fps")) == 0
            blocker.rollback()
            blocker.close()
        assert store.history(run_id, "rollout/ep_rew_mean") == [(step, step / 2) for step in range(600)]
        assert len(store.history(run_id, "time/fps")) == 599

    def test_a_new_writer_skips_steps_up_to_the_last_logged_of_each_metric(self, store: Store, run_id: str) -> None:
        with store.metric_writer(run_id) as log:
            for step in (10, 30, 20):
                log.log({"a": float(step)}, step)
            log.log({"b": 10.0}, 10)
        with store.metric_writer(run_id) as log:
            for step in (10, 20, 30, 40):
                log.log({"a": 0.0, "b": 0.0}, step)
        assert store.history(run_id, "a") == [(10, 10.0), (20, 20.0), (30, 30.0), (40, 0.0)]
        assert store.history(run_id, "b") == [(10, 10.0), (20, 0.0), (30, 0.0), (40, 0.0)]

    def test_metrics_of_a_step_share_a_timestamp(self, store: Store, run_id: str) -> None:
        with store.metric_writer(run_id) as log:
            for _ in range(2):
                log.log({"a": 1.0}, 10)
                time.sleep(0.005)
                log.log({"b": 2.0}, 10)
        client = client_of(store)
        (a,), (b,) = client.get_metric_history(run_id, "a"), client.get_metric_history(run_id, "b")
        assert a.timestamp == b.timestamp

    def test_failed_write_is_raised(self, store: Store, run_id: str) -> None:
        with pytest.raises(StoreError) as at_the_end, store.metric_writer(run_id) as log:
            log.log({"a": 1.0}, 1)
            log.flush()
            client_of(store).delete_run(run_id)
            log.log({"a": 2.0}, 2)
            with pytest.raises(StoreError) as error:
                log.flush()
            assert f"metrics of run {run_id} could not be written" in message_of(error)
            client_of(store).restore_run(run_id)
            with pytest.raises(StoreError):
                log.log({"a": 3.0}, 3)
        assert message_of(at_the_end) == message_of(error)
        assert store.history(run_id, "a") == [(1, 1.0)]


class TestCheckpoints:
    def test_saved_checkpoint_can_be_fetched(self, store: Store, run_id: str, checkpoint: Path, tmp_path: Path) -> None:
        training = tmp_path / "training"
        training.mkdir()
        (training / "optimizer.safetensors").write_bytes(b"adam")
        model_id = store.save_checkpoint(
            run_id, 250_000, checkpoint, "d1", params={"algorithm": "ppo"}, training=training
        )
        (stored,) = store.list_checkpoints(run_id)
        assert (stored.run_id, stored.step, stored.model_id, stored.digest) == (run_id, 250_000, model_id, "d1")
        assert files_of(store.fetch_checkpoint(stored, tmp_path / "into")) == files_of(checkpoint)
        back = store.fetch_training_state(stored, tmp_path / "into")
        assert files_of(back) == files_of(training)
        outputs = client_of(store).get_run(run_id).outputs
        assert outputs is not None
        assert [(output.model_id, output.step) for output in outputs.model_outputs] == [(model_id, 250_000)]

    def test_metrics_of_a_checkpoint(self, store: Store, run_id: str, checkpoint: Path) -> None:
        model_id = store.save_checkpoint(run_id, 500, checkpoint, "d")
        store.log_metrics(run_id, {"eval/mean_reward": -20.5}, 500, model_id)
        assert metrics_of(store, model_id) == [("eval/mean_reward", -20.5, 500)]
        assert store.history(run_id, "eval/mean_reward") == [(500, -20.5)]

    def test_checkpoints_are_listed_by_step_across_pages(
        self,
        store: Store,
        run_id: str,
        settings: RunSettings,
        start: Start,
        checkpoint: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(queries, "PAGE", 2)
        store.save_checkpoint(start(store, settings), 5, checkpoint, "of another run")
        for step, digest in ((1000, "a"), (200, "b"), (1000, "newer"), (30, "c"), (4, "d")):
            store.save_checkpoint(run_id, step, checkpoint, digest)
            time.sleep(0.002)
        listed = [(stored.step, stored.digest) for stored in store.list_checkpoints(run_id)]
        assert listed == [(4, "d"), (30, "c"), (200, "b"), (1000, "newer")]

    def test_incomplete_checkpoint_is_not_listed(
        self, store: Store, run_id: str, checkpoint: Path, torn_checkpoint: Path
    ) -> None:
        with pytest.raises(StoreError) as error:
            store.save_checkpoint(run_id, 10, checkpoint, "d", training=torn_checkpoint)
        assert "No such file" in message_of(error)
        assert store.list_checkpoints(run_id) == ()
        client = client_of(store)
        (model,) = client.search_logged_models([client.get_run(run_id).info.experiment_id])
        assert str(model.status) == "FAILED"

    def test_empty_folder_is_refused(self, store: Store, run_id: str, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for folder in (tmp_path / "missing", tmp_path / "empty"):
            for directory, training in ((folder, None), (checkpoint, folder)):
                with pytest.raises(StoreError, match=re.escape(str(folder))):
                    store.save_checkpoint(run_id, 10, directory, "d", training=training)
        client = client_of(store)
        assert client.search_logged_models([client.get_run(run_id).info.experiment_id]) == []

    def test_run_without_checkpoints(self, store: Store, run_id: str) -> None:
        assert store.list_checkpoints(run_id) == ()
        with pytest.raises(StoreError):
            store.list_checkpoints("f" * 32)

    def test_checkpoints_at_steps(self, store: Store, run_id: str, checkpoint: Path) -> None:
        with pytest.raises(StoreError, match="has no checkpoint: `ramreel train"):
            store.checkpoints_at(run_id)
        for step in (10, 20, 30):
            store.save_checkpoint(run_id, step, checkpoint, "d")
        assert [stored.step for stored in store.checkpoints_at(run_id)] == [10, 20, 30]
        assert [stored.step for stored in store.checkpoints_at(run_id, [30, 10, 30])] == [10, 30]
        with pytest.raises(StoreError) as error:
            store.checkpoints_at(run_id, [10, 25])
        assert message_of(error).endswith("no checkpoint at step 25; available: 10, 20, 30")


class TestVideos:
    def test_saved_video_can_be_fetched_and_replaced(self, store: Store, run_id: str, tmp_path: Path) -> None:
        mp4, trace = tmp_path / "some.mp4", tmp_path / "other.json"
        mp4.write_bytes(b"video")
        trace.write_text("{}")
        assert store.videos(run_id) == {}
        for step in (1000, 200):
            store.save_video(run_id, step, mp4, trace)
        mp4.write_bytes(b"video, made again")
        store.save_video(run_id, 200, mp4, trace)
        videos = store.videos(run_id)
        assert list(videos) == [200, 1000]
        assert videos[200].mp4 == "videos/step-000000200.mp4"
        assert store.fetch_artifact(run_id, videos[200].mp4, tmp_path / "x").read_bytes() == b"video, made again"
        assert store.fetch_artifact(run_id, videos[1000].trace, tmp_path / "x").read_text() == "{}"

    def test_video_without_trace_is_skipped(self, store: Store, run_id: str, tmp_path: Path) -> None:
        trace = tmp_path / "t.json"
        trace.write_text("{}")
        with pytest.raises(StoreError) as error:
            store.save_video(run_id, 1, tmp_path / "missing.mp4", trace)
        message_of(error)
        store.log_text(run_id, "x", "videos/step-000000002.mp4")
        store.log_text(run_id, "x", "videos/notes.txt")
        assert store.videos(run_id) == {}

    @pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "", "a//b", "file:x", "a\\b", "."])
    def test_paths_out_of_the_run_are_refused(self, store: Store, run_id: str, tmp_path: Path, path: str) -> None:
        for use in (
            lambda: store.fetch_artifact(run_id, path, tmp_path),
            lambda: store.log_text(run_id, "x", path),
        ):
            with pytest.raises(StoreError, match="is not an artifact path"):
                use()

    def test_missing_artifact_is_an_error(self, store: Store, run_id: str, tmp_path: Path) -> None:
        with pytest.raises(StoreError) as error:
            store.fetch_artifact(run_id, "videos/step-000000001.mp4", tmp_path)
        message_of(error)

    def test_step_names_sort_like_steps(self) -> None:
        assert step_name(250_000) == "step-000250000"
        assert safe_path(f"videos/{step_name(10**10)}.mp4") == "videos/step-10000000000.mp4"

    def test_evaluations_are_listed_fetched_and_validated(self, store: Store, run_id: str) -> None:
        assert store.evaluations(run_id) == ()
        saved = [make_evaluation(step, score) for step, score in ((2000, 3.0), (500, -21.0), (500, -20.0))]
        for evaluation in saved:
            store.save_evaluation(run_id, evaluation)
        assert store.evaluations(run_id) == (500, 2000)
        assert store.fetch_evaluation(run_id, 500) == saved[-1]
        with pytest.raises(StoreError):
            store.fetch_evaluation(run_id, 700)
        store.log_text(run_id, "{}", "evaluations/step-000000700.json")
        with pytest.raises(StoreError) as error:
            store.fetch_evaluation(run_id, 700)
        assert "is not an evaluation" in message_of(error)


def test_run_that_starts_while_runs_are_read_is_none_that_lost_its_settings(
    store: Store, settings: RunSettings, start: Start
) -> None:
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(lambda: [start(store, settings) for _ in range(20)])
        while not starting.done():
            list(store.iter_runs(store.runs_tagged("ramreel.kind", "training")[:2]))
    assert len(set(starting.result())) == 20
