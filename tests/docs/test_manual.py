"""README and manual agree with the tree: commands, options, files, links, make targets, versions."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from command_reference import command_reference, commands, global_options, parse_command_line
from file_map import description, modules, packages
from markdown.extensions.toc import slugify
from mkdocs_hooks import API, PACKAGES, home_page, on_page_markdown
from settings_reference import models_of

from tasks.arcade.settings.approaches import APPROACHES
from tasks.arcade.settings.run import ApproachSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SOURCES = {"index.md": home_page(README)} | {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md")
}
PAGES = {name: on_page_markdown(text) for name, text in SOURCES.items()}
"""Path below docs/ → Markdown, with the generated parts."""
WRITTEN = "\n".join(text for name, text in SOURCES.items() if name != "changelog.md")
"""The handwritten parts, without the changelog and its former names."""

COMMANDS = commands()

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<link>[^)\s]+)\)|<img[^>]*? src=\"(?P<image>[^\"]+)\"")
HEADING = re.compile(r"^#+ (?P<text>.+?)(?: \{ #(?P<id>[\w-]+) \})?$", re.MULTILINE)

# Written so that this file itself contains no such name.
REGISTRY = re.compile(r"pypi[.]|pythonhosted[.]|download[.]pytorch|anaconda[.]org|npmjs[.]|(?:docker|ghcr|quay)[.]io")
MACHINE = re.compile(r"(?<![\w.}*])/(?:root|work|opt|mnt|tmp|Users|home/(?!me/))(?:/|\b)")


def prose(text: str) -> str:
    return FENCE.sub("", text)


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def command_lines(text: str) -> list[list[str]]:
    """Return the words after `ramreel` of each line in the shell code blocks."""
    blocks = "\n".join(match["text"] for match in FENCE.finditer(text) if match["language"] == "sh")
    lines = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    return [words[1:] for words in lines if words and words[0] == "ramreel"]


def mentions() -> list[list[str]]:
    """Return the words after `ramreel` of each inline code span."""
    return [words.split()[1:] for words in quoted(prose(WRITTEN)) if words.startswith("ramreel ")]


def anchors(text: str) -> set[str]:
    heads = [(match["text"], match["id"]) for match in HEADING.finditer(prose(text))]
    return {identifier or slugify(head, "-") for head, identifier in heads}


def package_map() -> dict[str, str]:
    """Return the description of each package in the map in architecture.md."""
    (text,) = (match["text"] for match in FENCE.finditer(SOURCES["architecture.md"]) if "flows/ " in match["text"])
    found, folders = {}, [""]
    for line in text.splitlines():
        indent, name, words = re.fullmatch(r"( *)(\S+) {2,}(\S.*)", line).groups()  # type: ignore[union-attr]
        depth = len(indent) // 2
        path = folders[depth] + name
        folders[depth + 1 :] = [path]
        found[path] = words
    return found


def tracked_files() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def project() -> dict[str, str]:
    loaded: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return loaded


def test_readme_is_under_200_lines() -> None:
    assert len(README.splitlines()) < 200


def test_readme_shows_nine_commands() -> None:
    shown = [words[0] for words in command_lines(README)]
    assert len(shown) == len(set(shown)) == 9
    assert {"train", "record", "verify", "watch", "compare", "pipeline", "up"} <= set(shown)


def test_readme_has_a_result_for_each_of_eight_games() -> None:
    rows = re.findall(r"^\| `(ALE/\w+-v5)` \|", README, re.MULTILINE)
    assert len(rows) == len(set(rows)) == 8


def test_readme_results_are_those_of_the_benchmarks_page() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `ALE/")]
    assert [row for row in rows if row.replace(", ", " | ") not in SOURCES["benchmarks.md"]] == []


def test_reference_contains_every_command_with_every_option() -> None:
    sections = re.split(r"^#+ ", command_reference(), flags=re.MULTILINE)
    for name, command in COMMANDS.items():
        (section,) = (text for text in sections if text.startswith(f"ramreel {name}".strip() + "\n"))
        assert command.summary in section
        listed = {option for words in re.findall(r"^\* `([^`]+)`:", section, re.MULTILINE) for option in words.split()}
        assert [option for option in command.options if option not in {word.rstrip(",") for word in listed}] == [], name


def test_every_command_and_option_has_help() -> None:
    assert [name for name, command in COMMANDS.items() if not command.summary] == []
    assert [
        (name, option) for name, command in COMMANDS.items() for option, text in command.options.items() if not text
    ] == []


@pytest.mark.parametrize("words", command_lines(WRITTEN), ids=" ".join)
def test_command_line_in_a_code_block_parses(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in words:
        if name.endswith(".toml"):
            Path(name).write_text(next(m["text"] for m in FENCE.finditer(WRITTEN) if m["language"] == "toml"), "utf-8")
    parse_command_line(words)


@pytest.mark.parametrize("words", mentions(), ids=" ".join)
def test_command_in_the_text_exists(words: list[str]) -> None:
    assert words[0] in {*COMMANDS, *global_options(), "COMMAND"}
    name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS), None)
    known = {*global_options(), *(COMMANDS[name].options if name else ())}
    assert {word for word in words if word.startswith("--")} <= known


def test_options_in_the_text_exist() -> None:
    known = {option for command in COMMANDS.values() for option in command.options}
    named = {words for words in quoted(prose(WRITTEN)) if re.fullmatch(r"--[a-z][a-z-]+", words)}
    assert named <= known | global_options()


def test_approaches_are_listed_with_their_descriptions() -> None:
    for approach in APPROACHES.values():
        assert f"| `{approach.name}` | {approach.description} |" in PAGES["approaches.md"]


def test_settings_file_keys_are_those_of_the_approaches() -> None:
    section = SOURCES["approaches.md"].split("## An approach of your own")[1].split("### Schedules")[0]
    documented = {key for line in section.splitlines() if line.startswith("| ") for key in quoted(line)}
    keys = {"approach", "name", "description", "n_timesteps", "policy", "policy_kwargs", "features", "reward", "n_envs"}
    for approach in APPROACHES.values():
        keys |= set(type(approach.algorithm).model_fields) - {"algorithm", "network"}
    assert documented == keys


@pytest.mark.parametrize(
    "module", re.findall(r"<!-- generated: settings (\S+) -->", SOURCES["settings.md"]), ids=lambda name: name
)
def test_settings_reference_describes_every_field(module: str) -> None:
    assert models_of(module)
    for model in models_of(module):
        section = PAGES["settings.md"].split(f"### {model.__name__} {{")[1].split("\n### ")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", section, re.MULTILINE))
        assert list(rows) == list(model.model_fields)


def test_settings_reference_has_every_type_of_an_approach() -> None:
    types = ApproachSettings.model_json_schema()["$defs"]
    assert [name for name in types if f"### {name} {{" not in PAGES["settings.md"]] == []


def test_make_targets_are_documented() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    targets = set(phony[1].split())
    table = {words.split()[1] for words in quoted(SOURCES["getting-started.md"]) if words.startswith("make ")}
    assert table == targets
    assert {words.split()[1] for words in quoted(prose(WRITTEN)) if words.startswith("make ")} == targets


def test_torch_is_the_pinned_version() -> None:
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    assert f"pins torch {pinned[1]}" in WRITTEN
    assert set(re.findall(r"torch==(\S+)", WRITTEN)) == {pinned[1]}


def test_python_is_the_required_version() -> None:
    required = f"Python {project()['requires-python'].removeprefix('>=')} or newer"
    assert required in README
    assert required in SOURCES["getting-started.md"]


def test_changelog_and_citation_name_the_version() -> None:
    version = project()["version"]
    assert f"## {version}\n" in SOURCES["changelog.md"]
    assert f"\nversion: {version}\n" in (ROOT / "docs/CITATION.cff").read_text("utf-8")


def test_package_map_lists_every_package() -> None:
    shown = {f"{package.relative_to(ROOT).as_posix()}/" for package in packages(ROOT)} - {"flows/cli/commands/"}
    assert set(package_map()) == shown


def test_file_map_describes_every_module() -> None:
    files = [path for path in tracked_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] != "tests"]
    shown = {path for package in packages(ROOT) for path in (*modules(package), package / "__init__.py")}
    assert shown >= {path for path in files if path.relative_to(ROOT).parts[0] in ("flows", "tasks")}
    for path in shown:
        assert description(path), path
        assert path.name == "__init__.py" or f"| `{path.name}` | {description(path)} |" in PAGES["architecture.md"]


def test_api_reference_has_existing_packages() -> None:
    assert [name for name in PACKAGES if not (ROOT / "tasks/arcade" / name / "__init__.py").is_file()] == []


@pytest.mark.parametrize("name", PAGES)
def test_links_and_images_exist(name: str) -> None:
    for match in LINK.finditer(prose(PAGES[name])):
        link = match["link"] or match["image"]
        target, _, anchor = link.partition("#")
        if "://" in link or target in {"LICENSE.txt", *(f"{API}/{package}.md" for package in PACKAGES)}:
            continue
        path = (Path("docs") / name).parent / target if target else Path("docs") / name
        assert target == "" or (ROOT / path).is_file(), link
        if anchor:
            assert anchor in anchors(PAGES[path.relative_to("docs").as_posix()]), link


def test_every_page_is_linked_from_the_readme_or_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert [name for name in SOURCES if f": {name}\n" not in navigation] == []


def test_images_are_used_and_small() -> None:
    images = list((ROOT / "docs/images").iterdir())
    assert all(path.stat().st_size <= 300_000 for path in images)
    assert [path.name for path in images if f"images/{path.name}" not in WRITTEN] == []


def test_no_file_names_a_registry_or_a_folder_of_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked_files()
        for number, line in enumerate(path.read_bytes().decode(errors="ignore").splitlines(), 1)
        for pattern in (REGISTRY, MACHINE)
        if (match := pattern.search(line))
    ]
    assert found == []


@pytest.mark.parametrize("parts", [("pypi", "org/simple"), ("ghcr", "io/someone/image")])
def test_a_registry_is_found(parts: tuple[str, str]) -> None:
    assert REGISTRY.search("https://" + ".".join(parts))


@pytest.mark.parametrize("parts", [("root", "x"), ("tmp", "x"), ("home", "someone", "x.db")])
@pytest.mark.parametrize("before", ["cd ", "path = '", "sqlite:///"])
def test_a_folder_of_a_machine_is_found(parts: tuple[str, ...], before: str) -> None:
    assert MACHINE.search(before + "/" + "/".join(parts))
