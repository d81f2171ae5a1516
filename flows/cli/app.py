"""The command line: a thin layer over the flows.

Exit codes: 0 done; 1 failed under way; 2 bad input, nothing done; 3 a comparison came out worse; 130 Ctrl-C.
Everything heavy is imported by the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import typer

from flows.cli.commands import atlas, benchmark, compare, export, record, reel, sweep, train
from flows.cli.commands import games as machine
from flows.cli.commands import import_runs as imports
from flows.cli.commands import render as video
from flows.cli.commands import services as unattended
from flows.cli.session import BadInputError
from flows.cli.terminal import Terminal

INTERRUPTED = 130
_LONGEST = 600
"""Characters of what is wrong with the input."""
NAMES = {"imports": "import"}
"""Commands whose name is a word of Python's."""

app = typer.Typer(
    name="ramreel",
    help="Train an agent on the 128 bytes of an Atari's RAM; watch it on the screen.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
benchmarks = typer.Typer(help="Measure speed: ramreel, Stable-Baselines3 and the emulator alone, side by side.")

for command in (
    train.train,
    record.record,
    record.verify,
    video.video,
    reel.reel,
    record.watch,
    export.export,
    imports.imports,
    compare.compare,
    compare.pipeline,
    sweep.sweep,
    atlas.atlas,
    machine.games,
    unattended.up,
    unattended.status,
    unattended.guard,
):
    app.command(NAMES.get(command.__name__))(command)
benchmarks.callback(invoke_without_command=True)(benchmark.benchmark)
benchmarks.command("video")(benchmark.benchmark_video)
benchmarks.command("learning")(benchmark.benchmark_learning)
app.add_typer(benchmarks, name="benchmark")


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code."""
    errors = Terminal(as_json="--json" in arguments, quiet=True)
    if not arguments:
        # Typer has the help as an error's message, which is one line here, and cut.
        run(["--help"])
        return 2
    try:
        code = int(app(args=arguments, prog_name="ramreel", standalone_mode=False) or 0)
        # Typer makes an exit code of Ctrl-C by itself.
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code
    except BadInputError as error:
        errors.error(_bearable(str(error)))
        return 2
    except (typer.Abort, KeyboardInterrupt):
        errors.error("stopped by Ctrl-C; what was finished is kept")
        return INTERRUPTED
    except typer.TyperException as error:
        errors.error(f"{_bearable(error.format_message()).rstrip('.')}: `ramreel --help` lists commands and options")
        return 2
    except Exception as error:
        errors.error(_reason(error))
        return 1


def _bearable(text: str) -> str:
    """What was given may be long; what would be right comes last."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def _reason(error: BaseException) -> str:
    """What went wrong first, where ramreel itself has named it: services that fail in its wake come later."""
    from tasks.arcade.rollouts.worker_pool import WorkerError
    from tasks.store import StoreError

    reason: BaseException = error
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, StoreError | WorkerError):
            reason = behind
        behind = behind.__context__
    return str(reason) or type(reason).__name__
