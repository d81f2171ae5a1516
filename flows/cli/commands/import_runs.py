"""`ramreel import`."""

from __future__ import annotations

from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import InvalidInputError, announce, open_checked_store, open_terminal, validated, validating
from tasks.arcade.inputs.commands import ImportSettings


@options_of(ImportSettings)
def import_runs(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Import training runs of Stable-Baselines3, rl-baselines3-zoo or CleanRL; each path becomes a run."""
    settings = validated(ImportSettings, given)
    announce(f"import {len(settings.paths)} run{'s' * (len(settings.paths) > 1)} of {settings.env_id}")
    from tasks.arcade.emulator.environment_ids import resolve
    from tasks.runs.import_runs import load_import, store_import

    if settings.name is not None and len(settings.paths) > 1:
        raise InvalidInputError(f"--name names a single run, not {len(settings.paths)}: leave it out")
    store = open_checked_store(tracking_uri)
    with validating():
        game = resolve(settings.env_id)
        loaded = [
            load_import(
                *(path, game, settings.approach, settings.seed + number),
                trust=settings.trust,
                frame_skip=settings.frame_skip,
            )
            for number, path in enumerate(settings.paths)
        ]
    with open_terminal(as_json) as terminal:
        runs, lines = [], []
        for one in loaded:
            name = settings.name or f"{settings.approach} seed {one.run.seed}"
            run_id = store_import(store, one, name, settings.experiment)
            reason = one.model.reason if one.model else ""
            playable = one.model is not None and not reason
            runs.append(
                {
                    "run_id": run_id,
                    "run_name": name,
                    "steps": one.run.steps,
                    "frame_skip": one.run.game.frame_skip,
                    "playable": playable,
                    "reason": reason or None,
                    "notes": one.run.notes,
                }
            )
            lines.append(f"imported {name} ({run_id}): {one.run.origin}")
            lines += [f"note: {note}" for note in one.run.notes]
            if reason:
                lines.append(f"its policy cannot be played, only its settings and results are kept: {reason}")
            elif playable:
                lines.append(f"to evaluate and record it: ramreel record {run_id[:8]}")
        terminal.results(lines, {"runs": runs})
