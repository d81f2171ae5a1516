"""Task of the pipeline flow: its result on the page of its own flow run, with links to everything that it made."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from tasks.compare import ComparedRuns
from tasks.execution.links import mlflow_url, page_url
from tasks.store import Store, store_in_use


@task(task_run_name="summarize the pipeline")
def summarize_pipeline(title: str, compared: ComparedRuns, failed: tuple[str, ...]) -> None:
    """Log the verdict, and create an artifact with it, a table of the runs, and links to videos, report and runs.

    Args:
        title: title of the pipeline.
        compared: the comparison.
        failed: reasons why runs were not trained or recorded.
    """
    store, logger = store_in_use(), get_run_logger()
    report = page_url(store, compared.run_id, compared.report)
    logger.info("%s", compared.verdict)
    # A line of a log is not completed later, as a link of an artifact is.
    logger.info("report: %s", mlflow_url(store, compared.run_id, compared.report))
    lines = [
        f"# {title}",
        f"**{compared.verdict}**",
        *([f"Published scores: {compared.published} (without sticky actions)"] if compared.published else []),
        f"[Report]({report}) · [comparison in MLflow]({page_url(store, compared.run_id)})",
        "\n".join(_table(store, compared.runs)),
        *(f"- did not complete: {reason}" for reason in failed),
    ]
    key = f"pipeline-{compared.run_id[:8]}"
    create_markdown_artifact("\n\n".join(lines) + "\n", key=key, description=f"Pipeline {title}")


def _table(store: Store, runs: tuple[str, ...]) -> list[str]:
    rows = ["| run | steps | mean return | episodes | videos |", "| :-- | --: | --: | --: | :-- |"]
    for run_id in runs:
        run, videos = store.run(run_id), store.complete_videos(run_id)
        last = store.fetch_evaluation(run_id, max(videos)) if videos else None
        cells = [f"{last.step:,}", f"{last.mean_return:.2f}", str(len(last.episodes))] if last else ["", "", ""]
        links = " · ".join(f"[{step:,}]({page_url(store, run_id, video.mp4)})" for step, video in videos.items())
        rows.append(f"| [{run.name}]({page_url(store, run_id)}) | {' | '.join(cells)} | {links} |")
    return rows
