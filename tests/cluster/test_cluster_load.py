"""What a user waits for over thousands of runs, and forty child runs at once. Seconds go into the table, unasserted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import sqlalchemy
from helpers.approaches import FAST
from helpers.cluster import ENDED, LOGIN, TIMEOUT_SECONDS, Cluster, eventually
from helpers.copied_runs import copy_runs
from helpers.processes import started, wait_until
from helpers.timing import fastest

from tasks.arcade.emulator.environment_ids import environment_ids

GAME, OTHER_GAME = "ALE/Pong-v5", "ALE/Asterix-v5"
"""Games that no other test of the cluster trains."""
CHECKPOINTS, ROLLOUTS = 10, 50
STEPS = ROLLOUTS * 128
TEMPLATE = {
    "env_id": GAME,
    "approach": FAST.model_dump(mode="json"),
    "steps": STEPS,
    "checkpoint_every": STEPS // CHECKPOINTS,
    "workers": 1,
    "evaluation": {"episodes": 1},
}
RUNS = 2_600
SEEDS = 20
PIPELINE = {
    "env_id": GAME,
    "approaches": ["random"],
    "seeds": list(range(SEEDS)),
    "steps": 128,
    "checkpoint_every": 128,
    "workers": 1,
    "evaluation": {"episodes": 1},
    "name": "forty child runs",
}


def finished(cluster: Cluster, deployment: str, settings: dict[str, object]) -> str:
    """Run a deployment that trains, or one on a run, to its end, and return the run that it trained."""
    flow_run = cluster.run(deployment, settings)
    assert cluster.ends(flow_run) == "Completed"
    return cluster.trained_by(flow_run) or ""


@contextmanager
def waits(cluster: Cluster, run_id: str, home: Path) -> Iterator[dict[str, Callable[[], object]]]:
    """Yield what a user waits for, by name."""
    server = cluster.machines["server"].address
    user, _, password = LOGIN["PREFECT_API_AUTH_STRING"].partition(":")
    client = cluster.store._client
    experiment = client.get_run(run_id).info.experiment_id

    def command(*arguments: str) -> Callable[[], None]:
        def execute() -> None:
            with started([*arguments, "--json"], home, cluster.laptop) as running:
                assert wait_until(lambda: running.exited, TIMEOUT_SECONDS)
                assert running.process.returncode == 0, running.output()

        return execute

    with httpx.Client(base_url=f"http://{server}:4300", auth=(user, password), timeout=60) as gallery:

        def page(path: str) -> Callable[[], None]:
            return lambda: gallery.get(path).raise_for_status() and None

        yield {
            "`ramreel status`": command("status"),
            "`ramreel games`": command("games"),
            "`ramreel games pong`": command("games", "pong"),
            "`ramreel record`, nothing to record": command("record", run_id),
            "`ramreel export`": command("export", "latest", "--to", str(home / "policy.zip")),
            "gallery": page("/"),
            "gallery, page of a game": page(f"/games/{GAME}"),
            "list of 100 runs in MLflow": lambda: client.search_runs([experiment], max_results=100),
            "checkpoints of a run": lambda: cluster.store.list_checkpoints(run_id),
            "history of a metric": lambda: cluster.store.history(run_id, "rollout/ep_rew_mean"),
        }


def test_commands_over_thousands_of_runs(cluster: Cluster, tmp_path: Path) -> None:
    run_id = finished(cluster, "train", TEMPLATE)
    finished(cluster, "follow-up", {"run": run_id})
    assert len(cluster.store.complete_videos(run_id)) == CHECKPOINTS
    taken = {experiment.name for experiment in cluster.store._client.search_experiments()}
    games = [one for one in environment_ids() if one.startswith("ALE/") and one not in taken | {OTHER_GAME}]
    with waits(cluster, run_id, tmp_path) as asked:
        before = {name: fastest(ask, 2) for name, ask in asked.items()}
        engine = sqlalchemy.create_engine(cluster.database("mlflow"))
        start = time.monotonic()
        with engine.begin() as connection:
            rows = copy_runs(connection, GAME, games, RUNS)
            size = connection.scalar(sqlalchemy.text("SELECT pg_database_size(current_database()) / 1000000"))
        cluster.table.append((
            f"load: {RUNS:,} training runs and their comparisons, {rows['logged_models']:,} checkpoints, "
            f"{rows['metrics']:,} metric rows",
            f"the database has {size:,} MB",
            time.monotonic() - start,
        ))  # fmt: skip
        engine.dispose()
        for name, ask in asked.items():
            cluster.table.append((f"load: {name}", f"with one run: {before[name]:.1f} s", fastest(ask, 2)))
    assert rows["runs"] == 2 * RUNS
    assert rows["logged_models"] == CHECKPOINTS * RUNS
    assert rows["metrics"] >= 2_000_000


def test_forty_child_runs(cluster: Cluster) -> None:
    parent = cluster.run("pipeline", PIPELINE)
    with cluster.timed(
        f"load: {2 * SEEDS} child runs over 3 machines", f"{SEEDS} runs trained, recorded and compared, each once"
    ):
        assert eventually(lambda: cluster.state(parent) in ENDED)
    assert cluster.state(parent) == "Completed"
    children = [child for deployment in ("train", "record") for child in cluster.children(deployment, parent)]
    assert len(children) == 2 * SEEDS
    assert {(child.state_name, child.run_count) for child in children} == {("Completed", 1)}
    assert len({cluster.box_of(child.id).name for child in children}) == 3
    trained = cluster.store.runs_tagged("ramreel.root_flow_run_id", str(parent))
    runs = [run for run in cluster.store.iter_runs(trained) if run.kind == "training"]
    assert {run.settings.seed for run in runs if run.settings} == set(range(SEEDS))
    assert len(runs) == SEEDS
