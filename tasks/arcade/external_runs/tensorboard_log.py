"""Reader of TensorBoard event files of Stable-Baselines3 and CleanRL; the only module that imports tensorboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tasks.arcade.external_runs.curves import downsample_curve
from tasks.arcade.external_runs.runs import (
    Declared,
    Episodes,
    ExternalRunError,
    RawLog,
    Source,
    printable_path,
    require_finite,
)

_SB3_TAGS = ("rollout/ep_rew_mean", "rollout/ep_len_mean", "eval/mean_reward", "eval/mean_ep_length", "time/fps")
"""Tags of Stable-Baselines3, whose names are also ramreel's."""
_CLEANRL_RETURN, _CLEANRL_LENGTH = "charts/episodic_return", "charts/episodic_length"
"""Tags of CleanRL, one point per episode."""
_CLEANRL_ARGUMENTS = "hyperparameters/text_summary"
"""Tag of the arguments of a CleanRL script, a Markdown table."""
_RETURNS = ("rollout/ep_rew_mean", _CLEANRL_RETURN)

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class _EventFile:
    """Points of one event file, by tag and in the order of the file."""

    path: Path
    points: Mapping[str, Points]
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last step of the returns; None without returns."""
        steps = [step for tag in _RETURNS for step, _ in self.points.get(tag, ())]
        return (min(steps), max(steps)) if steps else None


def read_event_files(paths: list[Path]) -> RawLog:
    """Read the curves of a Stable-Baselines3 run, or the episodes of a CleanRL run.

    Raises:
        ExternalRunError: a file is not an event file, is truncated, contains a value that is not finite, or is of
            another run than the file before it.
    """
    files = [_read_file(path) for path in paths]
    points = _merged(files)
    sources = tuple(
        Source(file=printable_path(one.path), kind="TensorBoard log", taken=_taken(one, points)) for one in files
    )
    if _CLEANRL_RETURN in points:
        return RawLog(sources, episodes=_episodes(points), declared=tuple(map(_declared, files)))
    curves = {tag: downsample_curve(*zip(*points[tag], strict=True)) for tag in _SB3_TAGS if tag in points}
    if "rollout/ep_rew_mean" not in curves:
        raise ExternalRunError(f"{paths[0]}: it contains neither rollout/ep_rew_mean nor {_CLEANRL_RETURN}")
    return RawLog(sources, curves)


def _merged(files: list[_EventFile]) -> dict[str, Points]:
    """Join the files of a run that was resumed, in the order of their steps.

    As in TensorBoard, points replace those of later steps that were logged before them: the run was resumed from an
    earlier step. The names of the files cannot order them: they are made of a wall clock.
    """
    ordered = sorted(((one.span, one) for one in files if one.span), key=lambda pair: pair[0])
    for (start, earlier), (next_start, later) in pairwise((span[0], one) for span, one in ordered):
        if next_start == start:
            raise ExternalRunError(
                f"{earlier.path.parent} contains several runs, which begin at the same step: {earlier.path.name} and "
                f"{later.path.name}. Name one of them"
            )
    merged: dict[str, Points] = {}
    for one in [*(one for _, one in ordered), *(one for one in files if not one.span)]:
        for tag, points in one.points.items():
            kept = merged.setdefault(tag, [])
            for point in points:
                while kept and kept[-1][0] > point[0]:
                    kept.pop()
                kept.append(point)
    return merged


def _episodes(points: Mapping[str, Points]) -> Episodes:
    returns, lengths = points[_CLEANRL_RETURN], points.get(_CLEANRL_LENGTH, [])
    same_steps = [step for step, _ in returns] == [step for step, _ in lengths]
    return Episodes(
        tuple(value for _, value in returns),
        tuple(max(int(value), 1) for _, value in lengths) if same_steps else (),
        tuple(step for step, _ in returns),
    )


def _declared(file: _EventFile) -> Declared:
    numbers = {
        key: int(float(text))
        for key in ("total_timesteps", "seed", "num_envs")
        if (text := file.arguments.get(key, "")).replace(".", "", 1).isdigit()
    }
    return Declared(
        source="its arguments",
        env_id=file.arguments.get("env_id") or file.arguments.get("gym_id"),
        steps=numbers.get("total_timesteps"),
        seed=numbers.get("seed"),
        n_envs=numbers.get("num_envs"),
    )


def _taken(file: _EventFile, points: Mapping[str, Points]) -> str:
    used = _CLEANRL_RETURN if _CLEANRL_RETURN in points else "rollout/ep_rew_mean"
    return used if used in file.points else "nothing"


def _read_file(path: Path) -> _EventFile:
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    points: dict[str, Points] = {}
    arguments: dict[str, str] = {}
    try:
        for record in _records(path):
            event: Any = Event.FromString(record)
            for value in event.summary.value:
                if value.tag == _CLEANRL_ARGUMENTS and value.HasField("tensor"):
                    arguments |= _arguments(value.tensor)
                elif value.HasField("simple_value") and value.tag in (*_SB3_TAGS, _CLEANRL_RETURN, _CLEANRL_LENGTH):
                    points.setdefault(value.tag, []).append(_point(path, value.tag, event.step, value.simple_value))
    except DecodeError:
        raise ExternalRunError(f"{path} is not a TensorBoard log: it contains a record that is not an event") from None
    return _EventFile(path, points, arguments)


def _point(path: Path, tag: str, step: int, value: float) -> tuple[int, float]:
    if step < 0:
        raise ExternalRunError(f"{path}, {tag}: invalid step {step}")
    return step, require_finite(value, f"{path}, {tag} at step {step}")


def _arguments(tensor: Any) -> Iterator[tuple[str, str]]:
    """Return the rows of a Markdown table of two columns."""
    text = b"\n".join(tensor.string_val).decode(errors="replace")
    rows = (line.strip().strip("|").split("|") for line in text.splitlines())
    return ((row[0].strip(), row[1].strip()) for row in rows if len(row) == 2)


def _records(file: Path) -> list[bytes]:
    """Return all records; raises where TensorBoard's own reader would stop silently."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    records: list[bytes] = list(RawEventFileLoader(str(file)).Load())
    # Each record is framed by its length (8 bytes) and two checksums (4 bytes each).
    if sum(len(record) + 16 for record in records) != file.stat().st_size:
        raise ExternalRunError(f"{file} is damaged or truncated after {len(records)} records, or not a TensorBoard log")
    return records
