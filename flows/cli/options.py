"""What the commands share: their options, how input is checked, how the services are found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.session import BadInputError, checking

if TYPE_CHECKING:
    from tasks.arcade.settings.evaluation import EvaluationSettings

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
Checkpoint = Annotated[int | None, typer.Option(help="Step of the checkpoint; default: the last one.")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="The likeliest actions instead of sampled ones.")]


def evaluation(episodes: int, seed: int, deterministic: bool) -> EvaluationSettings:
    from tasks.arcade.settings.evaluation import EvaluationSettings

    return EvaluationSettings(episodes=episodes, seed=seed, deterministic=deterministic)


def writable(path: Path, what: str) -> Path:
    """A path at which a file can be made."""
    with checking():
        possible = path.parent.is_dir() and not path.is_dir()
    if not possible:
        raise BadInputError(f"{path} cannot be {what}: name a file in a folder that is there")
    return path


def numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadInputError(f"--{option} takes whole numbers with commas between, like 1,2,3: got {text!r}") from None


def listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
