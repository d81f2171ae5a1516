"""A command line is executed, or rejected in one line with nothing written."""

import json
from pathlib import Path

import pytest
from helpers.processes import error_lines, started, wait_until
from huggingface_hub import ModelCard
from stable_baselines3 import A2C

from flows.cli.app import run
from tasks.store import Store, StoreError

TRAIN = ["train", "ALE/Breakout-v5", "--approach", "a2c", "--n-envs", "2", "--steps", "1000"]


def last_line(capfd: pytest.CaptureFixture[str]) -> dict[str, object]:
    out = capfd.readouterr().out.splitlines()
    values = json.loads(out[-1])
    assert isinstance(values, dict)
    return values


def test_bare_command_prints_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    bare = capfd.readouterr()
    assert run(["--help"]) == 0
    assert (bare.out, bare.err) == (capfd.readouterr().out, "")
    assert "│ train " in bare.out


def test_commands_print_json(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*TRAIN, "--checkpoint-every", "512", "--json", "--name", "first"]) == 0
    trained = last_line(capfd)
    assert trained["steps"] == 1000
    assert trained["checkpoints"] == [520, 1000], "at the end of the rollout of 10 steps"
    assert trained["run_name"] == "first"
    assert trained["checkpoint_digest"] == store.list_checkpoints(str(trained["run_id"]))[-1].digest
    assert {"mean_return", "steps_per_second"} <= trained.keys()
    assert 0 < trained["pipeline_share"] < 1

    assert run(["record", "first", "--episodes", "2", "--checkpoint", "1000", "--json"]) == 0
    recorded = last_line(capfd)
    videos = recorded["videos"]
    assert isinstance(videos, list)
    assert recorded["failed"] == []
    assert videos[0].keys() >= {"step", "path", "episode", "frames", "return", "trace"}
    assert videos[0]["path"] == "videos/step-000001000.mp4"
    check_that_no_flow_is_needed(trained, videos, capfd)

    assert run(["verify", "latest", "--json"]) == 0
    proved = last_line(capfd)
    assert (proved["ok"], proved["first_difference"]) == (True, None)
    trace = store.fetch_artifact(str(trained["run_id"]), videos[0]["trace"], tmp_path)
    assert run(["verify", str(trace), "--json"]) == 0
    alone = last_line(capfd)
    assert alone["steps_checked"] == proved["steps_checked"]
    assert ([one["by_checkpoint"] for one in proved["videos"]], alone["videos"][0]["by_checkpoint"]) == ([True], False)
    assert run(["verify", str(trace)]) == 0
    assert "actions not checked (no checkpoint)" in capfd.readouterr().out

    check_hub_folder(tmp_path / "hub", videos[0], capfd)

    tampered = json.loads(trace.read_text())
    # A single action may change nothing: sticky actions may repeat the previous one instead.
    tampered["actions"][10:40] = [(action + 1) % 4 for action in tampered["actions"][10:40]]
    trace.write_text(json.dumps(tampered))
    assert run(["verify", str(trace), "--json"]) == 1
    disproved = last_line(capfd)
    assert disproved["ok"] is False
    assert isinstance(disproved["first_difference"], int)
    assert disproved["first_difference"] >= 11

    check_games(videos[0], capfd)


def check_that_no_flow_is_needed(
    trained: dict[str, object], videos: list[dict[str, object]], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for command in ("record", "train"):
            patch.delattr(f"flows.cli.commands.{command}.flow_session")
        assert run(["record", "first", "--checkpoint", "1000", "--json"]) == 0, "nothing to record needs no flow"
        assert last_line(capfd)["videos"] == videos
        assert run(["train", "--resume", "first", "--json"]) == 0, "nor does a finished run"
        assert last_line(capfd).items() >= {key: trained[key] for key in ("run_id", "steps", "checkpoints")}.items()


def check_hub_folder(folder: Path, video: dict[str, object], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "first", "--hub", str(folder), "--json"]) == 0
    assert last_line(capfd)["path"] == str(folder)
    assert {path.name for path in (folder).iterdir()} == {
        "README.md", "a2c-ale-breakout-v5.zip", "replay.mp4", "results.json",
    }  # fmt: skip
    card = ModelCard.load(folder / "README.md")
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.metric_type) == ("ALE/Breakout-v5", "mean_reward")
    assert result.metric_value.startswith(f"{video['mean_return']:.2f} +/- ")
    A2C.load(folder / "a2c-ale-breakout-v5.zip", device="cpu")


def check_games(video: dict[str, object], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["games", "pong", "--json"]) == 0
    games = last_line(capfd)["games"]
    assert isinstance(games, list)
    assert {game["env_id"] for game in games} >= {"ALE/Pong-v5", "Pong-v0", "PongNoFrameskip-v4"}
    assert {tuple(game["actions"]) for game in games} == {("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")}
    assert {(game["random_score"], game["human_score"]) for game in games} == {(-20.7, 14.6)}
    assert run(["games", "ALE/Breakout-v5", "--json"]) == 0
    (game,) = last_line(capfd)["games"]  # type: ignore[misc]
    assert (game["runs"], game["best_mean_return"]) == (1, video["mean_return"])


