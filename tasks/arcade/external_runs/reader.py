"""A path from elsewhere → what it holds. Nothing in it is run, no link followed, and no more read than is sensible."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.arcade.external_runs import evaluations_npz as evaluations
from tasks.arcade.external_runs import monitor_csv as monitor
from tasks.arcade.external_runs import tensorboard_log as event_log
from tasks.arcade.external_runs.runs import ForeignError, ForeignLog
from tasks.arcade.settings.game import GameSettings

_LARGEST = 500_000_000
_MOST_FILES = 10_000
_WANTED = "TensorBoard logs, monitor.csv or evaluations.npz"


@dataclass(frozen=True)
class _Kind:
    fits: Callable[[str], bool]
    read: Callable[[list[Path], GameSettings], ForeignLog]


_KINDS: Mapping[str, _Kind] = {
    "evaluations": _Kind(lambda name: name.endswith(".npz"), evaluations.read),
    "monitor": _Kind(lambda name: name.endswith("monitor.csv"), monitor.read),
    "events": _Kind(lambda name: "tfevents" in name, event_log.read),
}
"""In the order in which they are believed: the first one that has a metric says what it is."""


def read(path: Path, game: GameSettings) -> ForeignLog:
    """What a file, or all files of a folder, say of one run.

    Args:
        path: TensorBoard logs, a `monitor.csv`, an `evaluations.npz`, or the folder that holds some of them.
        game: that was played.

    Raises:
        ForeignError: it cannot be read, is damaged, or holds no returns, or more than one run.
    """
    found = _found(path)
    logs = [_KINDS[kind].read(files, game) for kind, files in found.items()]
    curves = {name: curve for log in reversed(logs) for name, curve in log.curves.items()}
    whole = ForeignLog(
        tuple(source for log in logs for source in log.sources),
        curves,
        next((log.evaluations for log in logs if log.evaluations), ()),
        next((log.last_episodes for log in logs if log.last_episodes), None),
    )
    if not whole.evaluations and "rollout/ep_rew_mean" not in curves:
        raise ForeignError(f"{path}: there is no return in it")
    return whole


def _found(path: Path) -> dict[str, list[Path]]:
    """The files by their kind, each kind's in one folder."""
    mode = _mode(path)
    if not stat.S_ISDIR(mode):
        kind = next((kind for kind, known in _KINDS.items() if known.fits(path.name)), None)
        if kind is None:
            raise ForeignError(f"{path} is none of {_WANTED}, nor a folder that holds some")
        return {kind: [ordinary(path)]}
    found: dict[str, list[Path]] = {kind: [] for kind in _KINDS}
    for file in _walk(path):
        for kind, known in _KINDS.items():
            if known.fits(file.name):
                found[kind].append(ordinary(file))
    if not any(found.values()):
        raise ForeignError(f"{path}: there are neither {_WANTED} in it")
    for files in found.values():
        if len(folders := sorted({str(file.parent) for file in files})) > 1:
            raise ForeignError(f"{path} holds several runs, name one of them: {', '.join(folders[:3])}")
    return {kind: sorted(files) for kind, files in found.items() if files}


def _walk(folder: Path) -> Iterator[Path]:
    try:
        for number, file in enumerate(folder.rglob("*")):
            if number >= _MOST_FILES:
                raise ForeignError(f"{folder} holds more than {_MOST_FILES:,} files: name the folder of one run")
            if file.is_symlink() or not file.is_dir():
                yield file
    except OSError as error:
        raise ForeignError(f"{folder} cannot be read: {error.strerror}") from None


def ordinary(path: Path) -> Path:
    """The path, if a file lies there that can be read.

    Raises:
        ForeignError: it is a link, no file, empty, or larger than anything that is meant here.
    """
    mode = _mode(path)
    if not stat.S_ISREG(mode):
        raise ForeignError(f"{path} is no ordinary file")
    size = path.stat().st_size
    if not 0 < size <= _LARGEST:
        raise ForeignError(f"{path} is {'empty' if not size else f'larger than {_LARGEST:,} bytes'}")
    return path


def _mode(path: Path) -> int:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise ForeignError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISLNK(mode):
        raise ForeignError(f"{path} is a symbolic link: name the file that it leads to")
    return mode
