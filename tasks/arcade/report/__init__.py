"""Values → one HTML file, Markdown, CSV and Parquet that compare runs."""

from tasks.arcade.report.data import (
    BestCheckpoint,
    CheckpointRow,
    Comparison,
    Cost,
    RunView,
    VideoView,
    best_checkpoint,
    checkpoint_row,
)
from tasks.arcade.report.embedded_videos import WantedVideo, wanted_videos, within_budget
from tasks.arcade.report.findings import Findings, cautions, verdicts, worse
from tasks.arcade.report.groups import Group, groups
from tasks.arcade.report.mlflow_metrics import by_step
from tasks.arcade.report.page import render_html, render_markdown
from tasks.arcade.report.table_export import to_csv, to_parquet
from tasks.arcade.report.tables import parameter_table, summary_rows

__all__ = [
    "BestCheckpoint",
    "CheckpointRow",
    "Comparison",
    "Cost",
    "Findings",
    "Group",
    "RunView",
    "VideoView",
    "WantedVideo",
    "best_checkpoint",
    "by_step",
    "cautions",
    "checkpoint_row",
    "groups",
    "parameter_table",
    "render_html",
    "render_markdown",
    "summary_rows",
    "to_csv",
    "to_parquet",
    "verdicts",
    "wanted_videos",
    "within_budget",
    "worse",
]
