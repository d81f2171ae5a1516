"""Invalid command lines: one line, exit code 2, nothing written, nothing executed."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest
from helpers.checkpoints import random_checkpoint
from helpers.episodes import random_play
from helpers.invalid_input import arguments, many_examples
from helpers.processes import error_lines
from hypothesis import assume, example, given
from hypothesis import strategies as st

from flows.cli.app import run
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.emulator.environment_ids import environment_ids, rom_digest
from tasks.arcade.inputs.fields import is_printable
from tasks.arcade.settings.approaches import APPROACHES
from tasks.arcade.settings.run import RunSettings
from tasks.store import Store, open_store
from tests.conftest import forget_settings

Refused = Callable[[list[str]], str]
RUN, TRACE = "the only one", "a trace"


@pytest.fixture
def refused(
    home: Path, settings: RunSettings, start: Callable[..., str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> Iterator[Refused]:  # fmt: skip
    """Run a command line that must be rejected, over a store with one run, and return the error."""
    monkeypatch.setenv("RAMREEL_HOME", str(home))
    forget_settings(monkeypatch)
    # A command that is not rejected would start a flow: without a server it fails immediately.
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    store = open_store()
    keep_a_run(store, start(store, settings, RUN), tmp_path)
    assert run(["reel", "x", "--quiet"]) == 2
    capfd.readouterr()
    before = everything(home)
    with closing(sqlite3.connect(home / "mlruns/mlflow.db")) as watch:
        version = watch.execute("PRAGMA data_version").fetchone()

        def refuse(arguments: list[str]) -> str:
            code = run(arguments)
            # --tracking-uri is exported for the flow that the command would start.
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            printed = capfd.readouterr()
            lines = error_lines(printed.err)
            assert code == 2, ascii((arguments, printed.err[-2000:]))
            assert len(lines) == 1, lines
            assert lines[0].startswith("ramreel: ")
            assert len(lines[0]) < 1000
            assert is_printable(lines[0]), "no control characters"
            out = [json.loads(line) for line in printed.out.splitlines()]
            assert [list(one) for one in out] == ([["error"]] if "--json" in arguments else [])
            assert watch.execute("PRAGMA data_version").fetchone() == version, "the store is unchanged"
            assert everything(home) == before, "so is the disk"
            return lines[0]

        yield refuse


def keep_a_run(store: Store, run_id: str, folder: Path) -> None:
    checkpoint = folder / "checkpoint"
    store.save_checkpoint(run_id, 4096, checkpoint, files.write_checkpoint(random_checkpoint(), checkpoint))


def everything(home: Path) -> dict[str, int]:
    found = {str(path): path.stat().st_size for path in home.rglob("*") if path.is_file() or path.is_symlink()}
    return {path: size for path, size in found.items() if not path.endswith(("-wal", "-shm"))}


def is_whole_number(text: str) -> bool:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    return number.is_finite() and number == number.to_integral_value()


def not_between(low: int, high: float) -> st.SearchStrategy[str]:
    outside = st.one_of(st.integers(max_value=low - 1), st.integers(min_value=int(high) + 1) if high else st.nothing())
    return st.one_of(arguments.filter(lambda text: not is_whole_number(text)), outside.map(str))


def not_among(names: list[str]) -> st.SearchStrategy[str]:
    return arguments.filter(lambda text: text not in names)


steps, seed = not_between(1, 10**10), not_between(0, 2**31 - 1)
episodes, n_envs, workers = not_between(1, 10_000), not_between(1, 1024), not_between(1, 256)
approach = not_among(list(APPROACHES))
approaches = approach.filter(lambda text: not {word.strip() for word in text.split(",")} - {""} <= APPROACHES.keys())
seeds = not_between(0, 2**31 - 1).filter(lambda text: "," not in text)
every, checkpoint = not_between(1, 0), not_between(4097, 0).filter(lambda text: text.strip() != "4096")
env_id = not_among(environment_ids())  # type: ignore[arg-type]
reference = arguments.filter(lambda text: text not in (RUN, "latest", "--help"))
uri = arguments.filter(bool)
name = st.sampled_from(["", "a\nb", "\x1b[31m", "\udcff", "x" * 2000, "\x07"])

INVALID: dict[str, tuple[list[str], dict[str, st.SearchStrategy[str]]]] = {
    "train": (["ALE/Pong-v5"], {
        "--approach": approach, "--seed": seed, "--steps": steps, "--checkpoint-every": every, "--n-envs": n_envs,
        "--workers": workers, "--name": name, "--experiment": name, "--tracking-uri": uri, "--resume": reference,
        "--settings": arguments,
    }),
    "record": ([RUN], {"--episodes": episodes, "--seed": seed, "--checkpoint": checkpoint, "--tracking-uri": uri}),
    "reel": ([RUN], {
        "--seconds": arguments.filter(lambda text: text.strip() not in ("1", "20")), "--seed": seed,
        "--tracking-uri": uri,
    }),
    "watch": ([RUN], {"--checkpoint": checkpoint, "--seed": seed, "--tracking-uri": uri}),
    "export": ([RUN], {
        "--to": st.sampled_from(["", "/", "no/such/x.zip", "x" * 300, ".."]), "--checkpoint": checkpoint,
    }),
    "compare": ([RUN], {
        "--against": reference.filter(lambda text: text != "champion"), "--name": name, "--experiment": name,
        "--tracking-uri": uri,
    }),
    "pipeline": (["ALE/Pong-v5"], {
        "--approaches": approaches, "--seeds": seeds, "--steps": steps, "--checkpoint-every": every, "--name": name,
        "--episodes": episodes, "--n-envs": n_envs, "--workers": workers, "--experiment": name, "--tracking-uri": uri,
        "--settings": arguments,
    }),
    "sweep": (["ALE/Breakout-v5"], {
        "--approach": approach, "--parameters": arguments.filter(lambda text: text.strip(", ")), "--trials": episodes,
        "--steps": steps, "--seed": seed, "--workers": workers, "--name": name, "--experiment": name,
        "--tracking-uri": uri,
    }),
    "import": (["nosuch"], {
        "--env": env_id, "--approach": arguments, "--seed": seed, "--name": name, "--experiment": name,
        "--tracking-uri": uri,
    }),
    "atlas": (["ALE/Pong-v5"], {
        "--states": episodes, "--seed": seed, "--run": reference, "--name": name, "--experiment": name,
    }),
    "decode": (["ALE/Pong-v5"], {
        "--pairs": not_between(2_000, 10**6), "--epochs": not_between(1, 1_000), "--episodes": not_between(1, 1_000),
        "--seed": seed, "--run": reference, "--name": name, "--experiment": name,
    }),
    "follow": (["nosuch.mp4"], {
        "--env": env_id, "--frame-skip": not_between(1, 60), "--max-lost": not_between(1, 1_000),
        "--to": st.sampled_from(["/", "no/such/x.json", "x" * 300, ".."]),
    }),
    "guard": (["ALE/Pong-v5"], {"--episodes": not_between(10, 10_000), "--tracking-uri": uri}),
    "status": ([], {"--tracking-uri": uri}),
    "up": ([], {f"--{server}-port": not_between(1, 65535) for server in ("prefect", "mlflow", "gallery")}),
    "open": ([], {"--tracking-uri": uri}),
    "benchmark": ([], {
        "--env": env_id, "--approach": approach, "--rounds": every, "--steps": every, "--workers": workers,
    }),
    "benchmark video": ([], {"--env": env_id, "--rounds": every, "--frames": every}),
    "benchmark learning": ([], {
        "--envs": env_id.filter(lambda text: "," not in text), "--approaches": approaches, "--seeds": seeds,
        "--steps": steps, "--episodes": episodes, "--tracking-uri": uri,
    }),
}  # fmt: skip
"""Command → its required arguments, and options with strategies of invalid values."""


@many_examples
@given(data=st.data())
@pytest.mark.parametrize("command", INVALID)
def test_invalid_option_is_rejected(command: str, data: st.DataObject, refused: Refused) -> None:
    required, options = INVALID[command]
    option = data.draw(st.sampled_from(sorted(options)), label="option")
    value = data.draw(options[option], label="value")
    json_flag = data.draw(st.sampled_from([[], ["--json"]])) if command != "up" else []
    others = ["--to", "model.zip"] if command == "export" and option != "--to" else []
    if command in ("follow", "import") and option != "--env":
        others = ["--env", "ALE/Pong-v5"]
    if option == "--resume":
        required = []
    refused([*command.split(), *json_flag, *others, f"{option}={value}", "--", *required])


GAMES = ["train", "pipeline", "sweep", "atlas", "decode", "guard"]
RUNS = ["record", "reel", "watch", "compare", "export"]


@many_examples
@given(word=env_id)
@example(word="ALE/Pong-v5 ")
@pytest.mark.parametrize("command", GAMES)
def test_unknown_environment_is_rejected(command: str, word: str, refused: Refused) -> None:
    refused([command, "--", word])


@many_examples
@given(word=reference, more=st.lists(arguments, max_size=2))
@pytest.mark.parametrize("command", [*RUNS, "verify", "render", "import", "follow"])
def test_unknown_run_or_file_is_rejected(command: str, word: str, more: list[str], refused: Refused) -> None:
    to = {"export": ["--to", "model.zip"]} | {name: ["--env", "ALE/Pong-v5"] for name in ("import", "follow")}
    refused([command, *to.get(command, []), "--", word, *(more if command in ("reel", "compare") else [])])


@many_examples
@given(typed=st.lists(arguments, min_size=1, max_size=4))
def test_unknown_command_is_rejected(typed: list[str], refused: Refused) -> None:
    known = {"-h", "--help", "--version", "--install-completion", "--show-completion", "games", "render", "verify"}
    assume(typed[0] not in INVALID.keys() | known)
    refused(typed)


@pytest.mark.parametrize(
    "typed",
    [
        ["compare", *map(str, range(240)), "--against", "champion"],
        ["pipeline", "ALE/Pong-v5", "--approaches", "ppo,random", "--seeds", ",".join(map(str, range(121)))],
    ],
    ids=["compare", "pipeline"],
)
def test_comparison_of_too_many_runs_is_rejected(typed: list[str], refused: Refused) -> None:
    assert re.search(r": 24[12] runs are too many for one comparison: at most 240$", refused(typed))


@pytest.mark.parametrize(
    "typed",
    [
        *(["train", "ALE/Pong-v5"], ["train", "--resume", RUN], ["pipeline", "ALE/Pong-v5"], ["sweep", "ALE/Pong-v5"]),
        *(["record", RUN], ["compare", RUN], ["watch", RUN], ["verify", RUN], ["verify", TRACE]),
        *(["render", TRACE], ["atlas", "ALE/Pong-v5"], ["guard", "ALE/Pong-v5"], ["guard"], ["games"], ["up"]),
        *(["benchmark"], ["benchmark", "video"], ["benchmark", "learning"]),
    ],
    ids=" ".join,
)
def test_roms_folder_that_is_gone_is_named(
    typed: list[str],
    refused: Refused,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = tmp_path_factory.mktemp("trace") / "pong.json"
    trace.write_text(random_play("ALE/Pong-v5", 5).model_dump_json())
    rom_digest.cache_clear()
    action_names.cache_clear()
    monkeypatch.setenv("ALE_ROMS_DIR", str(trace.with_name("gone")))
    typed = [str(trace) if word == TRACE else word for word in typed]
    assert "ALE_ROMS_DIR" in refused([*typed, *([] if typed == ["up"] else ["--json"])])
