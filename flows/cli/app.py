"""The command line: parsing, exit codes and one-line errors.

Exit codes: 0 done; 1 failed while running; 2 invalid input, nothing done; 3 a comparison came out worse; 130 Ctrl-C.
Heavy libraries are imported by the commands when they run: `--help` imports none of Prefect, MLflow and PyTorch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Literal, get_args

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from flows.cli.commands.approaches import approaches
from flows.cli.commands.atlas import atlas
from flows.cli.commands.backup import backup, restore
from flows.cli.commands.benchmark import (
    benchmark,
    benchmark_learning,
    benchmark_live,
    benchmark_memory,
    benchmark_pipeline,
    benchmark_start,
    benchmark_video,
)
from flows.cli.commands.compare import compare
from flows.cli.commands.decode import decode
from flows.cli.commands.doctor import doctor
from flows.cli.commands.export import export
from flows.cli.commands.follow import follow
from flows.cli.commands.games import games
from flows.cli.commands.guard import guard
from flows.cli.commands.import_runs import import_runs
from flows.cli.commands.notify import notify
from flows.cli.commands.open_page import open_page
from flows.cli.commands.pipeline import pipeline
from flows.cli.commands.prune import prune
from flows.cli.commands.record import record
from flows.cli.commands.reel import reel
from flows.cli.commands.render import render
from flows.cli.commands.services import deploy, status, up, worker
from flows.cli.commands.sweep import sweep
from flows.cli.commands.train import train
from flows.cli.commands.verify import verify
from flows.cli.commands.watch import watch
from flows.cli.options import Command
from flows.cli.session import InvalidInputError
from flows.cli.terminal import Terminal

FAILED, INVALID, INTERRUPTED = 1, 2, 130
_LONGEST_ERROR = 600
"""Characters of an error in the input, which may repeat the input."""

COMMANDS: Mapping[str, Mapping[str, Command]] = {
    "Train": {
        "train": train,
        "pipeline": pipeline,
        "sweep": sweep,
        "import": import_runs,
    },
    "Record": {
        "record": record,
        "reel": reel,
        "render": render,
        "verify": verify,
        "watch": watch,
    },
    "Analyze": {
        "compare": compare,
        "atlas": atlas,
        "decode": decode,
        "follow": follow,
        "export": export,
        "games": games,
        "approaches": approaches,
        "benchmark": benchmark,
    },
    "Run unattended": {
        "up": up,
        "worker": worker,
        "deploy": deploy,
        "status": status,
        "open": open_page,
        "guard": guard,
        "notify": notify,
        "prune": prune,
        "backup": backup,
        "restore": restore,
        "doctor": doctor,
    },
}
"""Group of the help → command → its function."""
SUBCOMMANDS: Mapping[str, Mapping[str, Command]] = {
    "benchmark": {
        "video": benchmark_video,
        "pipeline": benchmark_pipeline,
        "learning": benchmark_learning,
        "start": benchmark_start,
        "memory": benchmark_memory,
        "live": benchmark_live,
    },
}

app = App(
    name="ramreel",
    help="Train an agent on the 128 bytes of an Atari's RAM; watch it on the screen.",
    version=lambda: f"ramreel {version('ramreel')}",
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=False),
    group_commands=Group("Commands", sort_key=9),
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)


def _usage(name: str, command: Command) -> str | None:
    """Return the usage of a command with an optional argument, which cyclopts would call ARGS; otherwise None."""
    for argument in inspect.signature(command).parameters.values():
        if argument.kind is argument.POSITIONAL_ONLY and not get_args(argument.annotation)[1].required:
            return f"Usage: ramreel {name} [OPTIONS] [{get_args(argument.annotation)[1].name[0]}]"
    return None


for _order, (_title, _commands) in enumerate(COMMANDS.items()):
    _group = Group(_title, sort_key=_order)
    for _position, (_name, _command) in enumerate(_commands.items()):
        app.command(_command, name=_name, group=_group, sort_key=_position, usage=_usage(_name, _command))
        for _subname, _subcommand in SUBCOMMANDS.get(_name, {}).items():
            app[_name].command(_subcommand, name=_subname)
app.register_install_completion_command(
    help="Install completion for the current shell, and add it to the shell's startup file."
)


@app.command(name="--show-completion")
def show_completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"] | None, Parameter(help="Shell (default: the current one)")
    ] = None,
    /,
) -> None:
    """Print the completion script for a shell."""
    print(app.generate_completion(shell=shell))


def run(arguments: list[str]) -> int:
    """Run a command line, and return its exit code."""
    errors = Terminal(as_json="--json" in arguments, quiet=True)
    if not arguments:
        app(["--help"])
        return INVALID
    try:
        return int(app(arguments) or 0)
    except InvalidInputError as error:
        errors.error(_shortened(str(error)))
        return INVALID
    except CycloptsError as error:
        errors.error(_shortened(_usage_message(error)))
        return INVALID
    except KeyboardInterrupt:
        errors.error("stopped by Ctrl-C; finished checkpoints and videos are kept")
        return INTERRUPTED
    except Exception as error:
        errors.error(_root_cause(error))
        return FAILED


def _usage_message(error: CycloptsError) -> str:
    """Return a parser's error with what would be right: the suggestion in it, or where the options are listed."""
    command = " ".join(["ramreel", *(error.command_chain or ())])
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"Unexpected argument {error.unused_tokens[0]!r}: see `{command} --help`"
    message = str(error).rstrip(".")
    return message if "Did you mean" in message else f"{message}: see `{command} --help`"


def _shortened(text: str) -> str:
    """Return an error without its middle if it is long: it ends with what would be right."""
    if len(text) <= _LONGEST_ERROR:
        return text
    return f"{text[: _LONGEST_ERROR // 2]} ... {text[-_LONGEST_ERROR // 2 :]}"


def _root_cause(error: BaseException) -> str:
    """Return the message of the first error that ramreel itself raised: services that fail after it hide it."""
    from tasks.arcade.rollouts.worker_pool import WorkerError
    from tasks.store import StoreError

    cause: BaseException = error
    context: BaseException | None = error
    while context is not None:
        if isinstance(context, StoreError | WorkerError):
            cause = context
        context = context.__context__
    return str(cause) or type(cause).__name__
