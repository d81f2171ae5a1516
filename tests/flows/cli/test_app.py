"""What is typed is done, or refused in one line with nothing written."""

import json
from pathlib import Path

import pytest
from helpers.processes import started, wait_until

from flows.cli.app import run
from tasks.store import Store, StoreError

TRAIN = ["train", "ALE/Breakout-v5", "--approach", "random", "--n-envs", "2", "--steps", "1000"]


def last_line(capfd: pytest.CaptureFixture[str]) -> dict[str, object]:
    out = capfd.readouterr().out.splitlines()
    values = json.loads(out[-1])
    assert isinstance(values, dict)
    return values


def test_the_bare_command_shows_its_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    bare = capfd.readouterr()
    assert run(["--help"]) == 0
    assert (bare.out, bare.err) == (capfd.readouterr().out, "")
    assert "\n  train " in bare.out


def test_every_command_speaks_json(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*TRAIN, "--checkpoint-every", "512", "--json", "--name", "first"]) == 0
    trained = last_line(capfd)
    assert trained["steps"] == 1024
    assert trained["checkpoints"] == [512, 1024]
    assert trained["run_name"] == "first"
    assert trained["checkpoint_digest"] == store.list_checkpoints(str(trained["run_id"]))[-1].digest
    assert {"mean_return", "steps_per_second"} <= trained.keys()
    assert 0 < trained["pipeline_share"] < 1

    assert run(["record", "first", "--episodes", "2", "--checkpoint", "1024", "--json"]) == 0
    recorded = last_line(capfd)
    videos = recorded["videos"]
    assert isinstance(videos, list)
    assert recorded["failed"] == []
    assert videos[0].keys() >= {"step", "path", "episode", "frames", "return", "trace"}
    assert videos[0]["path"] == "videos/step-000001024.mp4"

    assert run(["verify", "latest", "--json"]) == 0
    proved = last_line(capfd)
    assert (proved["ok"], proved["first_difference"]) == (True, None)
    trace = store.fetch_artifact(str(trained["run_id"]), videos[0]["trace"], tmp_path)
    assert run(["verify", str(trace), "--json"]) == 0
    alone = last_line(capfd)
    assert alone["steps_checked"] == proved["steps_checked"]
    assert ([one["by_checkpoint"] for one in proved["videos"]], alone["videos"][0]["by_checkpoint"]) == ([True], False)
    assert run(["verify", str(trace)]) == 0
    assert "its checkpoint, which a file does not hold, was not asked" in capfd.readouterr().out

    spoilt = json.loads(trace.read_text())
    # One alone may change nothing: a sticky game repeats the one before instead.
    spoilt["actions"][10:40] = [(action + 1) % 4 for action in spoilt["actions"][10:40]]
    trace.write_text(json.dumps(spoilt))
    assert run(["verify", str(trace), "--json"]) == 1
    disproved = last_line(capfd)
    assert disproved["ok"] is False
    assert isinstance(disproved["first_difference"], int)
    assert disproved["first_difference"] >= 11

    assert run(["compare", "first", "--json"]) == 0
    compared = last_line(capfd)
    assert compared["runs"] == [trained["run_id"]]
    assert compared["report"] == "reports/report.html"

    assert run(["games", "pong", "--json"]) == 0
    games = last_line(capfd)["games"]
    assert isinstance(games, list)
    assert {game["env_id"] for game in games} >= {"ALE/Pong-v5", "Pong-v0", "PongNoFrameskip-v4"}


