"""Reader of `evaluations.npz`, as written by Stable-Baselines3's EvalCallback and rl-baselines3-zoo."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.arcade.external_runs.runs import (
    ExternalEvaluation,
    ExternalRunError,
    RawLog,
    Source,
    printable_path,
    require_finite,
)
from tasks.arcade.plural_forms import pluralize

_ARRAYS = ("timesteps", "results", "ep_lengths")
_MAX_BYTES = 200_000_000


def read_evaluations(files: list[Path]) -> RawLog:
    """Read all evaluations of a run.

    Raises:
        ExternalRunError: the file is not an `evaluations.npz`, is damaged, or contains pickled objects or a return
            that is not finite.
    """
    if len(files) > 1:
        raise ExternalRunError(
            f"{files[0].parent} contains several evaluations. Name one of them: {', '.join(map(str, files[:3]))}"
        )
    (file,) = files
    steps, results, lengths = _arrays(file)
    if results.ndim != 2 or lengths.shape != results.shape or steps.shape != results.shape[:1] or not results.size:
        shapes = ", ".join(
            f"{name} {array.shape}" for name, array in zip(_ARRAYS, (steps, results, lengths), strict=True)
        )
        raise ExternalRunError(f"{file}: the shapes of the arrays do not match: {shapes}")
    evaluations: list[ExternalEvaluation] = []
    for step, returns, of_step in zip(steps.tolist(), results.tolist(), lengths.tolist(), strict=True):
        where = f"{file}, step {step:g}"
        if not 0 <= step <= 10**12 or step != int(step) or (evaluations and step <= evaluations[-1].step):
            raise ExternalRunError(f"{where}: timesteps must be increasing integers")
        evaluations.append(
            ExternalEvaluation(
                step=int(step),
                returns=tuple(require_finite(value, where) for value in returns),
                lengths=tuple(int(require_finite(length, where)) for length in of_step),
            )
        )
    source = Source(
        file=printable_path(file),
        kind="rl-baselines3-zoo evaluations",
        taken=f"{pluralize(len(evaluations), 'evaluation')} of {pluralize(results.shape[1], 'episode')}",
    )
    return RawLog((source,), evaluations=tuple(evaluations))


def _arrays(file: Path) -> list[npt.NDArray[np.float64]]:
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > _MAX_BYTES:
            raise ExternalRunError(f"{file} is not an evaluations.npz: it unpacks to {size:,} bytes")
        # Unpickling objects would run code.
        with np.load(file, allow_pickle=False) as archive:
            if missing := [name for name in _ARRAYS if name not in archive.files]:
                raise ExternalRunError(
                    f"{file}: missing array {', '.join(missing)}. Available: {', '.join(archive.files)}"
                )
            return [np.asarray(archive[name], np.float64) for name in _ARRAYS]
    except ExternalRunError:
        raise
    except OSError as error:
        raise ExternalRunError(f"{file} cannot be read: {error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ExternalRunError(f"{file} is damaged or not an npz file: {error}") from None
    except (ValueError, TypeError, KeyError) as error:
        if "allow_pickle" in str(error):
            raise ExternalRunError(
                f"{file} contains pickled objects, which can run code: only numeric arrays are read"
            ) from None
        raise ExternalRunError(f"{file} is not an evaluations.npz: {error}") from None
