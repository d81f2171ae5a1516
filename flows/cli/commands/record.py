"""`ramreel record`, `verify` and `watch`: what a checkpoint does, seen and proved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.options import Checkpoint, Deterministic, EvalSeed, Json, Quiet, Run, TrackingUri, evaluation
from flows.cli.session import BadInputError, checking, embedded_store, prepare_prefect, running, shown


def record(
    run: Run,
    episodes: Annotated[
        int | None,
        typer.Option(help="Evaluation episodes of each checkpoint; default: as the pipeline said, else 10."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of the evaluation episodes; default: as the pipeline said, else 0."),
    ] = None,
    deterministic: Deterministic = False,
    panel: Annotated[
        bool,
        typer.Option("--panel/--plain", help="The game beside what the policy sees and decides, or alone."),
    ] = True,
    best: Annotated[bool, typer.Option("--best", help="Video the best episode instead of the median one.")] = False,
    worst: Annotated[bool, typer.Option("--worst", help="Video the worst episode.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Video every episode.")] = False,
    checkpoint: Annotated[list[int] | None, typer.Option(help="Only the checkpoint at this step; repeatable.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make videos and figures again that exist already.")] = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Video a run's checkpoints: the episode whose return is the median, with its trace."""
    from tasks.arcade.drawing.mp4_encoder import find_ffmpeg
    from tasks.arcade.inputs.forms import RecordSettings
    from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
    from tasks.runs.lookup import wanted_evaluation

    if best + worst + every > 1:
        raise BadInputError("--best, --worst and --all are one choice: give at most one of them")
    episode = next((name for name, asked in (("best", best), ("worst", worst), ("all", every)) if asked), "median")
    store = embedded_store(tracking_uri)
    with checking():
        run_id = store.resolve_run(run)
        asked = {"episodes": episodes, "seed": seed, "deterministic": deterministic or None}
        given = {key: value for key, value in asked.items() if value is not None}
        settings = RecordSettings(
            run=run_id,
            evaluation=EvaluationSettings(**{**wanted_evaluation(store.run(run_id)).model_dump(), **given}),
            video=VideoSettings(episode=episode, panel=panel),
            again=again,
            steps=tuple(checkpoint) if checkpoint else None,
        )
        store.checkpoints_at(run_id, settings.steps)
        find_ffmpeg()
    prepare_prefect()
    with running("flows.record", as_json, quiet) as terminal:
        from flows.record import RecordError
        from flows.record import record as flow

        try:
            recorded = flow(settings)
        except RecordError as error:
            terminal.error(str(error), _videos(error.run_id, error.videos, error.failed))
            raise typer.Exit(1) from None
        lines = [
            f"step {video.step:>11,}  mean return {video.mean_return:8.2f} of {video.episodes} episodes"
            f" ({video.distinct_episodes} distinct)  {video.path}"
            for video in recorded.videos
        ]
        made = f"videos made: {len(recorded.made)}; in run {run_id}: {len(recorded.videos)}"
        if not recorded.made:
            made += " (--again makes them again)"
        played, hints = store.run(run_id).settings, list[str]()
        on_ram = played is not None and played.approach.features.kind != "pixels"
        if recorded.made and panel and not recorded.outlined and played and on_ram:
            atlas = f"`ramreel atlas {played.game.env_id}`"
            hints = [f"after {atlas} new videos outline on the screen what decisions depend on"]
        terminal.results([*lines, made, *hints], _videos(run_id, recorded.videos, {}))


def _videos(run_id: str, videos: tuple[Any, ...], failed: dict[int, str]) -> dict[str, Any]:
    listed = [video.model_dump() | {"return": video.episode_return} for video in videos]
    return {
        "run_id": run_id,
        "videos": listed,
        "failed": [{"step": step, "error": why} for step, why in failed.items()],
    }


def verify(
    what: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="A run whose videos are checked, or the file of a video or a trace."),
    ],
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prove videos: play their traces again, compare RAM at every step and every picture with what is drawn."""
    from tasks.runs.verify import verify_file, verify_run

    with checking():
        if Path(what).is_file() or Path(what).suffix in (".json", ".mp4"):
            checked = [verify_file(Path(what))]
        else:
            store = embedded_store(tracking_uri)
            run_id = store.resolve_run(what)
            checked = []
    with shown(as_json, quiet) as terminal:
        if not checked:
            checked = verify_run(store, run_id)
        wrong = next((proof for proof in checked if not proof.ok), None)
        steps = sum(proof.steps_checked for proof in checked)
        terminal.results(
            [proof.line for proof in checked],
            {
                "ok": wrong is None,
                "steps_checked": steps,
                "first_difference": wrong.first_difference if wrong else None,
                "videos": [proof.model_dump() for proof in checked],
            },
        )
    if wrong:
        raise typer.Exit(1)


def watch(
    run: Run,
    checkpoint: Checkpoint = None,
    seed: EvalSeed = 0,
    deterministic: Deterministic = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Watch a checkpoint play in a window: the picture's environment feeds the policy that was trained on RAM."""
    from tasks.arcade.episodes.live_view import NoScreenError
    from tasks.arcade.episodes.live_view import watch as play
    from tasks.runs.lookup import fetch, find_checkpoint

    store = embedded_store(tracking_uri)
    with checking():
        asked = evaluation(1, seed, deterministic)
        stored = find_checkpoint(store, run, checkpoint)
        loaded = fetch(store, stored)
    with shown(as_json) as terminal:
        try:
            episode_return = play(
                loaded.agent(), loaded.settings.game, asked.seed, action_seed=seed, deterministic=asked.deterministic
            )
        except NoScreenError as error:
            raise BadInputError(str(error)) from None
        terminal.results(
            [f"return {episode_return:g}, checkpoint at step {stored.step:,}"],
            {"run_id": stored.run_id, "step": stored.step, "return": episode_return},
        )
