"""A year of unattended operation in short form: `make year`; its result is a table in docs/year.md.

The days that are measured can be given, so that changes here are tried in minutes: `python tests/year/run.py 1 2 100`.

`ramreel up` runs one scheduled pipeline of tiny training runs with everything that follows from it, and one guard. The
other 364 pipelines and 8,759 guards are these two again: their rows of both databases with new ids and earlier times,
and copies of their artifacts. Real servers over these databases are then measured. Events are copied for the last seven
days only, because Prefect deletes older ones by default.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.approaches import FAST  # noqa: E402
from helpers.copied_days import CopiedRows, Copy, last_rows, new_id  # noqa: E402
from helpers.processes import wait_until  # noqa: E402
from helpers.timing import fastest  # noqa: E402
from helpers.unattended import Unattended  # noqa: E402

from tasks.store import AUTOMATIC_TAG  # noqa: E402

PIPELINE = {
    "env_id": "ALE/Breakout-v5",
    "approaches": [FAST.model_dump(mode="json"), "random"],
    "seeds": [0],
    "steps": 1024,
    "checkpoint_every": 256,
    "evaluation": {"episodes": 10},
}
DAYS = (1, 30, 365)
PREFECT_KEPT = frozenset({
    "alembic_version", "agent", "automation", "automation_bucket", "automation_event_follower",
    "automation_held_event", "automation_related_resource", "block_document", "block_document_reference",
    "block_schema", "block_schema_reference", "block_type", "composite_trigger_child_firing", "concurrency_limit",
    "concurrency_limit_v2", "configuration", "csrf_token", "deployment", "deployment_schedule", "deployment_version",
    "flow", "saved_search", "variable", "work_pool", "work_queue", "worker",
})  # fmt: skip
MLFLOW_KEPT = frozenset({"alembic_version", "experiments", "experiment_tags", "registered_model_aliases"})
EVENTS = {"events": timedelta(days=7), "event_resources": timedelta(days=7)}
VERSIONS = {"model_versions": "version", "model_version_tags": "version"}
_EVENTUALLY = 900
_PRUNE_SECONDS = 3600
"""Deleting 275 nights at once takes many minutes, which a daily retention never has to."""


def eventually(condition: Callable[[], object]) -> None:
    assert wait_until(condition, _EVENTUALLY, every=1), "took too long"


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Year:
    """A home with one real day, filled with copies of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.up = Unattended(home, "")
        self.prefect, self.mlflow = home / "mlruns/prefect.db", home / "mlruns/mlflow.db"
        self.days = self.hours = 1

    def run_day(self) -> None:
        """Run one night's pipeline by its schedule, what follows from it, and a guard."""
        up = self.up
        up.start()
        self.up.switch("prune", active=False)
        # Switching a schedule off deletes the flow runs that it has planned.
        start = self._rows()
        pipeline = up.deployments()["pipeline"]
        up.request("PATCH", f"/deployments/{pipeline['id']}", {"parameters": {"settings": PIPELINE}})
        soon = time.gmtime(time.time() + 120)
        self.up.switch("pipeline", active=True, schedule={"cron": f"{soon.tm_min} {soon.tm_hour} * * *"})
        eventually(lambda: up.runs("pipeline"))
        self.up.switch("pipeline", active=False)
        log("the pipeline runs")
        eventually(lambda: all(up.state(run["id"]) == "Completed" for run in up.runs("pipeline")))
        eventually(lambda: len([run for run in up.runs("follow-up") if run["state_name"] == "Completed"]) >= 2)
        eventually(self._is_idle)
        training = up.store.runs_with({"ramreel.kind": "training"})
        assert len(training) == 2 * len(up.runs("pipeline"))
        assert all(run.tags[AUTOMATIC_TAG] == "schedule" for run in up.store.iter_runs(training))
        night = self._rows()
        log("the guard runs")
        self._run_guard()
        time.sleep(10)
        end = last_rows(self.prefect)
        self.night = (
            CopiedRows(self.prefect, start[0], night[0], PREFECT_KEPT, oldest=EVENTS),
            CopiedRows(self.mlflow, start[1], night[1], MLFLOW_KEPT, VERSIONS),
        )
        self.guard = CopiedRows(self.prefect, night[0], end, PREFECT_KEPT, oldest=EVENTS)
        self.folders = self._night_folders()
        log(f"{len(self.folders)} folders, rows: {self.night[0].count}, {self.night[1].count}, {self.guard.count}")
        up.stop()

    def _is_idle(self) -> bool:
        states = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED"]}}}}
        return not self.up.request("POST", "/flow_runs/filter", states)

    def _run_guard(self) -> tuple[float, float]:
        """Run the guard; return the seconds until it ran and until it was completed."""
        start, flow_run = time.monotonic(), self.up.run("guard", {"episodes": 10})
        began = 0.0
        while (state := self.up.state(flow_run)) != "Completed":
            assert state not in ("Failed", "Crashed"), self.up.flow_run(flow_run)
            if state == "Running" and not began:
                began = time.monotonic() - start
            time.sleep(0.2)
        return began, time.monotonic() - start

    def _rows(self) -> tuple[dict[str, int], dict[str, int]]:
        # Prefect writes events with a delay of a few seconds.
        time.sleep(10)
        return last_rows(self.prefect), last_rows(self.mlflow)

    def fill(self, days: int) -> None:
        """Copy the day until there are so many."""
        nights: list[Copy] = [(f"day {day}", timedelta(days=day)) for day in range(self.days, days)]
        guards: list[Copy] = [(f"hour {hour}", timedelta(hours=hour)) for hour in range(self.hours, 24 * days)]
        for rows in self.night:
            rows.write(nights)
        self.guard.write(guards)
        for name, _ in nights:
            for folder, identifier in self.folders:
                copy = folder.name.removesuffix(identifier) + new_id(identifier, name)
                shutil.copytree(folder, folder.with_name(copy))
        self.days, self.hours = days, 24 * days

    def _night_folders(self) -> list[tuple[Path, str]]:
        """Return the folders of the night's runs and models, with the ids that they end with."""
        found = [folder.parent for folder in (self.home / "mlruns/artifacts").rglob("artifacts") if folder.is_dir()]
        named = [(folder, folder.name.removeprefix("m-")) for folder in found]
        return [(folder, identifier) for folder, identifier in named if identifier in self.night[1].ids]

    def measure(self, name: str) -> dict[str, Any]:
        """Return sizes in MB and times in seconds, the fastest of three, over servers that are running."""
        sizes = {
            "prefect.db": size(self.prefect),
            "mlflow.db": size(self.mlflow),
            "artifacts": size(self.home / "mlruns/artifacts"),
        }
        up = self.up
        start = time.monotonic()
        up.start()
        started = time.monotonic() - start
        found = {
            "name": name,
            **{f"{key}, MB": round(value / 10**6, 1) for key, value in sizes.items()},
            "flow runs": up.request("POST", "/flow_runs/count", {}),
            "MLflow runs": len(up.store.runs_with({})),
            "up, s": round(started, 1),
            "status, s": fastest(lambda: up.ramreel("status")),
            **{f"{key}, s": fastest(ask) for key, ask in self._pages().items()},
        }
        began, completed = zip(*(self._run_guard() for _ in range(2)), strict=True)
        found |= {
            "flow starts, s": round(min(began), 1),
            "guard, s": round(min(completed), 1),
            "load average": os.getloadavg()[0],
        }
        up.stop()
        log(json.dumps(found))
        return found

    def _pages(self) -> dict[str, Callable[[], object]]:
        """Return the requests behind the lists of both UIs."""
        up, store = self.up, self.up.store
        client = store._client
        (experiment,) = [one for one in client.search_experiments() if one.name == PIPELINE["env_id"]]
        newest = {"sort": "START_TIME_DESC", "limit": 50}
        history = {"history_start": ago(7), "history_end": ago(0), "history_interval_seconds": 3600}
        return {
            "list of flow runs in Prefect": lambda: up.request("POST", "/flow_runs/filter", newest),
            "history in Prefect": lambda: up.request("POST", "/flow_runs/history", history),
            "list of artifacts in Prefect": lambda: up.request("POST", "/artifacts/latest/filter", {"limit": 50}),
            "run list in MLflow": lambda: client.search_runs(
                [experiment.experiment_id], "", max_results=100, order_by=["attributes.start_time DESC"]
            ),
            "list of model versions in MLflow": lambda: client.search_model_versions("", max_results=25),
        }


