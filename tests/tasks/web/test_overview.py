"""The overview of all runs: what is read again when, and what is shown meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from helpers.processes import wait_until

from tasks.arcade.settings.run import RunSettings
from tasks.store import Store
from tasks.web import overview
from tasks.web.overview import Overview

Start = Callable[..., str]


@pytest.fixture
def ages(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Read changes at every request, and all runs only once."""
    monkeypatch.setattr(overview, "_FRESH_SECONDS", -1)
    monkeypatch.setattr(overview, "_IDLE_PER_READING", 1e9)
    monkeypatch.setattr(overview, "_PATIENCE_SECONDS", 60)
    return monkeypatch


def test_runs_that_start_or_end_are_read_before_all_runs_are_read_again(
    store: Store, settings: RunSettings, start: Start, ages: pytest.MonkeyPatch
) -> None:
    first, read = start(store, settings), Overview(store)
    assert set(read.snapshot().runs) == {first}
    second = start(store, settings)
    assert set(read.snapshot().runs) == {first, second}
    store.finish_run(first, "FINISHED")
    assert read.snapshot().runs[first].state == "finished"

    store._client.delete_run(second)
    assert second in read.snapshot().runs
    ages.setattr(overview, "_IDLE_PER_READING", 0)
    assert set(read.snapshot().runs) == {first}


def test_clock_that_is_set_hides_no_run(
    store: Store, settings: RunSettings, start: Start, ages: pytest.MonkeyPatch
) -> None:
    first, read, now = start(store, settings), Overview(store), time.time
    assert set(read.snapshot().runs) == {first}
    ages.setattr(time, "time", lambda: now() - 3600)
    second = start(store, settings)
    assert set(read.snapshot().runs) == {first, second}
    assert read.snapshot().age < 3600
    ages.setattr(time, "time", lambda: now() + 86400)
    third = start(store, settings)
    assert set(read.snapshot().runs) == {first, second, third}
    assert read.snapshot().age < 3600


def test_what_is_fresh_is_not_read_again(
    store: Store, settings: RunSettings, start: Start, ages: pytest.MonkeyPatch
) -> None:
    read = Overview(store)
    assert read.snapshot().complete
    ages.setattr(overview, "_FRESH_SECONDS", 1000)
    start(store, settings)
    assert not read.snapshot().runs


def test_pages_show_what_is_known_during_the_first_reading(
    store: Store, settings: RunSettings, start: Start, ages: pytest.MonkeyPatch
) -> None:
    run_id = start(store, settings)
    ages.setattr(overview, "_PATIENCE_SECONDS", 0)
    read = Overview(store)
    assert not read.snapshot().complete
    assert wait_until(lambda: read.snapshot().complete)
    assert set(read.snapshot().runs) == {run_id}


def test_runs_are_kept_while_the_store_fails(
    store: Store, settings: RunSettings, start: Start, ages: pytest.MonkeyPatch
) -> None:
    run_id, read = start(store, settings), Overview(store)
    assert read.snapshot().error == ""
    database = store.address.database
    assert database is not None
    kept = database.rename(database.with_name("kept.db"))
    database.write_bytes(b"not a database" * 1000)
    failed = read.snapshot()
    assert set(failed.runs) == {run_id}
    assert "not a database" in failed.error
    kept.replace(database)
    assert read.snapshot().error == ""


def test_the_oldest_runs_are_left_out(
    store: Store, settings: RunSettings, start: Start, ages: pytest.MonkeyPatch
) -> None:
    start(store, settings)
    newest = start(store, settings)
    ages.setattr(overview, "MAX_RUNS", 1)
    ages.setattr("tasks.store.run_summaries._PAGE", 1)
    assert set(Overview(store).snapshot().runs) == {newest}
