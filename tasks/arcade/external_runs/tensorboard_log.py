"""Reader of TensorBoard event files of Stable-Baselines3 and CleanRL; the only module that imports tensorboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.arcade.external_runs.runs import (
    ExternalLog,
    ExternalRunError,
    Source,
    downsample_curve,
    log_from_episodes,
    printable_path,
    require_finite,
)
from tasks.arcade.settings.game import GameSettings

_SB3_TAGS = ("rollout/ep_rew_mean", "rollout/ep_len_mean", "eval/mean_reward", "eval/mean_ep_length", "time/fps")
"""Tags of Stable-Baselines3, whose names are also ramreel's."""
_CLEANRL_RETURN, _CLEANRL_LENGTH = "charts/episodic_return", "charts/episodic_length"
"""Tags of CleanRL, one point per episode."""

Points = list[tuple[int, float]]


def read_event_files(files: list[Path], game: GameSettings) -> ExternalLog:
    """Read the curves of a Stable-Baselines3 run, or the episodes of a CleanRL run.

    Raises:
        ExternalRunError: a file is not an event file, is truncated, or contains a value that is not finite.
    """
    _ = game
    points: dict[str, Points] = {}
    for file in files:
        for tag, step, value in _scalars(file):
            if step < 0:
                raise ExternalRunError(f"{file}, {tag}: invalid step {step}")
            points.setdefault(tag, []).append((step, require_finite(value, f"{file}, {tag} at step {step}")))
    for of_tag in points.values():
        of_tag.sort(key=lambda point: point[0])
    if _CLEANRL_RETURN in points:
        return _cleanrl_log(files, points)
    curves = {tag: downsample_curve(*zip(*points[tag], strict=True)) for tag in _SB3_TAGS if tag in points}
    if "rollout/ep_rew_mean" not in curves:
        raise ExternalRunError(f"{files[0]}: it contains neither rollout/ep_rew_mean nor {_CLEANRL_RETURN}")
    return ExternalLog(_sources(files, "rollout/ep_rew_mean"), curves)


def _cleanrl_log(files: list[Path], points: Mapping[str, Points]) -> ExternalLog:
    returns, lengths = points[_CLEANRL_RETURN], points.get(_CLEANRL_LENGTH, [])
    same_steps = [step for step, _ in returns] == [step for step, _ in lengths]
    return log_from_episodes(
        _sources(files, _CLEANRL_RETURN),
        [step for step, _ in returns],
        [value for _, value in returns],
        [int(value) for _, value in lengths] if same_steps else [],
    )


def _sources(files: list[Path], taken: str) -> tuple[Source, ...]:
    return tuple(Source(file=printable_path(file), kind="TensorBoard log", taken=taken) for file in files)


def _scalars(file: Path) -> Iterator[tuple[str, int, float]]:
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        for record in _records(file):
            event: Any = Event.FromString(record)
            for value in event.summary.value:
                if value.HasField("simple_value") and value.tag in (*_SB3_TAGS, _CLEANRL_RETURN, _CLEANRL_LENGTH):
                    yield value.tag, int(event.step), float(value.simple_value)
    except DecodeError:
        raise ExternalRunError(f"{file} is not a TensorBoard log: it contains a record that is not an event") from None


def _records(file: Path) -> list[bytes]:
    """Return all records; raises where TensorBoard's own reader would stop silently."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    records: list[bytes] = list(RawEventFileLoader(str(file)).Load())
    # Each record is framed by its length (8 bytes) and two checksums (4 bytes each).
    if sum(len(record) + 16 for record in records) != file.stat().st_size:
        raise ExternalRunError(f"{file} is damaged or truncated after {len(records)} records, or not a TensorBoard log")
    return records