def test_videos_that_failed_are_in_the_one_json_object(
    store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run([*TRAIN, "--quiet"]) == 0
    capfd.readouterr()
    broken = tmp_path / "ffmpeg"
    broken.write_text('#!/bin/sh\n[ "$1" = -version ] && echo ffmpeg version 7.0 && exit\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    assert run(["record", "latest", "--episodes", "1", "--json"]) == 1
    said = capfd.readouterr()
    (line,) = said.out.splitlines()
    values = json.loads(line)
    assert [failed["step"] for failed in values["failed"]] == [1024]
    assert values["videos"] == []
    assert "1 of 1 videos failed" in values["error"]
    assert "ramreel: 1 of 1 videos failed" in said.err


def test_an_approach_of_ones_own_needs_its_file_once(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('approach = "ppo"\nn_timesteps = 256\nn_envs = 2\nn_steps = 64\nbatch_size = 64\nn_epochs = 1')
    assert run(["train", "ALE/Breakout-v5", "--settings", str(own), "--json"]) == 0
    trained = last_line(capfd)
    assert (trained["run_name"], trained["checkpoints"]) == ("mine seed 0", [256])
    assert store.run(str(trained["run_id"])).params["approach.algorithm.n_steps"] == "64"
    own.unlink()
    assert run(["train", "--resume", "mine seed 0", "--steps", "384", "--json"]) == 0
    assert last_line(capfd)["checkpoints"] == [256, 384]


def test_files_that_train_differently_long_are_not_compared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, steps in (("one", 512), ("other", 1024)):
        (tmp_path / f"{name}.toml").write_text(f'approach = "ppo"\nn_timesteps = {steps}')
    files = [word for name in ("one", "other") for word in ("--settings", str(tmp_path / f"{name}.toml"))]
    assert run(["pipeline", "ALE/Breakout-v5", *files]) == 2
    assert "different n_timesteps, [512, 1024]: give --steps" in capfd.readouterr().err


def test_words_go_to_standard_output_and_progress_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(TRAIN) == 0
    said = capfd.readouterr()
    assert "trained random seed 0" in said.out
    assert "1,024 of 1,000 steps" in said.err
    assert run([*TRAIN, "--quiet"]) == 0
    assert "steps/s" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "ALE/Pnog-v5"], "ALE/Pong-v5"),
        (["train", "CartPole-v1"], "no Atari RAM"),
        (["train", "ALE/Pong-v5", "--steps", "0"], "steps"),
        (["train", "ALE/Pong-v5", "--steps", "-5"], "steps"),
        (["train", "ALE/Pong-v5", "--steps", "many"], "--steps"),
        (["train", "ALE/Pong-v5", "--checkpoint-every", "0"], "checkpoint-every"),
        (["train", "ALE/Pong-v5", "--n-envs", "0"], "n-envs"),
        (["train", "ALE/Pong-v5", "--seed", "-1"], "seed"),
        (["train", "ALE/Pong-v5", "--approach", "ppo-tund"], "ppo-tuned"),
        (["train", "ALE/Pong-v5", "--tracking-uri", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
        (["train", "ALE/Pong-v5", "--tracking-uri", "nonsense://x"], "nonsense"),
        (["train", "ALE/Pong-v5", "--tracking-uri", "sqlite:////proc/nowhere/x.db"], "cannot write to /proc"),
        (["train"], "--resume RUN"),
        (["trian"], "train"),
        (["train", "ALE/Pong-v5", "--stps", "3"], "--stps"),
        (["record", "nosuch"], "latest"),
        (["record", "latest"], "no training run"),
        (["verify", "0123456789abcdef"], "no run"),
        (["verify", "nosuch.json"], "nosuch.json"),
        (["watch", "nosuch"], "no run"),
        (["compare", "nosuch", "latest"], "no run"),
        (["pipeline", "ALE/Pong-v5", "--seeds", "1,x"], "--seeds"),
        (["pipeline", "ALE/Pong-v5", "--approaches", "ppo,magic"], "magic"),
        (["pipeline", "ALE/Pong-v5", "--approaches", ","], "approaches"),
        (["train", "ALE/Pong-v5", "--settings", "nosuch.toml"], "nosuch.toml cannot be read"),
        (["train", "--resume", "latest", "--settings", "nosuch.toml"], "leave out settings"),
        (["pipeline", "ALE/Pong-v5", "--settings", "nosuch.toml"], "nosuch.toml cannot be read"),
        (["games", "qwertz"], "qwertz"),
        (["benchmark", "--approach", "random"], "does not learn by PPO"),
        (["benchmark", "--env", "CartPole-v1"], "no Atari RAM"),
        (["benchmark", "--steps", "7", "--workers", "1"], "8 or more would be right"),
        (["train", "--resume", "latest", "--seed", "3"], "leave out seed"),
        (["train", "--resume", "nosuch"], "no run"),
        (["train", "--approach", "ppo"], "environment id"),
        (["up", "--prefect-port", "0"], "port"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    arguments: list[str], hint: str, home: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path for path in home.rglob("*") if not path.name.startswith("mlflow.db")}
    assert run([*arguments]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("ramreel: ")
    assert said.err.count("\n") == 1
    assert hint in said.err
    assert {path for path in home.rglob("*") if not path.name.startswith("mlflow.db")} == before
    with pytest.raises(StoreError, match="no training run"):
        store.resolve_run("latest")


def test_a_run_without_checkpoints_is_told_so(
    store: Store, settings: object, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = store.start_run(settings, name="empty", command="", versions={}, commit=None)  # type: ignore[arg-type]
    assert run(["record", run_id]) == 2
    assert "has no checkpoint: `ramreel train ENV`" in capfd.readouterr().err


def test_a_directory_that_cannot_be_written_to_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAMREEL_HOME", "/proc/nowhere")
    assert run(["train", "ALE/Pong-v5"]) == 2
    said = capfd.readouterr().err
    assert "cannot write to /proc" in said
    assert said.count("\n") == 1


@pytest.fixture
def elsewhere(tmp_path: Path, migrated: Path) -> dict[str, str]:
    """What says that the store is elsewhere, and nothing of Prefect's."""
    (tmp_path / "mlflow.db").write_bytes(migrated.read_bytes())
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "PREFECT_HOME": str(tmp_path / "prefect")}


@pytest.mark.parametrize("told_by", ["the environment", "a profile"])
def test_nothing_is_made_where_both_servers_are_elsewhere(
    told_by: str, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    server = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    if told_by == "a profile":
        (tmp_path / "prefect").mkdir()
        profile = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{server.pop("PREFECT_API_URL")}"\n'
        (tmp_path / "prefect/profiles.toml").write_text(profile)
    with started(["status", "--json"], tmp_path / "home", elsewhere | server) as command:
        code, _, said = command.done()
    assert code == 0, said
    assert not (tmp_path / "home").exists()


def test_a_place_for_prefects_database_that_cannot_be_made_is_named(elsewhere: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for home in (tmp_path / "file", Path("/proc")):
        with started(["status"], home, elsewhere) as command:
            code, _, said = command.done()
        assert code == 2, said
        assert f"ramreel: cannot write to {home}/mlruns (" in said
        assert "set RAMREEL_HOME to a folder that can be, or PREFECT_API_URL to a server" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("what", ["a folder", "no database"])
def test_what_is_no_database_of_prefects_is_named(what: str, elsewhere: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "home/mlruns/prefect.db"
    file.parent.mkdir(parents=True)
    if what == "a folder":
        file.mkdir()
    else:
        file.write_text("something else")
    with started([*TRAIN], tmp_path / "home", elsewhere) as command:
        assert wait_until(lambda: command.over, 60), command.said()
        code, _, said = command.done()
    assert code == 2, said
    assert said.startswith(f"ramreel: cannot use {file}, Prefect's database (")
    assert said.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]


def test_up_wants_a_place_for_its_own_server_whichever_is_named(elsewhere: dict[str, str]) -> None:
    with started(["up"], Path("/proc"), elsewhere | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}) as command:
        code, _, said = command.done()
    assert (code, said.partition(" (")[0]) == (2, "ramreel: cannot write to /proc/mlruns")


def test_up_over_a_tracking_server_that_is_away_names_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run(["up"]) == 2
    assert "127.0.0.1:9" in capfd.readouterr().err