def test_failed_videos_are_in_the_json_object(
    store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run([*TRAIN, "--quiet"]) == 0
    capfd.readouterr()
    broken = tmp_path / "ffmpeg"
    broken.write_text('#!/bin/sh\n[ "$1" = -version ] && echo ffmpeg version 7.0 && exit\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    assert run(["record", "latest", "--episodes", "1", "--json"]) == 1
    printed = capfd.readouterr()
    (line,) = printed.out.splitlines()
    values = json.loads(line)
    assert [failed["step"] for failed in values["failed"]] == [1000]
    assert values["videos"] == []
    assert "1 of 1 video failed" in values["error"]
    assert "ramreel: 1 of 1 video failed" in printed.err


def test_resuming_a_user_defined_approach_does_not_need_its_file(
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


def test_settings_files_with_different_n_timesteps_are_rejected(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, steps in (("one", 512), ("other", 1024)):
        (tmp_path / f"{name}.toml").write_text(f'approach = "ppo"\nn_timesteps = {steps}')
    files = [word for name in ("one", "other") for word in ("--settings", str(tmp_path / f"{name}.toml"))]
    assert run(["pipeline", "ALE/Breakout-v5", *files]) == 2
    assert "different n_timesteps, [512, 1024]: choose one with --steps" in capfd.readouterr().err


def test_results_go_to_standard_output_and_progress_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(TRAIN) == 0
    printed = capfd.readouterr()
    assert "trained a2c seed 0" in printed.out
    assert "1,000 of 1,000 steps" in printed.err
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
        (["train", "--resume", "latest", "--settings", "nosuch.toml"], "leave out --settings"),
        (["pipeline", "ALE/Pong-v5", "--settings", "nosuch.toml"], "nosuch.toml cannot be read"),
        (["games", "qwertz"], "qwertz"),
        (["benchmark", "--approach", "random"], "--approach: random is not trained by PPO"),
        (["benchmark", "--env", "CartPole-v1"], "no Atari RAM"),
        (["benchmark", "--steps", "7", "--workers", "1"], "at least 8 are required"),
        (["train", "--resume", "latest", "--seed", "3"], "leave out --seed"),
        (["train", "--resume", "nosuch"], "no run"),
        (["train", "--approach", "ppo"], "environment id"),
        (["up", "--prefect-port", "0"], "port"),
    ],
)
def test_invalid_input_is_one_line_with_exit_code_2_and_nothing_is_written(
    arguments: list[str], hint: str, home: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path for path in home.rglob("*") if not path.name.startswith("mlflow.db")}
    assert run([*arguments]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert error_lines(printed.err)[0].startswith("ramreel: ")
    assert len(error_lines(printed.err)) == 1
    assert hint in printed.err
    assert {path for path in home.rglob("*") if not path.name.startswith("mlflow.db")} == before
    with pytest.raises(StoreError, match="no training run"):
        store.resolve_run("latest")


def test_run_without_checkpoints_cannot_be_recorded(
    store: Store, settings: object, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = store.start_run(settings, name="empty", command="", versions={}, commit=None)  # type: ignore[arg-type]
    assert run(["record", run_id]) == 2
    assert "has no checkpoint: `ramreel train ENV`" in capfd.readouterr().err


def test_unwritable_home_is_named(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RAMREEL_HOME", "/proc/nowhere")
    assert run(["train", "ALE/Pong-v5"]) == 2
    printed = capfd.readouterr().err
    assert "cannot write to /proc" in printed
    assert len(error_lines(printed)) == 1


@pytest.fixture
def elsewhere(tmp_path: Path, migrated: Path) -> dict[str, str]:
    """Environment with a tracking URI outside the home, and without Prefect settings."""
    (tmp_path / "mlflow.db").write_bytes(migrated.read_bytes())
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "PREFECT_HOME": str(tmp_path / "prefect")}


@pytest.mark.parametrize("source", ["the environment", "a profile"])
def test_home_is_not_created_when_both_servers_are_elsewhere(
    source: str, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    server = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    if source == "a profile":
        (tmp_path / "prefect").mkdir()
        profile = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{server.pop("PREFECT_API_URL")}"\n'
        (tmp_path / "prefect/profiles.toml").write_text(profile)
    with started(["status", "--json"], tmp_path / "home", elsewhere | server) as command:
        code, _, errors = command.wait()
    assert code == 0, errors
    assert not (tmp_path / "home").exists()


def test_unwritable_folder_of_prefects_database_is_named(elsewhere: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for home in (tmp_path / "file", Path("/proc")):
        with started(["notify"], home, elsewhere) as command:
            code, _, errors = command.wait()
        assert code == 2, errors
        assert f"ramreel: Cannot write to {home}/mlruns (" in errors
        assert "set RAMREEL_HOME to a writable folder, or PREFECT_API_URL to a server" in errors
        assert len(error_lines(errors)) == 1


@pytest.mark.parametrize("kind", ["folder", "text file"])
def test_invalid_prefect_database_is_named(kind: str, elsewhere: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "home/mlruns/prefect.db"
    file.parent.mkdir(parents=True)
    if kind == "folder":
        file.mkdir()
    else:
        file.write_text("something else")
    with started([*TRAIN], tmp_path / "home", elsewhere) as command:
        assert wait_until(lambda: command.exited, 60), command.output()
        code, _, errors = command.wait()
    assert code == 2, errors
    assert error_lines(errors)[0].startswith(f"ramreel: Cannot use {file}, Prefect's database (")
    assert len(error_lines(errors)) == 1
    assert list(file.parent.iterdir()) == [file]


def test_up_needs_a_folder_for_its_own_server_even_if_another_one_is_set(elsewhere: dict[str, str]) -> None:
    with started(["up"], Path("/proc"), elsewhere | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}) as command:
        code, _, errors = command.wait()
    assert (code, error_lines(errors)[0].partition(" (")[0]) == (2, "ramreel: Cannot write to /proc/mlruns")


def test_up_names_an_unavailable_tracking_server(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run(["up"]) == 2
    assert "127.0.0.1:9" in capfd.readouterr().err
