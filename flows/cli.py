"""The command line: a thin layer over the flows.

Exit codes: 0 done; 1 failed under way; 2 bad input, nothing done; 130 Ctrl-C.
Everything heavy is imported by the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from flows.terminal import Terminal

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from flows.train import TrainedRun
    from tasks.arcade.settings import EvaluationSettings
    from tasks.compare import ComparedRuns
    from tasks.store import Store

app = typer.Typer(
    name="ramreel",
    help="Train an agent on the 128 bytes of an Atari's RAM; watch it on the screen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

benchmarks = typer.Typer(help="Measure speed: ramreel, Stable-Baselines3 and the emulator alone, side by side.")
app.add_typer(benchmarks, name="benchmark")

INTERRUPTED = 130
ENV_HELP = "Environment id, e.g. ALE/Pong-v5; old ones like Pong-ram-v0 are understood."
Env = Annotated[str, typer.Argument(help=ENV_HELP)]
Run = Annotated[str, typer.Argument(help="MLflow run id, a beginning of it, a run name, or latest.")]
Steps = Annotated[int, typer.Option(help="Environment steps of training.")]
Every = Annotated[int, typer.Option(help="Steps between checkpoints.")]
NEnvs = Annotated[int | None, typer.Option(help="Environments side by side; default: the approach's own.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes; default: one a core.")]
Name = Annotated[str | None, typer.Option(help="The run's name in MLflow.")]
Experiment = Annotated[str | None, typer.Option(help="MLflow experiment; default: the environment id.")]
TrackingUri = Annotated[str | None, typer.Option(help="MLflow tracking address; default: MLFLOW_TRACKING_URI.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Episodes = Annotated[int, typer.Option(help="Evaluation episodes of each checkpoint.")]
EvalSeed = Annotated[int, typer.Option("--seed", help="Seed of the evaluation episodes.")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="The likeliest actions instead of sampled ones.")]


class BadInputError(ValueError):
    """The command cannot be done as it was given; nothing was done."""


@contextmanager
def _checking() -> Iterator[None]:
    """What fails in here is bad input: nothing has been done yet."""
    from tasks.arcade.approaches import UnknownApproachError
    from tasks.arcade.checkpoint import CheckpointError
    from tasks.arcade.episode import TraceError
    from tasks.arcade.game import UnknownGameError
    from tasks.store import StoreError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInputError(f"{where.replace('_', '-')}: {_words(first)}") from None
    except (UnknownApproachError, UnknownGameError, StoreError, CheckpointError, TraceError) as error:
        raise BadInputError(str(error)) from None


def _words(error: ErrorDetails) -> str:
    """A validation error in words; what was given is shown where it is short."""
    message = error["msg"].removeprefix("Value error, ")
    given = repr(error["input"])
    return message if len(given) > 60 else f"{message}, got {given}"


def _store(tracking_uri: str | None) -> Store:
    """The store, found to be usable; what runs later finds the same one, and Prefect its database beside it."""
    from tasks.store import open_store

    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    with _checking():
        return open_store()


def _prepare_prefect() -> None:
    """Prefect's own settings, where the user has not made any."""
    from tasks.store import find_home

    home = find_home() / "mlruns"
    home.mkdir(parents=True, exist_ok=True)
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # A failed flow is told in one line; its traceback is in Prefect's log of the flow run.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    for key, value in defaults.items():
        os.environ.setdefault(key, value)


@contextmanager
def _shown(as_json: bool, quiet: bool = False) -> Iterator[Terminal]:
    """The terminal, which also hears what the flows tell."""
    from tasks.audience import before

    with Terminal(as_json=as_json, quiet=quiet) as terminal, before(terminal):
        yield terminal


