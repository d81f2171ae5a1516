"""The file map of the manual, from the module docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("flows", "tasks")


def file_map(root: Path) -> str:
    """Return one section per package: its description, and a table of its modules."""
    sections = []
    for package in packages(root):
        rows = [f"| `{module.name}` | {_cell(description(module))} |" for module in modules(package)]
        table = ["| Module | Purpose |", "| --- | --- |", *rows] if rows else []
        heading = f"### {package.relative_to(root).as_posix()}/"
        sections.append("\n".join((heading, "", _cell(description(package / "__init__.py")) + ".", "", *table)))
    return "\n\n".join(sections)


def packages(root: Path) -> Iterator[Path]:
    """Yield the packages below the source folders, parents first."""
    for folder in FOLDERS:
        yield from sorted(path.parent for path in (root / folder).rglob("__init__.py"))


def modules(package: Path) -> list[Path]:
    """Return the modules of a package, without those of its subpackages."""
    return sorted(path for path in package.glob("*.py") if path.name != "__init__.py")


def description(module: Path) -> str:
    """Return the first sentence of a module's docstring, or an empty string."""
    docstring = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=\w)[.;] ", paragraph + " ", maxsplit=1)[0].strip().rstrip(".")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
