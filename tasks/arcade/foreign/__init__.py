"""Runs from elsewhere, read from what Stable-Baselines3, rl-baselines3-zoo and CleanRL leave behind."""

from tasks.arcade.foreign.reading import ordinary, read
from tasks.arcade.foreign.values import (
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
