"""No message counts one of something in the plural."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.arcade.external_runs.evaluations_npz import read_evaluations
from tasks.arcade.inputs.forms import AtlasSettings, LearningBenchmarkSettings
from tasks.arcade.inputs.unattended import PruneSettings
from tasks.arcade.plural_forms import pluralize


def test_one_is_singular_and_everything_else_plural() -> None:
    assert [pluralize(count, "run") for count in (0, 1, 2, 1000)] == ["0 runs", "1 run", "2 runs", "1,000 runs"]
    assert pluralize(1, "approach", "approaches") == "1 approach"
    assert pluralize(2, "approach", "approaches") == "2 approaches"


def test_titles_and_errors_about_one(tmp_path: Path) -> None:
    assert AtlasSettings(env_id="ALE/Pong-v5", states=1).title == "ALE/Pong-v5, 1 state"
    assert LearningBenchmarkSettings(env_ids=("Pong",)).title.startswith("1 game, ")
    assert PruneSettings(runs_days=1).title == "runs after 1 day"
    file = tmp_path / "evaluations.npz"
    np.savez(file, timesteps=[10], results=[[1.0]], ep_lengths=[[9]])
    assert read_evaluations([file]).sources[0].taken == "1 evaluation of 1 episode"
