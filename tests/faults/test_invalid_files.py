"""Invalid parameters of flows, as in a deployment, are refused before anything is stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.invalid_input import json_numbers, json_texts, json_values, many_examples
from hypothesis import given
from hypothesis import strategies as st
from prefect import Flow
from prefect.exceptions import ParameterTypeError, SignatureMismatchError
from pydantic import ValidationError

from flows.atlas import atlas
from flows.compare import compare
from flows.decode import decode
from flows.follow_up import follow_up
from flows.guard import guard
from flows.learning_benchmark import learning
from flows.pipeline import pipeline, train_settings
from flows.record import record
from flows.reel import reel
from flows.retrain import retrain
from flows.sweep import sweep
from flows.train import resume, train
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, resolve
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.settings.approaches import UnknownApproachError
from tasks.arcade.settings.base import Settings
from tasks.arcade.tuning.search_space import SweepError, searched_parameters
from tasks.champion import require_champion
from tasks.runs.comparability import select_runs
from tasks.runs.reel_selection import select_checkpoints
from tasks.store import Store, StoreError

FLOWS: dict[str, tuple[Flow[..., Any], dict[str, Any], Callable[[Store, Any], object]]] = {
    "train": (train, {"env_id": "ALE/Pong-v5"}, lambda store, given: run_settings(given)),
    "pipeline": (
        pipeline,
        {"env_id": "ALE/Pong-v5", "approaches": ["ppo"]},
        lambda store, given: [
            run_settings(train_settings(given, approach, seed)) for approach in given.approaches for seed in given.seeds
        ],
    ),
    "learning": (
        learning,
        {"env_ids": ["ALE/Pong-v5"], "approaches": ["ppo"], "seeds": [1]},
        lambda store, given: [
            run_settings(TrainSettings(env_id=env_id, approach=approach, seed=seed))
            for env_id in given.env_ids
            for approach in given.approaches
            for seed in given.seeds
        ],
    ),
    "resume": (resume, {"run": "latest"}, lambda store, given: store.resolve_run(given.run)),
    "record": (record, {"run": "latest"}, lambda store, given: store.resolve_run(given.run)),
    "follow-up": (follow_up, {"run": "latest"}, lambda store, given: store.resolve_run(given.run)),
    "compare": (
        compare,
        {"runs": ["latest"]},
        lambda store, given: select_runs(store, given.runs, given.against),
    ),
    "reel": (reel, {"runs": ["latest"]}, lambda store, given: select_checkpoints(store, given.runs)),
    "sweep": (
        sweep,
        {"env_id": "ALE/Pong-v5"},
        lambda store, given: (resolve(given.env_id), searched_parameters(given)),
    ),
    "atlas": (atlas, {"env_id": "ALE/Pong-v5"}, lambda store, given: resolve(given.env_id)),
    "decode": (decode, {"env_id": "ALE/Pong-v5"}, lambda store, given: resolve(given.env_id)),
    "guard": (guard, {"env_id": "ALE/Pong-v5"}, lambda store, given: require_champion(store, given.env_id or "x")),
    "retrain": (retrain, {"env_id": "ALE/Pong-v5"}, lambda store, given: require_champion(store, given.env_id)),
}
"""Each flow, its required parameters, and what it validates before anything is stored."""


@pytest.fixture
def unchanged_database(home: Path, store: Store) -> Iterator[Callable[[], bool]]:
    store.runs_named("x")
    with closing(sqlite3.connect(home / "mlruns/mlflow.db")) as watch:
        version = watch.execute("PRAGMA data_version").fetchone()
        yield lambda: bool(watch.execute("PRAGMA data_version").fetchone() == version)


REPLACEMENTS = st.one_of(
    json_values, json_numbers, json_texts, st.lists(json_numbers, max_size=3), st.lists(json_texts, max_size=3)
)


@many_examples
@given(data=st.data())
@pytest.mark.parametrize("name", FLOWS)
def test_invalid_parameters_are_refused_before_anything_is_stored(
    name: str, data: st.DataObject, store: Store, unchanged_database: Callable[[], bool]
) -> None:
    flow, required, validate = FLOWS[name]
    kind: type[Settings] = flow.fn.__annotations__["settings"]
    kind = kind if isinstance(kind, type) else vars(__import__(flow.fn.__module__, fromlist=["x"]))[kind]
    fields = st.sampled_from([*kind.model_fields, "unknown"])
    invalid = data.draw(st.dictionaries(fields, REPLACEMENTS, min_size=1, max_size=3), label="invalid")
    given = data.draw(st.sampled_from([{"settings": required | invalid}, {"settings": invalid}, invalid]))
    try:
        parameters_given = flow.validate_parameters(given)["settings"]
    except (ParameterTypeError, SignatureMismatchError) as error:
        assert "settings" in str(error)
        return
    try:
        validate(store, parameters_given)
    except (UnknownEnvironmentError, UnknownApproachError, SweepError, StoreError) as error:
        assert "\n" not in str(error)
    except ValidationError as error:
        pytest.fail(f"not refused by validate_parameters: {error}")
    assert unchanged_database()


@pytest.mark.parametrize("name", ["pipeline", "learning"])
@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, "x"])
def test_invalid_seed_among_several_is_refused(name: str, seed: object) -> None:
    flow, required, _ = FLOWS[name]
    with pytest.raises(ParameterTypeError, match="seeds"):
        flow.validate_parameters({"settings": required | {"seeds": [0, seed]}})


@pytest.mark.parametrize("field", ["name", "experiment"])
@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202egnp.exe", "\0", " ", ""])
def test_unprintable_name_is_refused(field: str, name: str) -> None:
    with pytest.raises(ParameterTypeError, match=field):
        train.validate_parameters({"settings": {"env_id": "ALE/Pong-v5", field: name}})


def test_any_printable_name_is_valid() -> None:
    for name in ("../x", "$(touch x)", "<b>", "ポン", "👩‍💻", "a 'b' \"c\"", "[/]"):
        given = train.validate_parameters({"settings": {"env_id": "ALE/Pong-v5", "name": name}})["settings"]
        assert given.name == name
