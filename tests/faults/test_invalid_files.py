"""Nonsense in the parameters of flows, as a deployment may be given it: refused before anything is stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.invalid_input import many, numbers, texts, values
from hypothesis import given
from hypothesis import strategies as st
from prefect import Flow
from prefect.exceptions import ParameterTypeError, SignatureMismatchError
from pydantic import ValidationError

from flows.atlas import atlas
from flows.compare import compare
from flows.follow_up import follow_up
from flows.guard import guard
from flows.learning_benchmark import learning
from flows.pipeline import pipeline, training
from flows.record import record
from flows.reel import reel
from flows.retrain import retrain
from flows.sweep import sweep
from flows.train import resume, train
from tasks.arcade.emulator.emulator import UnknownGameError, resolve
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.settings.approaches import UnknownApproachError
from tasks.arcade.settings.base import Settings
from tasks.arcade.tuning import SweepError, parameters
from tasks.champion import crowned
from tasks.runs.comparability import contenders
from tasks.runs.reel_cast import find_cast
from tasks.store import Store, StoreError

FIRST: dict[str, tuple[Flow[..., Any], dict[str, Any], Callable[[Store, Any], object]]] = {
    "train": (train, {"env_id": "ALE/Pong-v5"}, lambda store, given: run_settings(given)),
    "pipeline": (
        pipeline,
        {"env_id": "ALE/Pong-v5", "approaches": ["ppo"]},
        lambda store, given: [
            run_settings(training(given, approach, seed)) for approach in given.approaches for seed in given.seeds
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
        lambda store, given: contenders(store, given.runs, given.against),
    ),
    "reel": (reel, {"runs": ["latest"]}, lambda store, given: find_cast(store, given.runs)),
    "sweep": (sweep, {"env_id": "ALE/Pong-v5"}, lambda store, given: (resolve(given.env_id), parameters(given))),
    "atlas": (atlas, {"env_id": "ALE/Pong-v5"}, lambda store, given: resolve(given.env_id)),
    "guard": (guard, {"env_id": "ALE/Pong-v5"}, lambda store, given: crowned(store, given.env_id or "x")),
    "retrain": (retrain, {"env_id": "ALE/Pong-v5"}, lambda store, given: crowned(store, given.env_id)),
}
"""Each flow, what it has to be given, and what it asks first: before anything is stored."""


@pytest.fixture
def untouched(home: Path, store: Store) -> Iterator[Callable[[], bool]]:
    store.runs_named("x")
    with closing(sqlite3.connect(home / "mlruns/mlflow.db")) as watch:
        version = watch.execute("PRAGMA data_version").fetchone()
        yield lambda: bool(watch.execute("PRAGMA data_version").fetchone() == version)


PLAUSIBLE = st.one_of(values, numbers, texts, st.lists(numbers, max_size=3), st.lists(texts, max_size=3))


@many
@given(data=st.data())
@pytest.mark.parametrize("name", FIRST)
def test_it_is_refused_before_anything_is_stored(
    name: str, data: st.DataObject, store: Store, untouched: Callable[[], bool]
) -> None:
    flow, needed, first = FIRST[name]
    kind: type[Settings] = flow.fn.__annotations__["settings"]
    kind = kind if isinstance(kind, type) else vars(__import__(flow.fn.__module__, fromlist=["x"]))[kind]
    fields = st.sampled_from([*kind.model_fields, "nonsense"])
    nonsense = data.draw(st.dictionaries(fields, PLAUSIBLE, min_size=1, max_size=3), label="nonsense")
    given = data.draw(st.sampled_from([{"settings": needed | nonsense}, {"settings": nonsense}, nonsense]))
    try:
        asked = flow.validate_parameters(given)["settings"]
    except (ParameterTypeError, SignatureMismatchError) as error:
        assert "settings" in str(error)
        return
    try:
        first(store, asked)
    except (UnknownGameError, UnknownApproachError, SweepError, StoreError) as error:
        assert "\n" not in str(error)
    except ValidationError as error:
        pytest.fail(f"found too late: {error}")
    assert untouched()


@pytest.mark.parametrize("name", ["pipeline", "learning"])
@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, "x"])
def test_a_seed_that_is_none_is_refused_before_the_first_training_is_over(name: str, seed: object) -> None:
    flow, needed, _ = FIRST[name]
    with pytest.raises(ParameterTypeError, match="seeds"):
        flow.validate_parameters({"settings": needed | {"seeds": [0, seed]}})


@pytest.mark.parametrize("field", ["name", "experiment"])
@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202egnp.exe", "\0", " ", ""])
def test_a_name_that_cannot_be_seen_is_none(field: str, name: str) -> None:
    with pytest.raises(ParameterTypeError, match=field):
        train.validate_parameters({"settings": {"env_id": "ALE/Pong-v5", field: name}})


def test_a_name_may_be_anything_that_can_be_seen() -> None:
    for name in ("../x", "$(touch x)", "<b>", "ポン", "👩‍💻", "a 'b' \"c\"", "[/]"):
        given = train.validate_parameters({"settings": {"env_id": "ALE/Pong-v5", "name": name}})["settings"]
        assert given.name == name
