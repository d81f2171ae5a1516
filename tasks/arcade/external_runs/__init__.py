"""Importing runs of Stable-Baselines3, rl-baselines3-zoo and CleanRL from their log files."""

from tasks.arcade.external_runs.reader import read_external_log, require_regular_file
from tasks.arcade.external_runs.runs import (
    ExternalEvaluation,
    ExternalLog,
    ExternalRun,
    ExternalRunError,
    Source,
    printable_path,
)

__all__ = [
    "ExternalEvaluation",
    "ExternalLog",
    "ExternalRun",
    "ExternalRunError",
    "Source",
    "printable_path",
    "read_external_log",
    "require_regular_file",
]
