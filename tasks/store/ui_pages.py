"""Pages of MLflow's UI, relative to its address, and the run list's view: columns, filter, order.

A view is a tag of an experiment, as MLflow's own "Share" button writes it; a link names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote, urlencode

VIEW_TAG = "mlflow.sharedViewState.ramreel"
"""Tag of an experiment with the view that the links to its run list open."""
# Otherwise the pages for generative AI open.
_WORKFLOW = {"workflowType": "machine_learning"}
# MLflow shows metrics first, then parameters, then tags.
_COLUMNS = (
    "metrics.`eval/mean_reward`",
    "metrics.`rollout/ep_rew_mean`",
    "params.`approach.name`",
    "params.`seed`",
    "params.`steps`",
    "tags.`ramreel.kind`",
)


def run_page(experiment_id: str, run_id: str, artifact_path: str | None = None) -> str:
    """Return the page of a run, or of one of its artifacts."""
    page = f"experiments/{experiment_id}/runs/{run_id}"
    return _page(f"{page}/artifacts/{quote(artifact_path)}" if artifact_path else page)


def run_list_page(experiment_id: str) -> str:
    """Return the page of an experiment's run list."""
    return _page(f"experiments/{experiment_id}/runs", {"viewStateShareKey": VIEW_TAG.rpartition(".")[2]})


def _page(path: str, query: Mapping[str, str] | None = None) -> str:
    return f"/#/{path}?{urlencode({**(query or {}), **_WORKFLOW})}"


def run_list_view() -> str:
    """Return the value of `VIEW_TAG`."""
    return json.dumps(
        {
            "searchFilter": "",
            "orderByKey": "attributes.start_time",
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": _COLUMNS,
        },
        separators=(",", ":"),
    )
