"""What came of it: runs, metrics, checkpoints, videos and reports in MLflow; the only room that imports mlflow."""

from tasks.store.champions import DROPPED, Champion, Registry
from tasks.store.connection import find_home
from tasks.store.lease import Lease, LeaseError
from tasks.store.metric_writer import MetricLog
from tasks.store.models import (
    RunStatus,
    StoredCheckpoint,
    StoredRun,
    StoreError,
    Video,
    one_line,
    step_name,
    without_passwords,
)
from tasks.store.start_runs import (
    ATLAS,
    BEST_SETTINGS,
    newest_atlas,
    start_atlas,
    start_import,
    start_sweep,
    study_file,
)
from tasks.store.store import Store, open_store, store_in_use

__all__ = [
    "ATLAS",
    "BEST_SETTINGS",
    "DROPPED",
    "Champion",
    "Lease",
    "LeaseError",
    "MetricLog",
    "Registry",
    "RunStatus",
    "Store",
    "StoreError",
    "StoredCheckpoint",
    "StoredRun",
    "Video",
    "find_home",
    "newest_atlas",
    "one_line",
    "open_store",
    "start_atlas",
    "start_import",
    "start_sweep",
    "step_name",
    "store_in_use",
    "study_file",
    "without_passwords",
]
