"""`ramreel benchmark`, `benchmark video` and `benchmark learning`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Episodes, Json, Quiet, Steps, TrackingUri, Workers, listed, numbers
from flows.cli.session import BadInputError, checking, embedded_store, prepare_prefect, running, shown


def benchmark(
    context: typer.Context,
    env_id: Annotated[str, typer.Option("--env", help="Environment id.")] = "ALE/Pong-v5",
    approach: Annotated[
        str, typer.Option(help="Whose network and hyper-parameters; both learn by them.")
    ] = "ppo-tuned",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians of them are printed.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Environment steps of each contender in each round.")] = 32_768,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure speed: ramreel, Stable-Baselines3 and the emulator alone, side by side."""
    if context.invoked_subcommand:
        return
    from tasks.arcade.benchmarks.training_speed import SpeedSettings, measure
    from tasks.arcade.emulator.emulator import resolve
    from tasks.arcade.rollouts.worker_pool import cores
    from tasks.arcade.settings.approaches import approach as named

    with checking():
        settings = SpeedSettings(
            game=resolve(env_id),
            approach=named(approach),
            workers=cores() if workers is None else workers,
            rounds=rounds,
            steps=steps,
        )
    with shown(as_json, quiet) as terminal:
        speed = measure(settings, terminal.said)
        terminal.table(
            [f"{env_id}, {approach}", "steps/s (median)", "lowest", "highest"],
            [
                [name, f"{speed.medians[name]:,.0f}", f"{min(values):,.0f}", f"{max(values):,.0f}"]
                for name, values in speed.rounds.items()
            ],
            [
                f"{speed.vs_sb3:.2f} times the faster SB3 with the same hyper-parameters, {speed.vs_shipped:.2f} times "
                f"SB3 as shipped, {speed.of_ceiling:.2f} of the emulator alone",
                f"{speed.share_playing:.0%} of ramreel's time are rollouts, which come at "
                f"{speed.while_playing:.2f} of the emulator's speed; the rest is learning",
            ],
            {
                "vs_sb3": speed.vs_sb3,
                "vs_shipped": speed.vs_shipped,
                "of_ceiling": speed.of_ceiling,
                "playing": speed.share_playing,
                "while_playing": speed.while_playing,
                "medians": speed.medians,
                "rounds": speed.rounds,
            },
        )


def benchmark_video(
    env_id: Annotated[str, typer.Option("--env", help="Environment id.")] = "ALE/Boxing-v5",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians of them are printed.")] = 5,
    frames: Annotated[int, typer.Option(help="Frames of one episode, recorded by each contender.")] = 5_000,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure videos: ramreel, Gymnasium's RecordVideo, the emulator and the encoder alone, on the same frames."""
    import tempfile
    from pathlib import Path

    from tasks.arcade.benchmarks.video_speed import NoMoviepyError, VideoSpeedSettings, measure
    from tasks.arcade.emulator.emulator import resolve

    with checking():
        settings = VideoSpeedSettings(game=resolve(env_id), frames=frames, rounds=rounds)
    with shown(as_json, quiet) as terminal, tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        try:
            speed = measure(settings, Path(folder), terminal.said)
        except (NoMoviepyError, ValueError) as error:
            raise BadInputError(str(error)) from None
        versus, ceilings = speed.vs_record_video, speed.of_ceilings
        terminal.table(
            [f"{env_id}, {frames:,} frames", "frames/s (median)", "lowest", "highest"],
            [
                [name, f"{speed.medians[name]:,.0f}", f"{min(values):,.0f}", f"{max(values):,.0f}"]
                for name, values in speed.rounds.items()
            ],
            [f"{name}: {times:.2f} times RecordVideo" for name, times in versus.items()]
            + [
                f"{name}: {of_emulator:.2f} of the emulator with drawing alone, {of_encoder:.2f} of x264 alone"
                for name, (of_emulator, of_encoder) in ceilings.items()
            ],
            {"vs_record_video": versus, "of_ceilings": ceilings, "medians": speed.medians, "rounds": speed.rounds},
        )


GAMES = "Pong,Breakout,Boxing,Freeway,SpaceInvaders,Seaquest,MsPacman,Qbert"


def benchmark_learning(
    envs: Annotated[str, typer.Option(help="Environment ids, or games' names, with commas between.")] = GAMES,
    approaches: Annotated[str, typer.Option(help="Approaches, with commas between.")] = "ppo-tuned,ppo,random",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "1,2,3",
    steps: Steps = 2_000_000,
    episodes: Episodes = 30,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure learning: approaches over games and seeds, beside published figures; goes on where it was stopped."""
    from tasks.arcade.inputs.forms import LearningSettings, TrainSettings
    from tasks.arcade.inputs.resolve import run_settings
    from tasks.arcade.report.learning_table import learning_table

    with checking():
        settings = LearningSettings(
            env_ids=tuple(name if "-v" in name else f"ALE/{name}-v5" for name in listed(envs)),
            approaches=listed(approaches),
            seeds=numbers("seeds", seeds),
            steps=steps,
            episodes=episodes,
        )
        for env_id in settings.env_ids:
            for approach in settings.approaches:
                for seed in settings.seeds:
                    run_settings(TrainSettings(env_id=env_id, approach=approach, seed=seed))
    embedded_store(tracking_uri)
    prepare_prefect()
    with running("flows.learning_benchmark", as_json, quiet) as terminal:
        from flows.learning_benchmark import learning as flow

        scores = flow(settings)
        terminal.table(*learning_table(scores), [], {"runs": [score.model_dump() for score in scores]})
