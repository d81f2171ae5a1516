"""The command reference of the manual, from the command-line application."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from cyclopts import App

from flows.cli.app import app


@dataclass(frozen=True)
class Command:
    """A command as its `--help` describes it.

    Attributes:
        summary: its help.
        options: option or argument → its help.
    """

    summary: str
    options: Mapping[str, str]


@cache
def command_reference() -> str:
    """Return the commands by group, then every command with its arguments and options, one section each."""
    text = app.generate_docs(output_format="markdown")
    _, _, contents, *sections = re.split(r"^#+ ", text, flags=re.MULTILINE)
    groups = contents[contents.index("**") :]
    return "\n\n".join((groups.strip(), *(f"## {section.strip()}" for section in sections))) + "\n"


@cache
def commands() -> Mapping[str, Command]:
    """Return every command by the words that are typed after `ramreel`."""
    return dict(_commands(app, ""))


def _commands(parent: App, prefix: str) -> Iterator[tuple[str, Command]]:
    for name in parent:
        if name.startswith("-"):
            continue
        command = parent[name]
        arguments = command.assemble_argument_collection(parse_docstring=True)
        options = {
            option: argument.parameter.help or ""
            for argument in arguments
            for option in argument.names
            if not option.startswith(("--no-", "--empty-"))
        }
        yield prefix + name, Command(command.help.strip(), options)
        yield from _commands(command, f"{prefix}{name} ")


def global_options() -> set[str]:
    """Return the options of `ramreel` itself, such as `--version`."""
    return {name for name in app if name.startswith("--")}


def parse_command_line(words: Sequence[str]) -> None:
    """Parse what is typed after `ramreel`, without running it.

    Raises:
        CycloptsError: a command, an argument or an option is invalid.
    """
    app.parse_args(list(words), exit_on_error=False, print_error=False)
