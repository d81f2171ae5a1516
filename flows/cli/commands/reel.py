"""`ramreel reel`."""

from __future__ import annotations

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import announce, configure_prefect, flow_session, open_checked_store, validated, validating
from tasks.arcade.inputs.forms import ReelSettings


@options_of(ReelSettings)
def reel(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Record a run's learning progress: its checkpoints play the same seeded episode, in sequence and side by side."""
    settings = validated(ReelSettings, given)
    announce(f"reel of {settings.title}", quiet=quiet)
    from tasks.arcade.drawing.ffmpeg import find_ffmpeg
    from tasks.runs.reel_selection import select_checkpoints

    store = open_checked_store(tracking_uri)
    with validating():
        selection = select_checkpoints(store, tuple(map(store.resolve_run, settings.runs)))
        find_ffmpeg()
    settings = settings.model_copy(update={"runs": tuple(side.run_id for side in selection.sides)})
    configure_prefect()
    with flow_session("flows.reel", as_json, quiet) as terminal:
        from flows.reel import reel as flow

        result = flow(settings)
        lines = [
            *(f"step {one.step:>11,}  return {one.episode_return:>8,}  {one.trace}" for one in result.checkpoints),
            result.summary,
            *(
                f"{store.artifact_uri(result.run_id, part.path)}  {part.bytes:,} bytes"
                for part in result.parts.values()
            ),
        ]
        values = {
            "run_id": result.run_id,
            "runs": result.runs,
            "reel": result.parts["reel.mp4"].path,
            "grid": result.parts["grid.mp4"].path,
            "animation": result.parts["reel.webp"].path,
            "checkpoints": [one.model_dump() | {"return": one.episode_return} for one in result.checkpoints],
            "left_out": result.left_out,
        }
        terminal.results(lines, values)
