"""One cluster for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.cluster import Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("machines")) as found:
        yield found
        report(found)


def report(cluster: Cluster) -> None:
    """Print the table for docs, and keep it where `RAMREEL_CLUSTER_TABLE` says."""
    rows = [
        f"| {fault} | {outcome} | {seconds:.{0 if seconds >= 10 else 1}f} |"
        for fault, outcome, seconds in cluster.table
    ]
    text = "\n".join(["| fault | outcome | seconds |", "| --- | --- | --- |", *rows])
    print(f"\n{text}")
    if file := os.environ.get("RAMREEL_CLUSTER_TABLE"):
        Path(file).write_text(text + "\n", "utf-8")
