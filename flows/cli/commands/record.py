"""`ramreel record`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import (
    announce,
    configure_prefect,
    flow_session,
    open_checked_store,
    open_terminal,
    validated,
    validating,
)
from tasks.arcade.inputs.forms import RecordSettings
from tasks.arcade.plural_forms import pluralize

if TYPE_CHECKING:
    from flows.record import RecordedRun
    from tasks.runs.recorded import RecordedCheckpoint
    from tasks.store import StoredRun


@options_of(RecordSettings)
def record(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> int:
    """Evaluate a run's checkpoints, and record the episode with the median return as a video with its trace."""
    settings = validated(RecordSettings, given)
    announce(f"record {settings.title}", quiet=quiet)
    from tasks.arcade.drawing.ffmpeg import find_ffmpeg
    from tasks.arcade.emulator.environment_ids import rom_path
    from tasks.runs.lookup import evaluation_of
    from tasks.runs.pixels import request_pixels
    from tasks.runs.recorded import recorded_checkpoints, unrecorded

    store = open_checked_store(tracking_uri)
    with validating():
        run_id = store.resolve_run(settings.run)
        run = store.run(run_id)
        evaluation = evaluation_of(run, settings.evaluation)
        settings = settings.model_copy(update={"run": run_id, "evaluation": evaluation})
        method = settings.method if settings.from_pixels else None
        if method is not None:
            decoder = store.resolve_run(settings.decoder) if settings.decoder else None
            request_pixels(store, run_id, method, decoder)
            settings = settings.model_copy(update={"decoder": decoder})
        missing = unrecorded(store, run_id, settings.steps, settings.again, settings.last, method)
        if run.settings:
            rom_path(run.settings.game.rom)
        find_ffmpeg()
    if not missing:
        with open_terminal(as_json, quiet) as terminal:
            videos = recorded_checkpoints(store, run_id, method)
            terminal.results(_lines(run_id, videos, 0), _values(run_id, videos, {}))
        return 0
    configure_prefect()
    with flow_session("flows.record", as_json, quiet) as terminal:
        from flows.record import RecordError
        from flows.record import record as flow

        try:
            recorded = flow(settings)
        except RecordError as error:
            terminal.error(str(error), _values(error.run_id, error.videos, error.failed))
            return 1
        lines = [
            *_lines(run_id, recorded.videos, len(recorded.made)),
            *_hints(recorded, store.run(run_id), panel=settings.video.panel),
        ]
        terminal.results(lines, _values(run_id, recorded.videos, {}))
    return 0


def _lines(run_id: str, videos: Sequence[RecordedCheckpoint], made: int) -> list[str]:
    from tasks.arcade.scores.pixels_returns import describe_returns

    again = "" if made else " (--again replaces them)"
    return [
        *(
            f"step {video.step:>11,}  mean return {video.mean_return:8.2f} of {pluralize(video.episodes, 'episode')}"
            f" ({video.distinct_episodes} distinct)  {video.path}"
            for video in videos
        ),
        *(f"step {video.step:,}: {line}" for video in videos for line in describe_returns(video.returns)),
        f"videos recorded: {made}; in run {run_id}: {len(videos)}{again}",
    ]


def _hints(recorded: RecordedRun, run: StoredRun, *, panel: bool) -> list[str]:
    if not (recorded.made and panel and run.settings) or recorded.outlined:
        return []
    if run.settings.approach.features.uses_pixels:
        return []
    atlas = f"`ramreel atlas {run.settings.game.env_id}`"
    return [f"after {atlas}, new videos outline the parts of the screen that the policy's decisions depend on"]


def _values(run_id: str, videos: Sequence[RecordedCheckpoint], failed: Mapping[int, str]) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "videos": [video.model_dump() | {"return": video.episode_return} for video in videos],
        "failed": [{"step": step, "error": reason} for step, reason in failed.items()],
    }
