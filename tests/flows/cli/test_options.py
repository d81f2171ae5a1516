"""Options are the fields of the input models: complete help, one error message per field, completion."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from flows.cli.app import app, run
from flows.cli.options import HIDDEN, option_name
from tasks.arcade.inputs import commands, forms, unattended
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import EvaluationSettings

MODELS: dict[str, type[Settings]] = {
    "train": forms.TrainSettings,
    "pipeline": forms.PipelineSettings,
    "sweep": forms.SweepSettings,
    "import": commands.ImportSettings,
    "record": forms.RecordSettings,
    "reel": forms.ReelSettings,
    "render": commands.RenderSettings,
    "verify": commands.VerifySettings,
    "watch": commands.WatchSettings,
    "compare": forms.CompareSettings,
    "atlas": forms.AtlasSettings,
    "decode": forms.DecodeSettings,
    "follow": commands.FollowSettings,
    "export": commands.ExportSettings,
    "games": commands.GamesSettings,
    "benchmark": commands.TrainingBenchmarkSettings,
    "benchmark video": commands.VideoBenchmarkSettings,
    "benchmark pipeline": commands.PipelineBenchmarkSettings,
    "benchmark start": commands.StartBenchmarkSettings,
    "benchmark memory": commands.MemoryBenchmarkSettings,
    "benchmark live": commands.LiveBenchmarkSettings,
    "benchmark learning": forms.LearningBenchmarkSettings,
    "up": commands.UpSettings,
    "open": commands.OpenSettings,
    "worker": commands.WorkerSettings,
    "guard": unattended.GuardSettings,
    "prune": unattended.PruneSettings,
    "backup": commands.BackupSettings,
    "restore": commands.RestoreSettings,
}
FLAGS_OF_THEIR_OWN = {"RecordSettings.video.episode"}
LOADED = """
import sys
from flows.cli.app import run
code = run(sys.argv[1:])
heavy = {"prefect", "mlflow", "torch", "ale_py", "stable_baselines3", "gymnasium", "optuna"} & sys.modules.keys()
sys.exit(f"imported {sorted(heavy)}" if heavy else code)
"""


def every_command(group: App = app, path: str = "") -> Iterator[str]:
    for name, command in group.resolved_commands().items():
        if not name.startswith("-"):
            yield f"{path}{name}"
            yield from every_command(command, f"{path}{name} ")


def descriptions(model: type[Settings], path: str = "") -> Iterator[str]:
    """Descriptions of a model's fields that are options."""
    for name, field in model.model_fields.items():
        nested = {"evaluation": EvaluationSettings, "video": forms.VideoSettings}.get(name)
        if f"{path or model.__name__}.{name}" in HIDDEN | FLAGS_OF_THEIR_OWN:
            continue
        assert field.description
        yield field.description
        if nested:
            yield from descriptions(nested, f"{path or model.__name__}.{name}")


@pytest.mark.parametrize("command", [*every_command()])
def test_help_at_80_columns_has_every_description_and_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *command.split(), "--help"],
        cwd=Path(__file__).parents[3],
        env={"COLUMNS": "80", "PATH": "", "HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert "…" not in done.stdout
    text = " ".join(done.stdout.replace("│", " ").split())
    for description in descriptions(MODELS[command]) if command in MODELS else ():
        assert " ".join(description.split()) in text


def test_every_command_with_settings_has_an_input_model() -> None:
    assert {*every_command()} - MODELS.keys() == {"approaches", "deploy", "doctor", "notify", "status"}


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["train", "ALE/Pong-v5", "--stps", "3"], "Unknown option: --stps. Did you mean --steps?"),
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["record", "latest", "--best", "--all"], "Mutually exclusive arguments: {--best, --all}"),
        (["record", "latest", "--quite"], "Did you mean --quiet?"),
        (["train", "ALE/Pong-v5", "ALE/Boxing-v5"], "Unexpected argument 'ALE/Boxing-v5': see `ramreel train --help`"),
        (["record", "latest", "--no-panel"], "Unknown option: --no-panel"),
        (["pipeline", "ALE/Pong-v5", "--seeds", "1,x"], "--seeds: Input should be a valid integer"),
        (["record", "latest", "--episodes", "0"], "--episodes: Input should be greater than or equal to 1, got '0'"),
        (["benchmark", "video", "--frames", "99"], "--frames: Input should be greater than or equal to 100, got 99"),
        (["reel", "a", "b", "c"], "RUN"),
    ],
)
def test_invalid_option_is_one_line_with_exit_code_2(
    arguments: list[str], suggestion: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("ramreel: ")
    assert suggestion in printed.err


def test_version_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("ramreel 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--show-completion", shell]) == 0
    script = capfd.readouterr().out
    assert "ramreel" in script
    assert "checkpoint-every" in script


def test_field_of_an_error_is_named_as_its_option() -> None:
    assert option_name("RecordSettings", ("evaluation", "episodes")) == "--episodes"
    assert option_name("RecordSettings", ("steps", 3)) == "--checkpoint"
    assert option_name("RecordSettings", ("video", "panel")) == "--panel"
    assert option_name("PipelineSettings", ("seeds", 0)) == "--seeds"
    assert option_name("TrainSettings", ("env_id",)) == "ENV"
    assert option_name("CompareSettings", ("runs", 0)) == "RUN..."
    assert option_name("RunSettings", ("checkpoint_every",)) == "--checkpoint-every"


@pytest.mark.parametrize(
    ("words", "candidate"), [(["--approach", "ppo-t"], "ppo-tuned\t"), (["ALE/Po"], "ALE/Pong-v5\n")]
)
def test_completion_offers_approaches_and_environments(
    words: list[str], candidate: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run(["__complete", "train", *words])
    assert f"\n{candidate}" in capfd.readouterr().out
