"""TensorBoard's logs, as Stable-Baselines3 and CleanRL write them: the only room that knows tensorboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.arcade.external_runs.runs import ForeignError, ForeignLog, Source, finite, of_episodes, readable, thinned
from tasks.arcade.settings.game import GameSettings

_CURVES = ("rollout/ep_rew_mean", "rollout/ep_len_mean", "eval/mean_reward", "eval/mean_ep_length", "time/fps")
"""Of Stable-Baselines3's, under the names that ours have."""
_RETURN, _LENGTH = "charts/episodic_return", "charts/episodic_length"
"""CleanRL's, a point an episode."""

Points = list[tuple[int, float]]


def read(files: list[Path], game: GameSettings) -> ForeignLog:
    """The curves of a run, or of CleanRL its episodes.

    Raises:
        ForeignError: a file is no such log, is cut off, or has a return that is no number.
    """
    _ = game
    points: dict[str, Points] = {}
    for file in files:
        for name, step, value in _scalars(file):
            if step < 0:
                raise ForeignError(f"{file}, {name}: there is no step {step}")
            points.setdefault(name, []).append((step, finite(value, f"{file}, {name} at step {step}")))
    for of_name in points.values():
        of_name.sort(key=lambda point: point[0])
    if _RETURN in points:
        return _of_cleanrl(files, points)
    curves = {name: thinned(*zip(*points[name], strict=True)) for name in _CURVES if name in points}
    if "rollout/ep_rew_mean" not in curves:
        raise ForeignError(f"{files[0]}: neither rollout/ep_rew_mean nor {_RETURN} is in it")
    return ForeignLog(_sources(files, "rollout/ep_rew_mean"), curves)


def _of_cleanrl(files: list[Path], points: Mapping[str, Points]) -> ForeignLog:
    returns, lengths = points[_RETURN], points.get(_LENGTH, [])
    fit = [step for step, _ in returns] == [step for step, _ in lengths]
    return of_episodes(
        _sources(files, _RETURN),
        [step for step, _ in returns],
        [value for _, value in returns],
        [int(value) for _, value in lengths] if fit else [],
    )


def _sources(files: list[Path], taken: str) -> tuple[Source, ...]:
    return tuple(Source(file=readable(file), kind="TensorBoard's log", taken=taken) for file in files)


def _scalars(file: Path) -> Iterator[tuple[str, int, float]]:
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        for record in _records(file):
            event: Any = Event.FromString(record)
            for value in event.summary.value:
                if value.HasField("simple_value") and value.tag in (*_CURVES, _RETURN, _LENGTH):
                    yield value.tag, int(event.step), float(value.simple_value)
    except DecodeError:
        raise ForeignError(f"{file} is no log of TensorBoard's: a record in it is no event") from None


def _records(file: Path) -> list[bytes]:
    """Every record; TensorBoard's reader itself is silent about where it had to stop."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    records: list[bytes] = list(RawEventFileLoader(str(file)).Load())
    # Beside each record lie its length, in 8 bytes, and two checksums of 4.
    if sum(len(record) + 16 for record in records) != file.stat().st_size:
        raise ForeignError(f"{file} is damaged or cut off after {len(records)} records, or no log of TensorBoard's")
    return records
