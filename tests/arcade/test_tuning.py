"""A search is Optuna's: it proposes what can be trained, stops what is should_prune, and goes on after any end."""

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
from tasks.arcade.tuning import LOOKS, SPACE, SweepError, as_toml, opened, parameters

SETTINGS = SweepSettings(env_id="ALE/Pong-v5", approach="ppo-tuned", trials=12, steps=1000, seed=1)


def test_trials_are_proposed_judged_and_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    with opened(file, SETTINGS) as search:
        search.run_id = "r" * 32
        for number in range(7):
            chosen = search.next()
            assert chosen is not None
            assert (chosen.number, chosen.approach.name) == (number, f"ppo-tuned-trial-{number}")
            assert set(chosen.given) == set(SPACE)
            algorithm = chosen.approach.algorithm
            assert isinstance(algorithm, PpoSettings)
            assert algorithm.learning_rate == chosen.given["learning_rate"], "a schedule, as the approach's own"
            assert str(algorithm.learning_rate).startswith("lin_")
            assert algorithm.batch_size <= algorithm.n_steps * chosen.approach.n_envs
            search.began(f"{number}" * 32)
            # All alike but the last two: one is should_prune, the other falls silent.
            level = {5: -9.0, 6: None}.get(number, float(number))
            stopped = [step for step in range(25, 1025, 25) if search.should_prune(step, level)]
            assert bool(stopped) == (number == 5)
            assert all(step % (1000 // LOOKS) == 0 and step >= 250 for step in stopped)
            search.ended(stopped[0] if stopped else 1000, level)
        interrupted = search.next()
        assert interrupted is not None
    with opened(file, SETTINGS) as search:
        assert search.run_id == "r" * 32
        again = search.next()
        assert again is not None
        assert again.given == interrupted.given, "what was killed is tried again"
        search.ended(1000, 50.0)
        rows = search.rows()
        assert [(row.number, row.state) for row in rows[:2]] == [(again.number, "complete"), (4, "complete")]
        assert {row.number: row.state for row in rows if row.state != "complete"} == {
            5: "pruned",
            6: "failed",
            interrupted.number: "failed",
        }
        assert [row.value for row in rows if row.number == 5] == [-9.0]
        titles = [title for title, _, _ in search.figures()]
        assert titles == [
            "Optimization history",
            "Learning curves",
            "Slices",
            "Parallel coordinates",
            "Hyperparameter importance",
        ]
        page = render_sweep_html(SETTINGS, rows, search.figures(), "ramreel sweep ALE/Pong-v5")
    assert page.count('class="chart"') == 5
    drawn = page.split("</script>", 1)[1]
    assert drawn.count('"mean return"') >= 4
    for theirs in ("Objective Value", "Intermediate Value", "Best Value", '"showscale":true'):
        assert theirs not in drawn
    assert "Best of 9 trials: mean return 50.0" in page
    assert "src=" not in page.split("</script>")[-1], "nothing is loaded"
    (tmp_path / "best.toml").write_text(as_toml(SETTINGS, rows[0]))
    own = read_settings_file(tmp_path / "best.toml")
    assert own.approach.algorithm == again.approach.algorithm
    assert own.n_timesteps == 1000


def test_a_search_ends_with_as_many_trials_as_were_asked_for(tmp_path: Path) -> None:
    two = SETTINGS.model_copy(update={"trials": 2, "parameters": ("gamma",)})
    with opened(tmp_path / "optuna.db", two) as search:
        for _ in range(2):
            chosen = search.next()
            assert chosen is not None
            assert chosen.given.keys() == {"gamma"}
            assert chosen.approach.algorithm.model_dump(exclude={"gamma"}) == approach(
                "ppo-tuned"
            ).algorithm.model_dump(exclude={"gamma"})
            search.ended(1000, 1.0)
        assert search.next() is None
        assert search.figures() == (), "equal trials say nothing"
        assert "mean return 1.0" in render_sweep_html(two, search.rows(), (), "ramreel sweep")
        assert tomllib.loads(as_toml(two, search.rows()[0])).keys() == {"approach", "n_timesteps", "gamma"}
    with opened(tmp_path / "optuna.db", two.model_copy(update={"trials": 3})) as search:
        assert search.next() is not None
    with (
        pytest.raises(SweepError, match="is there already, and steps is 2000 and was 1000: --name begins another one"),
        opened(tmp_path / "optuna.db", two.model_copy(update={"steps": 2000})),
    ):
        pass


def test_trials_in_which_no_episode_ends_are_trials_like_others(tmp_path: Path) -> None:
    three = SETTINGS.model_copy(update={"trials": 3})
    with opened(tmp_path / "optuna.db", three) as search:
        for _ in range(3):
            assert search.next() is not None
            search.ended(1000, None)
        assert search.next() is None
        assert {row.state for row in search.rows()} == {"failed"}


def test_a_trial_that_raised_is_not_tried_again(tmp_path: Path) -> None:
    two = SETTINGS.model_copy(update={"trials": 2})
    with opened(tmp_path / "optuna.db", two) as search:
        raised = search.next()
        search.raised()
    with opened(tmp_path / "optuna.db", two) as search:
        another = search.next()
    assert raised is not None
    assert another is not None
    assert another.given != raised.given
    assert another.number == 1


def test_what_cannot_be_searched_for_is_named() -> None:
    with pytest.raises(SweepError, match="random learns nothing"):
        parameters(SETTINGS.model_copy(update={"approach": "random"}))
    with pytest.raises(SweepError, match="Did you mean 'learning_rate'"):
        parameters(SETTINGS.model_copy(update={"parameters": ("learning_rte",)}))
    with pytest.raises(SweepError, match="batch_size cannot be searched for in a2c"):
        parameters(SETTINGS.model_copy(update={"approach": "a2c", "parameters": ("batch_size",)}))
    with pytest.raises(UnknownApproachError):
        parameters(SETTINGS.model_copy(update={"approach": "nosuch"}))
    assert parameters(SETTINGS) == tuple(SPACE)


def _begin(file: Path, names: tuple[str, str]) -> tuple[str | None, str | None]:
    """Two sweeps at once in threads of a process, and the runs that they have."""
    both, found = threading.Barrier(2), dict[str, str | None]()

    def begin(name: str) -> None:
        both.wait()
        with opened(file, SETTINGS.model_copy(update={"name": name})) as search:
            with search.alone:
                search.run_id = search.run_id or f"run of {threading.get_ident()}"
            found[threading.current_thread().name] = search.run_id

    threads = [threading.Thread(target=begin, args=(name,), name=str(at)) for at, name in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found.get("0"), found.get("1")


def test_sweeps_that_begin_at_once_do_not_fail_and_two_of_one_name_have_one_run(tmp_path: Path) -> None:
    for number in range(5):
        one, other = _begin(tmp_path / f"{number}.db", ("one", "other"))
        assert one and other and one != other
    for number in range(5, 10):
        one, other = _begin(tmp_path / f"{number}.db", ("one", "one"))
        assert one and one == other
