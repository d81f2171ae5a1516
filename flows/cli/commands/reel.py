"""`ramreel reel`: a run's learning in one video."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Deterministic, Json, Quiet, TrackingUri
from flows.cli.session import checking, embedded_store, prepare_prefect, running


def reel(
    runs: Annotated[list[str], typer.Argument(metavar="RUN [RUN]", help="A run, or two of one game side by side.")],
    seconds: Annotated[float, typer.Option(help="Of each checkpoint's episode that are shown, at most.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of the episode that every checkpoint plays.")] = 0,
    deterministic: Deterministic = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Video a run's learning: its checkpoints play the same start, one after the other and side by side."""
    from tasks.arcade.drawing.mp4_encoder import find_ffmpeg
    from tasks.arcade.inputs.forms import ReelSettings
    from tasks.runs.reel_cast import find_cast

    store = embedded_store(tracking_uri)
    with checking():
        settings = ReelSettings(runs=tuple(runs), seed=seed, deterministic=deterministic, seconds=seconds)
        found = find_cast(store, settings.runs)
        settings = settings.model_copy(update={"runs": tuple(side.run_id for side in found.sides)})
        find_ffmpeg()
    prepare_prefect()
    with running("flows.reel", as_json, quiet) as terminal:
        from flows.reel import reel as flow

        made = flow(settings)
        lines = [
            *(f"step {one.step:>11,}  return {one.episode_return:>8,}  {one.trace}" for one in made.checkpoints),
            made.said,
            *(f"{store.artifact_uri(made.run_id, part.path)}  {part.bytes:,} bytes" for part in made.parts.values()),
        ]
        values = {
            "run_id": made.run_id,
            "runs": made.runs,
            "reel": made.parts["reel.mp4"].path,
            "grid": made.parts["grid.mp4"].path,
            "animation": made.parts["reel.webp"].path,
            "checkpoints": [one.model_dump() | {"return": one.episode_return} for one in made.checkpoints],
            "left_out": made.left_out,
        }
        terminal.results(lines, values)
