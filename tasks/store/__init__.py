"""Runs, metrics, checkpoints, videos and reports in MLflow: the only package that imports mlflow."""

from tasks.store.address import find_home
from tasks.store.artifact_paths import REPORT, highlight_path, step_name
from tasks.store.backup import restore_backup, write_backup
from tasks.store.champions import DROP_CAUSE, Champion, ChampionRegistry
from tasks.store.database_files import shrink
from tasks.store.decoders import decoder_digest, decoder_run_of_digest, fetch_decoder, newest_decoder_run, save_decoder
from tasks.store.errors import StoreError, one_line, without_passwords
from tasks.store.lease import Lease, LeaseError, lease_host
from tasks.store.metric_writer import MetricWriter
from tasks.store.migration import keep_copy_of_older
from tasks.store.missing_artifacts import MissingArtifactError
from tasks.store.pruning import prune
from tasks.store.retention import AUTOMATIC_TAG, PRUNED_VIDEOS, PrunePlan, plan_pruning, pruned_steps, stored_size
from tasks.store.run_summaries import (
    EVALUATED_RETURN,
    TRAINED,
    TRAINING_RETURN,
    Evaluated,
    RunSummary,
    evaluation_curve,
    pages_of_summaries,
    summaries_of_game,
    summaries_of_running,
    summaries_since,
    summary_of,
)
from tasks.store.run_writer import resume_hint
from tasks.store.server_command import migration_command, server_command
from tasks.store.start_runs import (
    ATLAS,
    BEST_SETTINGS,
    newest_atlas,
    start_game_run,
    start_import,
    start_sweep,
    study_uri,
)
from tasks.store.store import Store, open_store, store_in_use
from tasks.store.ui_pages import run_page
from tasks.store.values import RunStatus, StoredCheckpoint, StoredRun, StoredVideo, TrainedGame

__all__ = [
    "ATLAS",
    "AUTOMATIC_TAG",
    "BEST_SETTINGS",
    "DROP_CAUSE",
    "EVALUATED_RETURN",
    "PRUNED_VIDEOS",
    "REPORT",
    "TRAINED",
    "TRAINING_RETURN",
    "Champion",
    "ChampionRegistry",
    "Evaluated",
    "Lease",
    "LeaseError",
    "MetricWriter",
    "MissingArtifactError",
    "PrunePlan",
    "RunStatus",
    "RunSummary",
    "Store",
    "StoreError",
    "StoredCheckpoint",
    "StoredRun",
    "StoredVideo",
    "TrainedGame",
    "decoder_digest",
    "decoder_run_of_digest",
    "evaluation_curve",
    "fetch_decoder",
    "find_home",
    "highlight_path",
    "keep_copy_of_older",
    "lease_host",
    "migration_command",
    "newest_atlas",
    "newest_decoder_run",
    "one_line",
    "open_store",
    "pages_of_summaries",
    "plan_pruning",
    "prune",
    "pruned_steps",
    "restore_backup",
    "resume_hint",
    "run_page",
    "save_decoder",
    "server_command",
    "shrink",
    "start_game_run",
    "start_import",
    "start_sweep",
    "step_name",
    "store_in_use",
    "stored_size",
    "study_uri",
    "summaries_of_game",
    "summaries_of_running",
    "summaries_since",
    "summary_of",
    "without_passwords",
    "write_backup",
]
