"""Files that belong together: written whole or not at all, and checked byte for byte when read.

A folder of plain data has a `manifest.json` with the SHA-256 of each other file; the SHA-256 of the manifest itself
is the folder's digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import SCHEMA, NewerSchemaError, NotJsonError, Settings, parsed
from tasks.arcade.settings.legacy import FILES as FORMER_FILES

MANIFEST = "manifest.json"
_LARGEST_FILE = 2 * 1024**3

Arrays = Mapping[str, npt.NDArray[Any]]


class DamagedError(RamreelError, ValueError):
    """A folder is incomplete, damaged or of a newer schema; the message says which file and why."""


class _Manifest(Settings):
    format: Literal["ramreel"] = "ramreel"
    schema_version: int = Field(default=SCHEMA, alias="schema")
    files: dict[str, str]


def write_folder(contents: Mapping[str, bytes], directory: Path) -> str:
    """Write files and their manifest; `directory` appears whole or not at all.

    Returns:
        The folder's digest, 64 hex digits.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    manifest = _Manifest(files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})
    raw = manifest.model_dump_json(indent=2, by_alias=True).encode()
    _write_whole({**contents, MANIFEST: raw}, directory)
    return hashlib.sha256(raw).hexdigest()


def _write_whole(contents: Mapping[str, bytes], directory: Path) -> None:
    temporary = directory.with_name(f".{directory.name}.{uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        for name, data in contents.items():
            with (temporary / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_folder(
    directory: Path, names: Sequence[str], digest: str | None = None, *, optional: Sequence[str] = ()
) -> dict[str, bytes]:
    """Read the files that `write_folder` wrote, each checked against the manifest.

    Args:
        directory: where they lie.
        names: which files there have to be, no more and no fewer.
        digest: what the folder's digest has to be, if known.
        optional: which files there may be besides, all of them or none.

    Raises:
        DamagedError: a file is missing, damaged or too many, or the schema is newer.
    """
    raw = _bytes(directory / MANIFEST)
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest:
        raise DamagedError(f"its digest is {found[:12]}, not {digest[:12]} as recorded when it was saved")
    manifest = _manifest(raw)
    on_disk = {FORMER_FILES.get(name, name): name for name in (*names, *optional)}
    listed = {on_disk.get(name, name): name for name in manifest.files}
    if set(listed) == {*names, *optional}:
        names = (*names, *optional)
    elif set(listed) != set(names):
        raise DamagedError(f"{MANIFEST} lists {', '.join(sorted(manifest.files))}, not {', '.join(names)}")
    contents = {name: _bytes(directory / listed[name]) for name in names}
    for name, data in contents.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[listed[name]]:
            raise DamagedError(f"{name} is damaged: its SHA-256 is not the manifest's")
    return contents


def _bytes(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise DamagedError(f"{path.name} is missing")
    if path.stat().st_size > _LARGEST_FILE:
        raise DamagedError(f"{path.name} is larger than 2 GiB")
    return path.read_bytes()


def _manifest(raw: bytes) -> _Manifest:
    try:
        return parsed(_Manifest, raw)
    except NotJsonError:
        raise DamagedError(f"{MANIFEST} is damaged: it is not JSON") from None
    except NewerSchemaError as error:
        raise DamagedError(f"it has {error}") from None
    except ValueError as error:
        raise DamagedError(f"{MANIFEST} makes no sense: {error}") from None


def pack(arrays: Arrays) -> bytes:
    """Arrays as safetensors."""
    return bytes(save({name: np.array(array, order="C") for name, array in arrays.items()}))


def unpack(contents: Mapping[str, bytes], name: str) -> dict[str, npt.NDArray[Any]]:
    """Arrays from one of a folder's files, safetensors.

    Raises:
        DamagedError: it is no safetensors, or of arrays that NumPy cannot hold.
    """
    try:
        return load(contents[name])
    except KeyError as error:
        raise DamagedError(f"{name} makes no sense: it has numbers of the kind {error}, as NumPy has none") from None
    except (SafetensorError, ValueError, OverflowError) as error:
        raise DamagedError(f"{name} makes no sense: {str(error).splitlines()[0]}") from None
