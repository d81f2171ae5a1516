"""Reports that compare runs, as HTML, Markdown, CSV and Parquet."""

from tasks.arcade.report.data import (
    BestCheckpoint,
    CheckpointRow,
    Comparison,
    Cost,
    PixelsRow,
    RunView,
    VideoView,
    best_checkpoint,
    checkpoint_row,
)
from tasks.arcade.report.embedded_videos import VideoRequest, fit_video_budget, select_videos
from tasks.arcade.report.figures import reference_lines
from tasks.arcade.report.findings import Findings, analyze, best_run, cautions, verdicts, worse
from tasks.arcade.report.groups import Group, groups
from tasks.arcade.report.mlflow_metrics import metrics_by_step
from tasks.arcade.report.page import render_report_html, render_report_markdown
from tasks.arcade.report.table_export import to_csv, to_parquet
from tasks.arcade.report.tables import parameter_table, summary_rows

__all__ = [
    "BestCheckpoint",
    "CheckpointRow",
    "Comparison",
    "Cost",
    "Findings",
    "Group",
    "PixelsRow",
    "RunView",
    "VideoRequest",
    "VideoView",
    "analyze",
    "best_checkpoint",
    "best_run",
    "cautions",
    "checkpoint_row",
    "fit_video_budget",
    "groups",
    "metrics_by_step",
    "parameter_table",
    "reference_lines",
    "render_report_html",
    "render_report_markdown",
    "select_videos",
    "summary_rows",
    "to_csv",
    "to_parquet",
    "verdicts",
    "worse",
]