def ago(days: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86400))


def size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def table(columns: Sequence[dict[str, Any]]) -> str:
    names = [key for key in columns[0] if key != "name"]
    lines = [f"| | {' | '.join(one['name'] for one in columns)} |", f"| --- |{' --- |' * len(columns)}"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(f'{one[name]:,}' for one in columns)} |" for name in names)])


def main(days: Sequence[int]) -> None:
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "RAMREEL_"))]:
        del os.environ[name]
    os.environ |= {"PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    home = Path(tempfile.mkdtemp(prefix="ramreel-year-"))
    year, found = Year(home), []
    try:
        year.run_day()
        for number in days:
            log(f"filling {number} days")
            year.fill(number)
            found.append(year.measure(f"day {number}" if number < days[-1] else f"day {number}, nothing deleted"))
        del os.environ["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"]
        start = time.monotonic()
        log(json.dumps(year.up.ramreel("prune", "--yes", seconds=_PRUNE_SECONDS)))
        log(f"pruned in {time.monotonic() - start:.0f} s")
        found.append(year.measure(f"day {days[-1]}, default retention"))
    finally:
        if found:
            print(table(found), flush=True)
        year.up.end()
        shutil.rmtree(home)


if __name__ == "__main__":
    main([int(day) for day in sys.argv[1:]] or DAYS)
