"""Descriptions of runs in MLflow's UI: result, video, report, and the command that resumes the run."""

from __future__ import annotations

from contextlib import suppress

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.scores.pixels_returns import SOURCES
from tasks.store import REPORT, Store, StoredRun, StoreError, resume_hint

REPORT_TAG = "ramreel.report"
"""Tag of a compared run with the run id of the comparison that compared it last."""


def describe_training(store: Store, run_id: str) -> None:
    """Describe a training run, or an imported one, that has finished; a description that a user wrote is kept."""
    run = store.run(run_id)
    if run.status != "FINISHED" or run.kind not in ("training", "imported"):
        return
    # Such as of a video that could not be made.
    parts = [run.tags.get("ramreel.reason", ""), _result(run), _result_from_pixels(run), _links(store, run)]
    if run.kind == "training" and run.settings and run.settings.approach.algorithm.learns:
        parts.append(f"{resume_hint(run_id)} with more `--steps`")
    store.set_description(run_id, "\n\n".join(filter(None, parts)))


def describe_comparison(store: Store, comparison_id: str, runs: tuple[str, ...], verdict: str) -> None:
    """Describe a comparison by its verdict, and link its report from the compared runs."""
    report = artifact_link(store, comparison_id, REPORT, "Report")
    store.set_description(comparison_id, f"{verdict}\n\n{report} · {_run_list(store, comparison_id)}")
    for run_id in runs:
        # A run that was deleted meanwhile must not fail the comparison, whose report is written.
        with suppress(StoreError):
            store.set_tag(run_id, REPORT_TAG, comparison_id)
            describe_training(store, run_id)


def artifact_link(store: Store, run_id: str, artifact_path: str, text: str) -> str:
    """Return a Markdown link to an artifact that works at any address of MLflow's UI."""
    return f"[{text}]({store.ui_path(run_id, artifact_path).removeprefix('/')})"


def _result(run: StoredRun) -> str:
    evaluated, training = run.metrics.get("eval/mean_reward"), run.metrics.get("rollout/ep_rew_mean")
    if evaluated is not None:
        episodes = run.metrics.get("eval/episodes")
        return f"Mean return {evaluated:.1f}" + (f" of {pluralize(int(episodes), 'episode')}" if episodes else "")
    return "" if training is None else f"Mean return {training:.1f} of the last episodes of training"


def _result_from_pixels(run: StoredRun) -> str:
    means = {source: run.metrics.get(f"from_pixels/return_{source}") for source in SOURCES}
    shown = ", ".join(f"{source} {mean:.1f}" for source, mean in means.items() if mean is not None)
    return f"Mean return from pixels, by the RAM that the policy observes: {shown}" if shown else ""


def _links(store: Store, run: StoredRun) -> str:
    videos = store.complete_videos(run.run_id)
    links = [artifact_link(store, run.run_id, videos[step].mp4, f"Video of step {step:,}") for step in [*videos][-1:]]
    comparison = run.tags.get(REPORT_TAG)
    if comparison and store.exists(comparison):
        links.append(artifact_link(store, comparison, REPORT, "Report"))
    return " · ".join([*links, _run_list(store, run.run_id)])


def _run_list(store: Store, run_id: str) -> str:
    return f"[All runs]({store.run_list_ui_path(run_id).removeprefix('/')})"
