"""The README says what is so: every command and option, every file, and nothing that is not there."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli.app import app
from tasks.arcade.settings.approaches import APPROACHES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def commands(group: Any, before: str = "") -> dict[str, Any]:
    """Words that are typed → the command, those of groups within groups as well."""
    found = {}
    for name, command in group.commands.items():
        found[before + name] = command
        found |= commands(command, f"{before}{name} ") if hasattr(command, "commands") else {}
    return found


COMMANDS = commands(typer.main.get_group(app))

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE = FENCE.sub("", README)
LINK = re.compile(r"\]\((?P<link>[^)]+)\)|<img[^>]*? src=\"(?P<picture>[^\"]+)\"")

# Written so that this file itself holds no such name.
REGISTRY = re.compile(r"pypi[.]|pythonhosted[.]|download[.]pytorch|anaconda[.]org|npmjs[.]|(?:docker|ghcr|quay)[.]io")
MACHINE = re.compile(r"(?<![\w.}*])/(?:root|work|opt|mnt|tmp|Users|home/(?!me/))(?:/|\b)")


def tables(first_head: str) -> list[list[str]]:
    """The rows, cells and all, of every table whose first column has this head."""
    rows, inside = [], False
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        inside = bool(cells) and (inside or cells[0] == first_head)
        if inside and cells[0] != first_head and not cells[0].startswith("---"):
            rows.append(cells)
    return rows


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def options(command: Any) -> set[str]:
    found = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
    return {name for name in found if name.startswith("--")} - {"--help"}


def typed(text: str) -> str:
    """`train` of `train --resume RUN`: the words before any argument or option."""
    words = re.match(r"[a-z]+(?: [a-z]+)*", text)
    assert words is not None
    return words[0]


def command_lines() -> list[list[str]]:
    """What follows `ramreel` in the code blocks."""
    blocks = "\n".join(match["text"] for match in FENCE.finditer(README) if match["language"] == "sh")
    lines = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    return [words[1:] for words in lines if words and words[0] == "ramreel"]


def mentions() -> list[list[str]]:
    """What follows `ramreel` within the text."""
    return [words.split()[1:] for words in quoted(PROSE) if words.startswith("ramreel ")]


def mapped() -> dict[str, str]:
    """Path → what it is, from the indented map of files."""
    (text,) = (match["text"] for match in FENCE.finditer(README) if match["text"].startswith("flows/"))
    found, folders = {}, [""]
    for line in text.splitlines():
        indent, name, words = re.fullmatch(r"( *)(\S+) {2,}(\S.*)", line).groups()  # type: ignore[union-attr]
        depth = len(indent) // 2
        path = folders[depth] + name
        folders[depth + 1 :] = [path]
        found[path] = words
    return found


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_every_command_is_there_with_every_option() -> None:
    rows = {typed(quoted(cells[0])[0]): set(quoted(cells[2])) for cells in tables("command") if cells[2:]}
    assert rows == {name: options(command) for name, command in COMMANDS.items()}


def test_every_option_is_explained_and_no_other() -> None:
    explained = [name for cells in tables("option") for name in quoted(cells[0])]
    assert sorted(explained) == sorted(set().union(*map(options, COMMANDS.values())))


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_every_command_line_can_be_typed(words: list[str]) -> None:
    name, arguments = next((" ".join(words[:n]), words[n:]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS)
    COMMANDS[name].make_context(name, arguments)


def test_most_commands_are_shown() -> None:
    shown = {words[0] for words in command_lines()}
    assert shown >= {"train", "record", "verify", "watch", "compare", "pipeline", "up"}


@pytest.mark.parametrize("words", mentions(), ids=" ".join)
def test_every_command_in_the_text_is_there(words: list[str]) -> None:
    name, *more = words
    assert name in {*COMMANDS, "COMMAND"}
    known = options(COMMANDS[name]) if name in COMMANDS else {"--help"}
    assert {word for word in more if word.startswith("--")} <= known


def test_every_approach_is_there_in_its_own_words() -> None:
    assert {quoted(name)[0]: words for name, words in tables("name")} == {
        approach.name: approach.description for approach in APPROACHES.values()
    }


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    named = {words.split()[1] for words in quoted(PROSE) if words.startswith("make ")}
    assert named == set(phony[1].split())


def test_torch_is_the_one_that_is_pinned() -> None:
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    assert f"pins torch {pinned[1]}" in README
    assert set(re.findall(r"torch==(\S+)", README)) == {pinned[1]}


def test_python_is_the_one_that_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in README


def test_every_file_is_on_the_map_and_nothing_else() -> None:
    there = {path for path in mapped() if path.endswith(".py")}
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("flows", "tasks")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert there == files
    for path in mapped():
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path


def test_links_and_pictures_are_there() -> None:
    heads = re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
    found = [match["link"] or match["picture"] for match in LINK.finditer(README)]
    assert any(link.startswith("docs/") for link in found)
    for link in found:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif "://" not in link:
            assert (ROOT / link).is_file(), link


def test_pictures_are_small() -> None:
    assert all(path.stat().st_size <= 300_000 for path in (ROOT / "docs").iterdir())


def test_no_file_names_a_registry_or_a_machines_folder() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked()
        for number, line in enumerate(path.read_bytes().decode(errors="ignore").splitlines(), 1)
        for pattern in (REGISTRY, MACHINE)
        if (match := pattern.search(line))
    ]
    assert found == []


@pytest.mark.parametrize("parts", [("pypi", "org/simple"), ("ghcr", "io/someone/image")])
def test_a_registry_would_be_found(parts: tuple[str, str]) -> None:
    assert REGISTRY.search("https://" + ".".join(parts))


@pytest.mark.parametrize("parts", [("root", "x"), ("tmp", "x"), ("home", "someone", "x.db")])
@pytest.mark.parametrize("before", ["cd ", "path = '", "sqlite:///"])
def test_a_machines_folder_would_be_found(parts: tuple[str, ...], before: str) -> None:
    assert MACHINE.search(before + "/" + "/".join(parts))
