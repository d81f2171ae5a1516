"""Reads the log files of an external run without running code, following links or reading unreasonably large files."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.arcade.external_runs.evaluations_npz import read_evaluations
from tasks.arcade.external_runs.merged_log import merge
from tasks.arcade.external_runs.monitor_csv import read_monitors
from tasks.arcade.external_runs.runs import ExternalLog, ExternalRunError, RawLog
from tasks.arcade.external_runs.tensorboard_log import read_event_files
from tasks.arcade.external_runs.zoo_config import read_zoo_config
from tasks.arcade.settings.game import GameSettings

_MAX_BYTES = 500_000_000
_MAX_FILES = 10_000
_FORMAT_NAMES = "TensorBoard log, monitor.csv or evaluations.npz"


@dataclass(frozen=True)
class _Format:
    matches: Callable[[str], bool]
    read: Callable[[list[Path]], RawLog]


_FORMATS: Mapping[str, _Format] = {
    "evaluations": _Format(lambda name: name.endswith(".npz"), read_evaluations),
    "monitor": _Format(lambda name: name.endswith("monitor.csv"), read_monitors),
    "events": _Format(lambda name: "tfevents" in name, read_event_files),
}
"""In order of precedence: the first format that has a metric provides it."""
_CONFIG = _Format(lambda name: name in ("args.yml", "config.yml"), read_zoo_config)


def read_external_log(path: Path, game: GameSettings, frame_skip: int | None = None) -> ExternalLog:
    """Read one log file, or all log files of a folder, of a single run.

    Args:
        path: a TensorBoard log, a `monitor.csv`, an `evaluations.npz`, or a folder that contains some of them.
        game: the game that was played.
        frame_skip: frames per step of the agent; None: as the files say, otherwise that of the game.

    Raises:
        ExternalRunError: the files cannot be read, are damaged, are of another game, or contain no returns or more
            than one run; or the frame skip does not fit to the environment.
    """
    found, config = _find_files(path)
    logs = {name: _FORMATS[name].read(files) for name, files in found.items()}
    log = merge(logs, _CONFIG.read(config) if config else None, game, frame_skip)
    if not log.evaluations and "rollout/ep_rew_mean" not in log.curves:
        raise ExternalRunError(f"{path}: it contains no returns")
    return log


def _find_files(path: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the log files by format, all files of a format in one folder, and rl-baselines3-zoo's settings files."""
    mode = _mode(path)
    if not stat.S_ISDIR(mode):
        name = next((name for name, known in _FORMATS.items() if known.matches(path.name)), None)
        if name is None and path.suffix == ".csv":
            name = "monitor"
        if name is None:
            raise ExternalRunError(f"{path} is not a {_FORMAT_NAMES}, nor a folder of them")
        return {name: [require_regular_file(path)]}, []
    found: dict[str, list[Path]] = {name: [] for name in (*_FORMATS, "config")}
    for file in _walk(path):
        for name, known in {**_FORMATS, "config": _CONFIG}.items():
            if known.matches(file.name):
                found[name].append(require_regular_file(file))
    config = found.pop("config")
    if not any(found.values()):
        raise ExternalRunError(f"{path} contains no {_FORMAT_NAMES}")
    for files in (*found.values(), [file for file in config if file.name == "args.yml"]):
        if len(folders := sorted({str(file.parent) for file in files})) > 1:
            raise ExternalRunError(f"{path} contains several runs. Name one of them: {', '.join(folders[:3])}")
    return {name: sorted(files) for name, files in found.items() if files}, sorted(config)


def _walk(folder: Path) -> Iterator[Path]:
    try:
        for count, file in enumerate(folder.rglob("*")):
            if count >= _MAX_FILES:
                raise ExternalRunError(
                    f"{folder} contains more than {_MAX_FILES:,} files. Name the folder of a single run"
                )
            if file.is_symlink() or not file.is_dir():
                yield file
    except OSError as error:
        raise ExternalRunError(f"{folder} cannot be read: {error.strerror}") from None


def require_regular_file(path: Path) -> Path:
    """Return the path if it is a readable regular file.

    Raises:
        ExternalRunError: the path is a link, not a regular file, empty, or larger than any file of an external run.
    """
    mode = _mode(path)
    if not stat.S_ISREG(mode):
        raise ExternalRunError(f"{path} is not a regular file")
    size = path.stat().st_size
    if not 0 < size <= _MAX_BYTES:
        raise ExternalRunError(f"{path} is {'empty' if not size else f'larger than {_MAX_BYTES:,} bytes'}")
    return path


def _mode(path: Path) -> int:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise ExternalRunError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISLNK(mode):
        raise ExternalRunError(f"{path} is a symbolic link. Name the file that it points to")
    return mode
