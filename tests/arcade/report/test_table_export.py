"""All numbers of a comparison as CSV and Parquet."""

from __future__ import annotations

import io

import pandas as pd

from tasks.arcade.report import Findings, to_csv, to_parquet


def test_csv_and_parquet_have_the_same_numbers(two_approaches: Findings) -> None:
    table = pd.read_parquet(io.BytesIO(to_parquet(two_approaches)))
    from_csv = pd.read_csv(io.BytesIO(to_csv(two_approaches)))
    assert list(from_csv.columns) == list(table.columns)
    pd.testing.assert_frame_equal(table, from_csv, check_dtype=False, rtol=1e-12)
    assert table.groupby("table").size().to_dict() == {
        "approach": 6,
        "checkpoint": 8 * 2 * 5,
        "episode": 8 * 2 * 4 * 2,
        "pair": 2,
        "run": 8 * 6,
        "training": 8 * 10,
    }


def test_results_can_be_recomputed_from_the_export(two_approaches: Findings) -> None:
    table = pd.read_parquet(io.BytesIO(to_parquet(two_approaches)))
    episodes = table[(table.table == "episode") & (table.name == "episode_return") & (table.step == 100_000)]
    means = episodes.groupby("approach").value.mean()
    reported = table[(table.table == "approach") & (table.name == "mean")].set_index("approach").value
    assert means.to_dict() == reported.to_dict()
    assert set(table.env_id.dropna()) == {"ALE/Pong-v5"}
    (probability,) = table[table.name == "probability_of_improvement"].value
    assert probability == 1
