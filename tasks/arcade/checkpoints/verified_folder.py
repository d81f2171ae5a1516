"""Folders of plain data files, written atomically and verified byte for byte when read.

A `manifest.json` lists the SHA-256 of each other file; the SHA-256 of the manifest itself is the folder's digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tasks.arcade.atomic_write import atomic_folder
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import SCHEMA, NewerSchemaError, NotJsonError, Settings, parse_json
from tasks.arcade.settings.legacy import FILES as FORMER_FILES

MANIFEST = "manifest.json"
_LARGEST_FILE = 2 * 1024**3

Arrays = Mapping[str, npt.NDArray[Any]]


class DamagedFolderError(RamreelError, ValueError):
    """A folder is incomplete, damaged or of a newer schema."""


class _Manifest(Settings):
    format: Literal["ramreel"] = "ramreel"
    schema_version: int = Field(default=SCHEMA, alias="schema")
    files: dict[str, str]


def write_folder(contents: Mapping[str, bytes], directory: Path) -> str:
    """Write files and their manifest atomically.

    Returns:
        The folder's digest, 64 hex digits.

    Raises:
        OSError: The folder cannot be written; no partial folder remains.
    """
    manifest = _Manifest(files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})
    raw = manifest.model_dump_json(indent=2, by_alias=True).encode()
    with atomic_folder(directory) as temporary:
        for name, data in {**contents, MANIFEST: raw}.items():
            (temporary / name).write_bytes(data)
    return hashlib.sha256(raw).hexdigest()


def read_folder(
    directory: Path, names: Sequence[str], digest: str | None = None, *, optional: Sequence[str] = ()
) -> dict[str, bytes]:
    """Read the files of `write_folder` and check each against the manifest.

    Args:
        directory: The folder.
        names: Names of the required files; no others are allowed.
        digest: Expected digest of the folder, if known.
        optional: Names of optional files, all of which are present or none.

    Raises:
        DamagedFolderError: A file is missing, damaged or unexpected, or the schema is newer.
    """
    raw = _bytes(directory / MANIFEST)
    actual = hashlib.sha256(raw).hexdigest()
    if digest is not None and actual != digest:
        raise DamagedFolderError(f"its digest is {actual[:12]}, but {digest[:12]} was recorded when it was saved")
    manifest = _manifest(raw)
    on_disk = {FORMER_FILES.get(name, name): name for name in (*names, *optional)}
    listed = {on_disk.get(name, name): name for name in manifest.files}
    if set(listed) == {*names, *optional}:
        names = (*names, *optional)
    elif set(listed) != set(names):
        raise DamagedFolderError(f"{MANIFEST} lists {', '.join(sorted(manifest.files))}, not {', '.join(names)}")
    contents = {name: _bytes(directory / listed[name]) for name in names}
    for name, data in contents.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[listed[name]]:
            raise DamagedFolderError(f"{name} is damaged: its SHA-256 differs from the manifest's")
    return contents


def _bytes(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise DamagedFolderError(f"{path.name} is missing")
    if path.stat().st_size > _LARGEST_FILE:
        raise DamagedFolderError(f"{path.name} is larger than 2 GiB")
    return path.read_bytes()


def _manifest(raw: bytes) -> _Manifest:
    try:
        return parse_json(_Manifest, raw)
    except NotJsonError:
        raise DamagedFolderError(f"{MANIFEST} is damaged: it is not JSON") from None
    except NewerSchemaError as error:
        raise DamagedFolderError(f"it has {error}") from None
    except ValueError as error:
        raise DamagedFolderError(f"{MANIFEST} is invalid: {error}") from None


def pack(arrays: Arrays) -> bytes:
    """Serialize arrays as safetensors."""
    return bytes(save({name: np.array(array, order="C") for name, array in arrays.items()}))


def unpack(contents: Mapping[str, bytes], name: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a safetensors file of a folder.

    Raises:
        DamagedFolderError: The file is not safetensors, or NumPy cannot represent its arrays.
    """
    try:
        return load(contents[name])
    except KeyError as error:
        raise DamagedFolderError(f"{name} is invalid: NumPy has no data type {error}") from None
    except (SafetensorError, ValueError, OverflowError) as error:
        raise DamagedFolderError(f"{name} is invalid: {str(error).splitlines()[0]}") from None
