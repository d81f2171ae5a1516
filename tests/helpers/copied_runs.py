"""Runs of one experiment, written again for many games: in MLflow's PostgreSQL database, by SQL alone.

The copies have ids of their own. They share the artifacts of the runs that they are copies of, whose settings therefore
name another game than their tags do.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy
from sqlalchemy import Connection

from helpers.copied_days import ID

_EXPERIMENT = "experiment_id = :experiment"
_RUN = "run_uuid IN (SELECT run_uuid FROM runs WHERE experiment_id = :experiment)"
_MODEL = "name = :model"
_GAME = {
    "experiments": _EXPERIMENT,
    "experiment_tags": _EXPERIMENT,
    "registered_models": _MODEL,
    "registered_model_tags": _MODEL,
    "registered_model_aliases": _MODEL,
}
"""Table → its rows that are copied once for each game, in the order of their foreign keys."""
_RUNS = {
    "runs": _EXPERIMENT,
    "tags": _RUN,
    "params": _RUN,
    "latest_metrics": _RUN,
    "metrics": _RUN,
    "logged_models": _EXPERIMENT,
    "logged_model_tags": _EXPERIMENT,
    "logged_model_params": _EXPERIMENT,
    "logged_model_metrics": _EXPERIMENT,
    "inputs": _RUN.replace("run_uuid IN", "source_id IN"),
    "model_versions": _MODEL,
    "model_version_tags": _MODEL,
}
"""Likewise for each copy."""
_IDS = ("run_uuid", "run_id", "source_run_id", "source_id", "input_uuid")
_MODELS = ("model_id", "destination_id")
_TIMES = ("start_time", "end_time")
_TEXTS = ("name", "value", "source", "description", "tag_value")


def copy_runs(connection: Connection, env_id: str, games: Sequence[str], copies: int) -> dict[str, int]:
    """Copy all runs of an experiment, its checkpoints and its champion, each copy a minute older than the one before.

    Args:
        connection: connection whose search path is MLflow's schema.
        env_id: name of the experiment, an environment id.
        games: environment ids of the copies, in turn; none of them has an experiment yet.
        copies: number of copies.

    Returns:
        Rows that were written, by table.
    """
    model = env_id.replace("/", "-")
    query = sqlalchemy.text("SELECT experiment_id FROM experiments WHERE name = :name")
    values = {"experiment": connection.scalar(query, {"name": env_id}), "model": model}
    found = connection.execute(sqlalchemy.text(f"SELECT value FROM tags WHERE {_RUN}"), values).scalars().all()  # noqa: S608
    models = connection.execute(
        sqlalchemy.text(f"SELECT run_uuid FROM runs WHERE {_EXPERIMENT} "  # noqa: S608
                        f"UNION SELECT substr(model_id, 3) FROM logged_models WHERE {_EXPERIMENT}"), values,
    ).scalars().all()  # fmt: skip
    ids = sorted({one for text in found for one in ID.findall(text)} | set(models))
    _number_copies(connection, games, copies)
    written = {}
    for tables, first in ((_GAME, len(games)), (_RUNS, copies)):
        for table, where in tables.items():
            columns = _columns(connection, table)
            cells = ", ".join(_cell(name, kind, ids, (env_id, model)) for name, kind in columns.items())
            statement = (
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {cells} FROM {table} original, copies "  # noqa: S608
                f"WHERE n <= {first} AND {where}"
            )
            written[table] = connection.execute(sqlalchemy.text(statement), values).rowcount
    # What MLflow creates next continues to count.
    count = "setval(pg_get_serial_sequence('experiments', 'experiment_id'), max(experiment_id))"
    connection.execute(sqlalchemy.text(f"SELECT {count} FROM experiments"))  # noqa: S608
    connection.execute(sqlalchemy.text("DROP TABLE copies"))
    connection.execute(sqlalchemy.text("ANALYZE"))
    return written


def _number_copies(connection: Connection, games: Sequence[str], copies: int) -> None:
    """Create a table of the copies: number, game, experiment, and number of earlier copies of the game."""
    connection.execute(
        sqlalchemy.text(
            "CREATE TEMPORARY TABLE copies AS SELECT n, game, base + at AS experiment, (n - 1) / :total AS earlier "
            "FROM generate_series(1, :copies) n "
            "JOIN unnest(CAST(:games AS text[])) WITH ORDINALITY game(game, at) ON at = (n - 1) % :total + 1, "
            "(SELECT max(experiment_id) AS base FROM experiments) experiments"
        ),
        {"copies": copies, "games": list(games), "total": len(games)},
    )


def _columns(connection: Connection, table: str) -> dict[str, str]:
    query = (
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = :table ORDER BY ordinal_position"
    )
    return {row.column_name: row.data_type for row in connection.execute(sqlalchemy.text(query), {"table": table})}


def _cell(column: str, kind: str, ids: Sequence[str], names: tuple[str, str]) -> str:
    """Return the expression of a column of a copy."""
    cell = f"original.{column}"
    if column == "experiment_id":
        return "experiment"
    if column == "version" and kind == "integer":
        return f"{cell} + earlier"
    if column in _IDS:
        return f"md5({cell} || n)"
    if column in _MODELS:
        return f"'m-' || md5(substr({cell}, 3) || n)"
    if column in _TIMES:
        return f"{cell} - 60000 * n"
    if column in _TEXTS and kind in ("text", "character varying"):
        env_id, model = names
        cell = f"replace(replace({cell}, '{env_id}', game), '{model}', replace(game, '/', '-'))"
        for one in ids:
            made = f"md5('{one}' || n)"
            cell = f"replace({cell}, '{one}', {f'CAST(CAST({made} AS uuid) AS text)' if '-' in one else made})"
    return cell
