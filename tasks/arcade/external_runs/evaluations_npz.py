"""The `evaluations.npz` that Stable-Baselines3's EvalCallback, and so rl-baselines3-zoo, writes."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.arcade.external_runs.runs import ForeignError, ForeignEvaluation, ForeignLog, Source, finite, readable
from tasks.arcade.settings.game import GameSettings

_ARRAYS = ("timesteps", "results", "ep_lengths")
_LARGEST = 200_000_000


def read(files: list[Path], game: GameSettings) -> ForeignLog:
    """Every evaluation of a run.

    Raises:
        ForeignError: it is no such file, is damaged, holds pickled objects, or a return that is no number.
    """
    _ = game
    if len(files) > 1:
        raise ForeignError(f"{files[0].parent} holds several evaluations, name one: {', '.join(map(str, files[:3]))}")
    (file,) = files
    steps, results, lengths = _arrays(file)
    if results.ndim != 2 or lengths.shape != results.shape or steps.shape != results.shape[:1] or not results.size:
        shapes = ", ".join(
            f"{name} {array.shape}" for name, array in zip(_ARRAYS, (steps, results, lengths), strict=True)
        )
        raise ForeignError(f"{file}: its arrays do not fit together: {shapes}")
    found: list[ForeignEvaluation] = []
    for step, returns, of_step in zip(steps.tolist(), results.tolist(), lengths.tolist(), strict=True):
        where = f"{file}, step {step:g}"
        if not 0 <= step <= 10**12 or step != int(step) or (found and step <= found[-1].step):
            raise ForeignError(f"{where}: steps are whole numbers in rising order")
        found.append(
            ForeignEvaluation(
                step=int(step),
                returns=tuple(finite(value, where) for value in returns),
                lengths=tuple(int(finite(length, where)) for length in of_step),
            )
        )
    taken = f"{len(found)} evaluations of {results.shape[1]} episodes"
    return ForeignLog(
        (Source(file=readable(file), kind="rl-baselines3-zoo's evaluations", taken=taken),), evaluations=tuple(found)
    )


def _arrays(file: Path) -> list[npt.NDArray[np.float64]]:
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > _LARGEST:
            raise ForeignError(f"{file} would be {size:,} bytes unpacked: that is no evaluations.npz")
        # Objects in it would be unpickled, which runs code.
        with np.load(file, allow_pickle=False) as archive:
            if missing := [name for name in _ARRAYS if name not in archive.files]:
                raise ForeignError(f"{file}: no array {', '.join(missing)}: there are {', '.join(archive.files)}")
            return [np.asarray(archive[name], np.float64) for name in _ARRAYS]
    except ForeignError:
        raise
    except OSError as error:
        raise ForeignError(f"{file} cannot be read: {error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ForeignError(f"{file} is damaged, or no npz at all: {error}") from None
    except (ValueError, TypeError, KeyError) as error:
        if "allow_pickle" in str(error):
            raise ForeignError(f"{file} holds pickled objects, which can run code: only numbers are read") from None
        raise ForeignError(f"{file} is no evaluations.npz: {error}") from None
