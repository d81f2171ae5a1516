"""MLflow run ids, told apart from the other ways of referring to a run."""

from __future__ import annotations

import re

_RUN_ID = re.compile(r"[0-9a-f]{32}")


def is_run_id(reference: str) -> bool:
    """Return whether a reference is a full run id, which needs no lookup; names, prefixes and `latest` do."""
    return _RUN_ID.fullmatch(reference) is not None
