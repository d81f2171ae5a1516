"""What a video says of itself, within its file: its trace, and a digest of the pictures that were drawn.

An MP4 is a row of boxes; players pass over those that they do not know. The mark is a box of type `uuid` (ISO/IEC
14496-12, 4.2) at the end of the file, so that a video that is copied or sent on keeps its trace.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from tasks.arcade.episodes.trace import Sha256, Trace, TraceError
from tasks.arcade.settings.base import SCHEMA, NewerSchemaError, NotJsonError, Settings, parsed
from tasks.arcade.video.outlines import Outlines

_TYPE = UUID("5f1d7c0e-7a3b-4f0e-9a51-7261726565c1").bytes
_LARGEST = 64 * 1024**2
"""Bytes of a mark, unpacked; the longest trace has about 20 a step."""

_WIDEST = 4096
"""Pixels across or down a video."""


class EmbeddedTrace(Settings):
    """What is kept in a video's file."""

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)
    trace: Trace
    frames: int = Field(ge=1, description="pictures in the video")
    pictures: Sha256 = Field(description="of the pictures that the emulator drew (canvas.GameView.digest)")
    kind: Literal["plain", "panel"] = Field(
        description="the game fills the picture, or lies where tasks.arcade.video.panel.GAME is"
    )
    width: int = Field(ge=2, le=_WIDEST, multiple_of=2)
    height: int = Field(ge=2, le=_WIDEST, multiple_of=2)
    ffmpeg: str = Field(description="version of the ffmpeg that made the video")
    file: Sha256 = Field(description="of all bytes of the file before the mark")
    outlines: Outlines | None = Field(
        default=None,
        exclude_if=lambda outlines: outlines is None,
        description="what lies over the game's picture in a panel; none: nothing does",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.outlines is None:
            return self
        if self.kind == "plain":
            raise ValueError("a plain video has no outlines")
        if len(self.outlines.steps) != self.trace.length:
            raise ValueError("outlines and trace disagree on the number of steps")
        if any(number >= len(self.outlines.places) for step in self.outlines.steps for number, _ in step):
            raise ValueError("an outline is around a place that is not there")
        return self


def file_digest(path: Path, length: int | None = None) -> str:
    """SHA-256 of a file's first bytes, or of all of them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1024**2 if length is None else min(1024**2, length)):
            digest.update(part)
            length = None if length is None else length - len(part)
    return digest.hexdigest()


def embed_trace(path: Path, mark: EmbeddedTrace) -> None:
    """Write a mark at the end of an MP4."""
    packed = zlib.compress(mark.model_dump_json(by_alias=True).encode(), 9)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s16s", 24 + len(packed), b"uuid", _TYPE) + packed)


def read_embedded_trace(path: Path) -> tuple[EmbeddedTrace, bool]:
    """The mark of a video, and whether all bytes before it are still those that were marked.

    Raises:
        TraceError: there is no such file, no mark in it, or one that makes no sense.
    """
    if not path.is_file():
        raise TraceError(f"there is no video {path}")
    with path.open("rb") as file:
        place, packed = next(_embedded_traces(file), (0, b""))
    if not packed:
        raise TraceError(f"{path} has no trace in it: ramreel did not make it, or it was encoded again")
    mark = _parsed_trace(path, packed)
    return mark, file_digest(path, place) == mark.file


def _parsed_trace(path: Path, packed: bytes) -> EmbeddedTrace:
    try:
        return parsed(EmbeddedTrace, zlib.decompressobj().decompress(packed, _LARGEST))
    except (zlib.error, NotJsonError):
        raise TraceError(f"{path}: its trace is damaged") from None
    except NewerSchemaError as error:
        raise TraceError(f"{path}: its trace has {error}") from None
    except ValueError as error:
        raise TraceError(f"{path}: its trace makes no sense: {error}") from None


def _embedded_traces(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Place and content of every mark among the boxes of a file."""
    place = 0
    while len(head := file.read(16)) >= 8:
        size, kind = struct.unpack(">I4s", head[:8])
        start = 8
        if size == 1 and len(head) == 16:
            (size,), start = struct.unpack(">Q", head[8:]), 16
        if size < start:
            return
        if kind == b"uuid" and size <= _LARGEST:
            file.seek(place + start)
            content = file.read(size - start)
            if content[:16] == _TYPE:
                yield place, content[16:]
        place += size
        file.seek(place)
