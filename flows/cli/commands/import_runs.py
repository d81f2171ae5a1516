"""`ramreel import`: runs from elsewhere join a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import ENV_HELP, Experiment, Json, Name, TrackingUri
from flows.cli.session import BadInputError, checking, embedded_store, shown


def imports(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="TensorBoard logs, monitor.csv, evaluations.npz, a folder of them, or a zip."
        ),
    ],
    env_id: Annotated[str, typer.Option("--env", help=ENV_HELP)],
    approach: Annotated[str, typer.Option(help="What they are called in comparisons.")] = "imported",
    seed: Annotated[int, typer.Option(help="Seed of the first one; the others count on from it.")] = 0,
    trust: Annotated[bool, typer.Option("--trust", help="Code that is in a zip may run.")] = False,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Take over runs of Stable-Baselines3, rl-baselines3-zoo or CleanRL, each path a run of its own."""
    from tasks.arcade.emulator.emulator import resolve
    from tasks.arcade.external_runs import ImportSettings
    from tasks.runs.import_runs import keep, look

    if name is not None and len(paths) > 1:
        raise BadInputError(f"--name is of one run, and these are {len(paths)}: leave it out")
    store = embedded_store(tracking_uri)
    with checking():
        asked = ImportSettings(env_id=env_id, approach=approach, seed=seed, name=name, experiment=experiment)
        game = resolve(asked.env_id)
        found = [look(path, game, approach, seed + number, trust=trust) for number, path in enumerate(paths)]
    with shown(as_json) as terminal:
        runs, words = [], []
        for one in found:
            called = name or f"{approach} seed {one.run.seed}"
            run_id = keep(store, one, called, experiment)
            reason = one.model.reason if one.model else ""
            playable = one.model is not None and not reason
            runs.append({"run_id": run_id, "run_name": called, "playable": playable, "reason": reason or None})
            words.append(f"imported {called} ({run_id}): {one.run.origin}")
            if reason:
                words.append(f"it cannot be played here, and only what is known of it is kept: {reason}")
            elif playable:
                words.append(f"video and judge it: ramreel record {run_id[:8]}")
        terminal.results(words, {"runs": runs})
