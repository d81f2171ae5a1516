"""Sweeps propose trials that can be trained, prune bad ones, and resume after any interruption."""

from __future__ import annotations

import threading
import tomllib
from pathlib import Path

import pytest

from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.inputs.settings_file import read_settings_file
from tasks.arcade.report.sweep_page import render_sweep_html
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.approaches import UnknownApproachError, approach
from tasks.arcade.tuning.search_space import SEARCH_SPACE, SweepError, searched_parameters
from tasks.arcade.tuning.study import PRUNING_CHECKS, open_study, settings_toml

SETTINGS = SweepSettings(env_id="ALE/Pong-v5", approach="ppo-tuned", trials=12, steps=1000, seed=1)


def sqlite(file: Path) -> str:
    return f"sqlite:///{file}"


def test_sweep_proposes_prunes_and_resumes_trials(tmp_path: Path) -> None:
    file = sqlite(tmp_path / "optuna.db")
    with open_study(file, SETTINGS) as study:
        study.run_id = "r" * 32
        for number in range(7):
            trial = study.ask()
            assert trial is not None
            assert (trial.number, trial.approach.name) == (number, f"ppo-tuned-trial-{number}")
            assert set(trial.params) == set(SEARCH_SPACE)
            algorithm = trial.approach.algorithm
            assert isinstance(algorithm, PpoSettings)
            assert algorithm.learning_rate == trial.params["learning_rate"], "a schedule, as the approach's own"
            assert str(algorithm.learning_rate).startswith("lin_")
            assert algorithm.batch_size <= algorithm.n_steps * trial.approach.n_envs
            study.set_trial_run(f"{number}" * 32)
            # All increase except the last two: one is pruned, in the other no episode ends.
            level = {5: -9.0, 6: None}.get(number, float(number))
            stopped = [step for step in range(25, 1025, 25) if study.should_prune(step, level)]
            assert bool(stopped) == (number == 5)
            assert all(step % (1000 // PRUNING_CHECKS) == 0 and step >= 250 for step in stopped)
            study.tell(stopped[0] if stopped else 1000, level)
        interrupted = study.ask()
        assert interrupted is not None
    with open_study(file, SETTINGS) as study:
        assert study.run_id == "r" * 32
        again = study.ask()
        assert again is not None
        assert again.params == interrupted.params, "an interrupted trial is repeated"
        study.tell(1000, 50.0)
        rows = study.rows()
        assert [(row.number, row.state) for row in rows[:2]] == [(again.number, "complete"), (4, "complete")]
        assert {row.number: row.state for row in rows if row.state != "complete"} == {
            5: "pruned",
            6: "failed",
            interrupted.number: "failed",
        }
        assert [row.value for row in rows if row.number == 5] == [-9.0]
        titles = [title for title, _, _ in study.figures()]
        assert titles == [
            "Optimization history",
            "Learning curves",
            "Slices",
            "Parallel coordinates",
            "Hyperparameter importance",
        ]
        page = render_sweep_html(SETTINGS, rows, study.figures(), "ramreel sweep ALE/Pong-v5")
    assert page.count('class="chart"') == 5
    drawn = page.split("</script>", 1)[1]
    assert drawn.count('"mean return"') >= 4
    for theirs in ("Objective Value", "Intermediate Value", "Best Value", '"showscale":true'):
        assert theirs not in drawn
    assert "Best of 9 trials: mean return 50.0" in page
    assert "src=" not in page.split("</script>")[-1], "nothing is loaded"
    (tmp_path / "best.toml").write_text(settings_toml(SETTINGS, rows[0]))
    own = read_settings_file(tmp_path / "best.toml")
    assert own.approach.algorithm == again.approach.algorithm
    assert own.n_timesteps == 1000


def test_processes_that_train_at_the_same_time_propose_different_trials(tmp_path: Path) -> None:
    file = sqlite(tmp_path / "optuna.db")
    with open_study(file, SETTINGS) as one, open_study(file, SETTINGS) as other:
        assert one.n_missing() == SETTINGS.trials
        proposed = [study.ask() for study in (one, other)]
        assert [trial.number for trial in proposed if trial] == [0, 1]
        assert len({str(trial.params) for trial in proposed if trial}) == 2
        for study in (one, other):
            study.tell(1000, 1.0)
        assert one.n_missing() == SETTINGS.trials - 2
        third = one.ask()
    # As a sweep that was interrupted proposes, and one that was not.
    with open_study(sqlite(tmp_path / "again.db"), SETTINGS) as study:
        for _ in range(2):
            assert study.ask()
            study.tell(1000, 1.0)
        again = study.ask()
    assert third
    assert again
    assert third.params == again.params


def test_sweep_ends_after_the_requested_number_of_trials(tmp_path: Path) -> None:
    two = SETTINGS.model_copy(update={"trials": 2, "parameters": ("gamma",)})
    with open_study(sqlite(tmp_path / "optuna.db"), two) as study:
        for _ in range(2):
            trial = study.ask()
            assert trial is not None
            assert trial.params.keys() == {"gamma"}
            assert trial.approach.algorithm.model_dump(exclude={"gamma"}) == approach("ppo-tuned").algorithm.model_dump(
                exclude={"gamma"}
            )
            study.tell(1000, 1.0)
        assert study.ask() is None
        assert study.figures() == (), "equal trials have no figures"
        assert "mean return 1.0" in render_sweep_html(two, study.rows(), (), "ramreel sweep")
        assert tomllib.loads(settings_toml(two, study.rows()[0])).keys() == {"approach", "n_timesteps", "gamma"}
    with open_study(sqlite(tmp_path / "optuna.db"), two.model_copy(update={"trials": 3})) as study:
        assert study.ask() is not None
    with (
        pytest.raises(SweepError, match=r"other settings \(steps is 2000, was 1000\): choose another --name"),
        open_study(sqlite(tmp_path / "optuna.db"), two.model_copy(update={"steps": 2000})),
    ):
        pass


def test_trials_without_a_finished_episode_count(tmp_path: Path) -> None:
    three = SETTINGS.model_copy(update={"trials": 3})
    with open_study(sqlite(tmp_path / "optuna.db"), three) as study:
        for _ in range(3):
            assert study.ask() is not None
            study.tell(1000, None)
        assert study.ask() is None
        assert {row.state for row in study.rows()} == {"failed"}


def test_failed_trial_is_not_repeated(tmp_path: Path) -> None:
    two = SETTINGS.model_copy(update={"trials": 2})
    with open_study(sqlite(tmp_path / "optuna.db"), two) as study:
        raised = study.ask()
        study.tell_failed()
    with open_study(sqlite(tmp_path / "optuna.db"), two) as study:
        another = study.ask()
    assert raised is not None
    assert another is not None
    assert another.params != raised.params
    assert another.number == 1


def test_unsearchable_parameter_is_named() -> None:
    with pytest.raises(SweepError, match="random does not learn"):
        searched_parameters(SETTINGS.model_copy(update={"approach": "random"}))
    with pytest.raises(SweepError, match="Did you mean 'learning_rate'"):
        searched_parameters(SETTINGS.model_copy(update={"parameters": ("learning_rte",)}))
    with pytest.raises(SweepError, match="batch_size is not in the search space of a2c"):
        searched_parameters(SETTINGS.model_copy(update={"approach": "a2c", "parameters": ("batch_size",)}))
    with pytest.raises(UnknownApproachError):
        searched_parameters(SETTINGS.model_copy(update={"approach": "nosuch"}))
    assert searched_parameters(SETTINGS) == tuple(SEARCH_SPACE)


def _start_two(file: Path, names: tuple[str, str]) -> tuple[str | None, str | None]:
    """Start two sweeps in threads at the same time; returns their run ids."""
    both, found = threading.Barrier(2), dict[str, str | None]()

    def start(name: str) -> None:
        both.wait()
        with open_study(sqlite(file), SETTINGS.model_copy(update={"name": name})) as study:
            with study.lock():
                study.run_id = study.run_id or f"run of {threading.get_ident()}"
            found[threading.current_thread().name] = study.run_id

    threads = [threading.Thread(target=start, args=(name,), name=str(at)) for at, name in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found.get("0"), found.get("1")


def test_concurrent_sweeps_of_one_name_share_a_run(tmp_path: Path) -> None:
    for number in range(5):
        one, other = _start_two(tmp_path / f"{number}.db", ("one", "other"))
        assert one and other and one != other
    for number in range(5, 10):
        one, other = _start_two(tmp_path / f"{number}.db", ("one", "one"))
        assert one and one == other
