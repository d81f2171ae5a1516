"""Runs from elsewhere, read from what Stable-Baselines3, rl-baselines3-zoo and CleanRL leave behind."""

from tasks.arcade.external_runs.reader import ordinary, read
from tasks.arcade.external_runs.runs import (
    ForeignError,
    ForeignEvaluation,
    ForeignLog,
    ForeignRun,
    ImportSettings,
    Source,
    readable,
)

__all__ = [
    "ForeignError",
    "ForeignEvaluation",
    "ForeignLog",
    "ForeignRun",
    "ImportSettings",
    "Source",
    "ordinary",
    "read",
    "readable",
]
