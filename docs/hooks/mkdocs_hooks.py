"""Build the generated parts of the manual: the home page, the references, and the file map.

MkDocs calls these functions by name. Each has its single declaration elsewhere: commands in
`flows/cli`, settings in the pydantic models, the API and the file map in docstrings, the home page in README.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from command_reference import command_reference
from file_map import file_map
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from settings_reference import approach_table, settings_tables

ROOT = Path(__file__).parents[2]
API = "api"
PACKAGES = (
    "settings",
    "inputs",
    "emulator",
    "policies",
    "checkpoints",
    "episodes",
    "video",
    "atlas",
    "scores",
    "report",
    "external_runs",
    "rollouts",
    "learner",
)
"""Packages of the core in the API reference, in the order of the navigation."""

_PLACEHOLDER = re.compile(r"^<!-- generated: (?P<kind>[a-z-]+)(?: (?P<argument>\S+))? -->$", re.MULTILINE)
_EXTERNAL = re.compile(r"""<(?:script|img|link|iframe|source|video)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//[^"']*""")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the API reference to the navigation."""
    reference = next(entry["Reference"] for entry in config["nav"] if isinstance(entry, dict) and "Reference" in entry)
    if not any("Python API" in entry for entry in reference):
        reference.append({"Python API": [{package: f"{API}/{package}.md"} for package in PACKAGES]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file holds."""
    readme = (ROOT / "README.md").read_text("utf-8")
    files.append(File.generated(config, "index.md", content=home_page(readme)))
    files.append(File.generated(config, "LICENSE.txt", content=(ROOT / "LICENSE").read_text("utf-8")))
    for package in PACKAGES:
        files.append(File.generated(config, f"{API}/{package}.md", content=api_page(package)))
    return files


def on_page_markdown(markdown: str, **_context: object) -> str:
    """Replace each placeholder, such as `<!-- generated: commands -->`, with the part that it names."""
    return _PLACEHOLDER.sub(lambda match: generated(match["kind"], match["argument"]), markdown)


def on_post_page(output: str, **_context: object) -> str:
    """Return a built page unchanged if it loads nothing from another host.

    Raises:
        PluginError: it does.
    """
    if external := _EXTERNAL.search(output):
        raise PluginError(f"The manual loads nothing from other hosts, but a page contains {external[0]!r}")
    return output


def home_page(readme: str) -> str:
    """Return the README with its links relative to docs/."""
    return readme.replace("](docs/", "](").replace('src="docs/', 'src="').replace("](LICENSE)", "](LICENSE.txt)")


def api_page(package: str) -> str:
    """Return the page of a core package: one section per module."""
    folder = ROOT / "tasks" / "arcade" / package
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    name = f"tasks.arcade.{package}"
    intro = f"::: {name}\n    options: {{members: false, show_root_heading: false, show_root_toc_entry: false}}"
    hidden = "    options: {show_root_heading: false, show_root_toc_entry: false}"
    sections = (f"## {module}\n\n::: {name}.{module}\n{hidden}" for module in modules)
    return "\n\n".join((f"# `{name}`", intro, *sections)) + "\n"


def generated(kind: str, argument: str | None) -> str:
    """Return the Markdown of a generated part.

    Raises:
        ValueError: the kind is unknown.
    """
    parts: dict[str, Any] = {
        "commands": command_reference,
        "approaches": approach_table,
        "file-map": lambda: file_map(ROOT),
        "settings": lambda: settings_tables(argument or ""),
    }
    if kind not in parts:
        raise ValueError(f"Unknown generated part {kind!r}. Available: {', '.join(parts)}")
    return str(parts[kind]())
