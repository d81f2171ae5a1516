"""Runs, metrics, checkpoints, videos and reports in MLflow: the only package that imports mlflow."""

from tasks.store.address import find_home
from tasks.store.artifact_paths import REPORT, highlight_path, step_name
from tasks.store.champions import DROP_CAUSE, Champion, ChampionRegistry
from tasks.store.errors import StoreError, one_line, without_passwords
from tasks.store.lease import Lease, LeaseError, lease_host
from tasks.store.metric_writer import MetricWriter
from tasks.store.missing_artifacts import MissingArtifactError
from tasks.store.run_writer import resume_hint
from tasks.store.server_command import migration_command, server_command
from tasks.store.start_runs import (
    ATLAS,
    BEST_SETTINGS,
    newest_atlas,
    start_atlas,
    start_import,
    start_sweep,
    study_uri,
)
from tasks.store.store import Store, open_store, store_in_use
from tasks.store.values import RunStatus, StoredCheckpoint, StoredRun, StoredVideo

__all__ = [
    "ATLAS",
    "BEST_SETTINGS",
    "DROP_CAUSE",
    "REPORT",
    "Champion",
    "ChampionRegistry",
    "Lease",
    "LeaseError",
    "MetricWriter",
    "MissingArtifactError",
    "RunStatus",
    "Store",
    "StoreError",
    "StoredCheckpoint",
    "StoredRun",
    "StoredVideo",
    "find_home",
    "highlight_path",
    "lease_host",
    "migration_command",
    "newest_atlas",
    "one_line",
    "open_store",
    "resume_hint",
    "server_command",
    "start_atlas",
    "start_import",
    "start_sweep",
    "step_name",
    "store_in_use",
    "study_uri",
    "without_passwords",
]
