"""What the store hands out, how it names artifacts, and the one error it raises."""

from __future__ import annotations

import functools
import json
import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict

from tasks.arcade.errors import RamreelError
from tasks.arcade.external_runs import ForeignRun
from tasks.arcade.settings.run import RunSettings

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_STEP_NAME = re.compile(r"step-(?P<step>\d{9,11})")
_EPISODE_NAME = re.compile(r"episode-\d{2,5}")
_EVALUATION_NAME = re.compile(r"step-(?P<step>\d{9,11})\.json")
_PASSWORDS = re.compile(r"(?<=//)[^/\s]*@|(?<=[?&])password=[^&\s]*&?", re.IGNORECASE)


class StoreError(RamreelError):
    """The store cannot do what it was asked; the message is one line: what is wrong, what would be right."""


class StoredRun(BaseModel):
    """One MLflow run.

    Attributes:
        status: MLflow's word: RUNNING, FINISHED, FAILED, KILLED or SCHEDULED.
        kind: training, comparison, ...; none for a run that ramreel did not make.
        metrics: the latest value of each.
        settings: of a training run, and of an imported one that can be played; none for others.
        foreign: what is known of an imported run; none for others.
        start_ms: milliseconds since 1970, UTC.
        end_ms: likewise; none while the run is under way.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    name: str
    experiment: str
    status: str
    kind: str | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    settings: RunSettings | None
    foreign: ForeignRun | None = None
    start_ms: int
    end_ms: int | None

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what decided its results, by package."""
        prefix = "ramreel.version."
        return {key.removeprefix(prefix): value for key, value in self.tags.items() if key.startswith(prefix)}


class StoredCheckpoint(BaseModel):
    """A whole checkpoint in the store: one logged model of MLflow.

    Attributes:
        step: steps of training behind it.
        model_id: MLflow's id of the logged model.
        digest: SHA-256 of its manifest, in hex: the checkpoint's name in traces.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    step: int
    model_id: str
    digest: str


class Video(BaseModel):
    """A video with its trace, as artifact paths within the run."""

    model_config = ConfigDict(frozen=True)

    step: int
    mp4: str
    trace: str


def step_name(step: int) -> str:
    """`step-000250000`: sorts as text the way the steps sort as numbers, up to 10**9."""
    return f"step-{step:09d}"


def pair_videos(paths: list[str]) -> dict[int, Video]:
    """Videos among artifact paths, by step in rising order: only those whose MP4 and trace are both there."""
    found: dict[int, Video] = {}
    for name, parts in _by_name(paths).items():
        match = _STEP_NAME.fullmatch(name)
        if match and {"mp4", "trace.json"} <= parts.keys():
            step = int(match["step"])
            found[step] = Video(step=step, mp4=parts["mp4"], trace=parts["trace.json"])
    return dict(sorted(found.items()))


def pair_episodes(step: int, paths: list[str]) -> list[Video]:
    """Videos of single episodes of one checkpoint among artifact paths, by name."""
    return [
        Video(step=step, mp4=parts["mp4"], trace=parts["trace.json"])
        for name, parts in sorted(_by_name(paths).items())
        if _EPISODE_NAME.fullmatch(name) and {"mp4", "trace.json"} <= parts.keys()
    ]


def _by_name(paths: list[str]) -> dict[str, dict[str, str]]:
    """`{"step-000250000": {"mp4": path, "trace.json": path}}`."""
    found: dict[str, dict[str, str]] = {}
    for path in paths:
        name, _, ending = PurePosixPath(path).name.partition(".")
        found.setdefault(name, {})[ending] = safe_path(path)
    return found


def evaluated_steps(paths: list[str]) -> tuple[int, ...]:
    """Steps in the names of evaluations among artifact paths, in rising order."""
    names = (_EVALUATION_NAME.fullmatch(PurePosixPath(path).name) for path in paths)
    return tuple(sorted(int(match["step"]) for match in names if match))


def safe_path(path: str) -> str:
    """The path itself, if it stays within a run's artifacts.

    Raises:
        StoreError: it is absolute, an address, or leads upwards.
    """
    parts = path.split("/")
    if "\\" in path or ":" in path or any(part in ("", ".", "..") for part in parts):
        raise StoreError(f"{path!r} is not an artifact's path: it must be relative and stay within the run")
    return path


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as flat parameters: `{"approach": {"n_envs": 8}}` is `{"approach.n_envs": "8"}`.

    Lists are JSON, everything else is as `str` has it.
    """
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat


def one_line(error: BaseException) -> str:
    """An error's text on one line of bearable length, without the passwords that an address may hold."""
    text = without_passwords(str(error) or type(error).__name__)
    return textwrap.shorten(text, width=400, placeholder=" ...")


def without_passwords(text: str) -> str:
    """A text as it may be kept and shown: the addresses in it without who may enter, and by which word."""
    return _PASSWORDS.sub("", text)


def told_in_one_line(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn what MLflow and the operating system raise into a `StoreError` of one line."""

    @functools.wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except StoreError:
            raise
        except Exception as error:
            from mlflow.exceptions import MlflowException

            if isinstance(error, MlflowException | OSError):
                # Prefect logs what is behind an error too, and MLflow's own words hold the address with its password.
                raise StoreError(f"the store failed: {one_line(error)}") from None
            raise

    return wrapper