@app.command()
def train(
    env_id: Annotated[str | None, typer.Argument(help=ENV_HELP)] = None,
    approach: Annotated[str | None, typer.Option(help="A named way to train; default: ppo-tuned.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run; default: 0.")] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps in all; default: 1,000,000.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints; default: 100,000.")] = None,
    n_envs: NEnvs = None,
    workers: Workers = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run, from its last checkpoint.")
    ] = None,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train an approach on a game's RAM, with checkpoints in MLflow; or go on with a training, to the bit."""
    asked = {
        "env_id": env_id,
        "approach": approach,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
        "n_envs": n_envs,
        "name": name,
        "experiment": experiment,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    shared = {key: value for key, value in (("steps", steps), ("workers", workers)) if value is not None}
    if resume is not None:
        _resume(resume, given, shared, tracking_uri, as_json=as_json, quiet=quiet)
        return
    from tasks.arcade.approaches import run_settings
    from tasks.arcade.settings import TrainSettings

    if env_id is None:
        raise BadInputError("give an environment id, e.g. ALE/Pong-v5, or --resume RUN")
    with _checking():
        settings = TrainSettings.model_validate(given | shared)
        run_settings(settings)
    _store(tracking_uri)
    _prepare_prefect()
    from flows.train import train as flow

    with _shown(as_json, quiet) as terminal:
        _trained(terminal, flow(settings))


def _resume(
    run: str, given: dict[str, Any], shared: dict[str, Any], tracking_uri: str | None, *, as_json: bool, quiet: bool
) -> None:
    from tasks.arcade.settings import ResumeSettings
    from tasks.runs import resumable

    if given:
        names = ", ".join(name.replace("_", "-") for name in given)
        raise BadInputError(f"--resume goes on with the run's own settings: leave out {names}")
    store = _store(tracking_uri)
    with _checking():
        run_id = store.resolve_run(run)
        settings = ResumeSettings(run=run_id, **shared)
        resumable(store, run_id)
    _prepare_prefect()
    from flows.train import resume as flow

    with _shown(as_json, quiet) as terminal:
        _trained(terminal, flow(settings))


def _trained(terminal: Terminal, trained: TrainedRun) -> None:
    mean = "no episode has ended" if trained.mean_return is None else f"mean return {trained.mean_return:.1f}"
    terminal.results(
        [
            f"trained {trained.run_name} ({trained.run_id}): {trained.steps:,} steps, {mean}",
            f"checkpoints: {len(trained.checkpoints)}; film them: ramreel record {trained.run_id[:8]}",
        ],
        trained.model_dump()
        | {
            "checkpoints": [saved.step for saved in trained.checkpoints],
            "checkpoint_digest": trained.checkpoints[-1].digest,
        },
    )


@app.command()
def record(
    run: Run,
    episodes: Episodes = 10,
    seed: EvalSeed = 0,
    deterministic: Deterministic = False,
    checkpoint: Annotated[list[int] | None, typer.Option(help="Only the checkpoint at this step; repeatable.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make films and figures again that exist already.")] = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Film a run's checkpoints: the episode whose return is the median, with its trace."""
    from tasks.arcade.settings import RecordSettings

    store = _store(tracking_uri)
    with _checking():
        run_id = store.resolve_run(run)
        settings = RecordSettings(
            run=run_id,
            evaluation=_evaluation(episodes, seed, deterministic),
            again=again,
            steps=tuple(checkpoint) if checkpoint else None,
        )
        store.checkpoints_at(run_id, settings.steps)
    _prepare_prefect()
    from flows.record import RecordError
    from flows.record import record as flow

    with _shown(as_json, quiet) as terminal:
        try:
            recorded = flow(settings)
        except RecordError as error:
            terminal.error(str(error), _films(error.run_id, error.films, error.failed))
            raise typer.Exit(1) from None
        lines = [
            f"step {film.step:>11,}  mean return {film.mean_return:8.2f} of {film.episodes} episodes"
            f" ({film.distinct_episodes} distinct)  {film.path}"
            for film in recorded.films
        ]
        made = f"films made: {len(recorded.made)}; in run {run_id}: {len(recorded.films)}"
        terminal.results([*lines, made], _films(run_id, recorded.films, {}))


def _evaluation(episodes: int, seed: int, deterministic: bool) -> EvaluationSettings:
    from tasks.arcade.settings import EvaluationSettings

    return EvaluationSettings(episodes=episodes, seed=seed, deterministic=deterministic)


def _films(run_id: str, films: tuple[Any, ...], failed: dict[int, str]) -> dict[str, Any]:
    listed = [film.model_dump() | {"return": film.episode_return} for film in films]
    return {"run_id": run_id, "films": listed, "failed": [{"step": step, "error": why} for step, why in failed.items()]}


@app.command()
def verify(
    what: Annotated[str, typer.Argument(metavar="RUN|TRACE", help="A run whose films are checked, or a trace's file.")],
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prove films: play their traces again, in the emulator as training and as filming build it, and compare RAM."""
    from tasks.verify import verify_run, verify_trace

    with _checking():
        if what.endswith(".json") or Path(what).is_file():
            checked = [verify_trace(Path(what))]
        else:
            store = _store(tracking_uri)
            run_id = store.resolve_run(what)
            checked = []
    with _shown(as_json, quiet) as terminal:
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
                "films": [proof.model_dump() for proof in checked],
            },
        )
    if wrong:
        raise typer.Exit(1)


@app.command()
def watch(
    run: Run,
    checkpoint: Annotated[int | None, typer.Option(help="Step of the checkpoint; default: the last one.")] = None,
    seed: EvalSeed = 0,
    deterministic: Deterministic = False,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Watch a checkpoint play in a window: the picture's environment feeds the policy that was trained on RAM."""
    from tasks.arcade.watch import NoScreenError
    from tasks.arcade.watch import watch as play
    from tasks.runs import fetch

    store = _store(tracking_uri)
    with _checking():
        run_id = store.resolve_run(run)
        stored = store.checkpoints_at(run_id, (checkpoint,) if checkpoint is not None else None)[-1]
        loaded = fetch(store, stored)
    with _shown(as_json) as terminal:
        try:
            episode_return = play(
                loaded.agent(), loaded.settings.game, seed, action_seed=seed, deterministic=deterministic
            )
        except NoScreenError as error:
            raise BadInputError(str(error)) from None
        terminal.results(
            [f"return {episode_return:g}, checkpoint at step {stored.step:,}"],
            {"run_id": run_id, "step": stored.step, "return": episode_return},
        )


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs of one game.")],
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs by approach, across seeds: a report with curves and films, in a run of its own."""
    from tasks.arcade.settings import CompareSettings
    from tasks.runs import comparable

    store = _store(tracking_uri)
    with _checking():
        settings = CompareSettings(runs=comparable(store, tuple(runs)), name=name, experiment=experiment)
    _prepare_prefect()
    from flows.compare import compare as flow

    with _shown(as_json, quiet) as terminal:
        compared = flow(settings)
        terminal.results(_comparison(store, compared), compared.model_dump())


def _comparison(store: Store, compared: ComparedRuns) -> list[str]:
    films = [f"films:  {store.artifact_uri(run_id, 'films')}" for run_id in compared.runs]
    report = f"report: {store.artifact_uri(compared.run_id, compared.report)}"
    return [compared.verdict, *films, report, "`ramreel up` shows them in the browser"]


@app.command()
def pipeline(
    env_id: Env,
    approaches: Annotated[str, typer.Option(help="Approaches, with commas between.")] = "ppo-tuned,ppo",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0",
    steps: Steps = 1_000_000,
    checkpoint_every: Every = 100_000,
    episodes: Episodes = 10,
    n_envs: NEnvs = None,
    workers: Workers = None,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train approaches with several seeds, film every checkpoint, compare: all in one flow."""
    from tasks.arcade.approaches import run_settings
    from tasks.arcade.settings import PipelineSettings, TrainSettings

    with _checking():
        settings = PipelineSettings(
            env_id=env_id,
            approaches=_words_of(approaches),
            seeds=_numbers("seeds", seeds),
            steps=steps,
            checkpoint_every=checkpoint_every,
            n_envs=n_envs,
            workers=workers,
            evaluation=_evaluation(episodes, 0, False),
            experiment=experiment,
            name=name,
        )
        for approach in settings.approaches:
            for seed in settings.seeds:
                run_settings(TrainSettings(env_id=env_id, approach=approach, seed=seed, n_envs=n_envs))
    store = _store(tracking_uri)
    _prepare_prefect()
    from flows.pipeline import pipeline as flow

    with _shown(as_json, quiet) as terminal:
        compared = flow(settings)
        terminal.results(_comparison(store, compared), compared.model_dump())


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadInputError(f"--{option} takes whole numbers with commas between, like 1,2,3: got {text!r}") from None


@app.command()
def games(
    pattern: Annotated[str, typer.Argument(help="Only ids that contain this.")] = "",
    as_json: Json = False,
) -> None:
    """List the environment ids that can be trained on."""
    from tasks.arcade.game import environment_ids, resolve

    found = [resolve(name) for name in environment_ids() if pattern.casefold() in name.casefold()]
    if not found:
        raise BadInputError(f"no environment id contains {pattern!r}: `ramreel games` lists them all")
    with _shown(as_json) as terminal:
        terminal.table(
            ["environment id", "frame skip", "sticky actions"],
            [[game.env_id, str(game.frame_skip), f"{game.repeat_action_probability:g}"] for game in found],
            [],
            {"games": [game.model_dump(mode="json") for game in found]},
        )


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's server and UI.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's server and UI.")] = 5000,
) -> None:
    """Show everything in the browser: Prefect's and MLflow's UI over the embedded store, until Ctrl-C."""
    store = _store(None)
    _prepare_prefect()
    from tasks.servers import PortTakenError, serve

    with _checking():
        store.server_command("127.0.0.1", mlflow_port)
    try:
        serve(store, prefect_port=prefect_port, mlflow_port=mlflow_port, say=lambda line: print(line, flush=True))
    except PortTakenError as error:
        raise BadInputError(str(error)) from None


@benchmarks.callback(invoke_without_command=True)
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
    from tasks.arcade.approaches import approach as named
    from tasks.arcade.benchmark import SpeedSettings, measure
    from tasks.arcade.game import resolve
    from tasks.arcade.workers import cores

    with _checking():
        settings = SpeedSettings(
            game=resolve(env_id), approach=named(approach), workers=workers or cores(), rounds=rounds, steps=steps
        )
    with _shown(as_json, quiet) as terminal:
        speed = measure(settings, terminal.said)
        terminal.table(
            [f"{env_id}, {approach}", "steps/s (median)", "lowest", "highest"],
            [
                [name, f"{speed.medians[name]:,.0f}", f"{min(values):,.0f}", f"{max(values):,.0f}"]
                for name, values in speed.rounds.items()
            ],
            [f"{speed.vs_sb3:.2f} times the faster SB3, {speed.of_ceiling:.2f} of the emulator alone"],
            {"vs_sb3": speed.vs_sb3, "of_ceiling": speed.of_ceiling, "medians": speed.medians, "rounds": speed.rounds},
        )


GAMES = "Pong,Breakout,Boxing,Freeway,SpaceInvaders,Seaquest,MsPacman,Qbert"


@benchmarks.command("learning")
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
    from tasks.arcade.approaches import run_settings
    from tasks.arcade.learning_table import learning_table
    from tasks.arcade.settings import LearningSettings, TrainSettings

    with _checking():
        settings = LearningSettings(
            env_ids=tuple(name if "-v" in name else f"ALE/{name}-v5" for name in _words_of(envs)),
            approaches=_words_of(approaches),
            seeds=_numbers("seeds", seeds),
            steps=steps,
            episodes=episodes,
        )
        for env_id in settings.env_ids:
            for approach in settings.approaches:
                run_settings(TrainSettings(env_id=env_id, approach=approach))
    _store(tracking_uri)
    _prepare_prefect()
    from flows.learning import learning as flow

    with _shown(as_json, quiet) as terminal:
        scores = flow(settings)
        terminal.table(*learning_table(scores), [], {"runs": [score.model_dump() for score in scores]})


def _words_of(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def main() -> None:
    """Console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code."""
    errors = Terminal(as_json="--json" in arguments, quiet=True)
    try:
        code = int(app(args=arguments, prog_name="ramreel", standalone_mode=False) or 0)
        # Typer makes an exit code of Ctrl-C by itself.
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code
    except BadInputError as error:
        errors.error(str(error))
        return 2
    except (typer.Abort, KeyboardInterrupt):
        errors.error("stopped by Ctrl-C; what was finished is kept")
        return INTERRUPTED
    except typer.TyperException as error:
        errors.error(f"{error.format_message().rstrip('.')}: `ramreel --help` lists commands and options")
        return 2
    except Exception as error:
        errors.error(_reason(error))
        return 1


def _reason(error: BaseException) -> str:
    """What went wrong first, where ramreel itself has named it: services that fail in its wake come later."""
    from tasks.arcade.workers import WorkerError
    from tasks.store import StoreError

    reason: BaseException = error
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, StoreError | WorkerError):
            reason = behind
        behind = behind.__context__
    return str(reason) or type(reason).__name__


if __name__ == "__main__":
    main()
