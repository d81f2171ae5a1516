"""Trace embedded in a video's file, with a digest of the screens that were drawn.

An MP4 is a sequence of boxes; players skip those of an unknown type. The trace is a box of type `uuid` (ISO/IEC
14496-12, 4.2) at the end of the file, so that a copied or shared video keeps it.
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

from tasks.arcade.drawing.video_format import Encoding
from tasks.arcade.episodes.trace import Sha256, Trace, TraceError
from tasks.arcade.settings.base import NewerSchemaError, NotJsonError, Settings, parse_json
from tasks.arcade.video.outlines import Outlines

_BOX_TYPE = UUID("5f1d7c0e-7a3b-4f0e-9a51-7261726565c1").bytes
_MAX_BYTES = 64 * 1024**2
"""Limit of an embedded trace, decompressed; the longest trace has about 20 bytes per step."""

_MAX_SIDE = 4096
"""Limit of a video's width and height in pixels."""

EMBEDDED_SCHEMA = 2
"""Schema version of the trace box. Videos of version 1 end with the episode's last frame and are encoded as
`Encoding` 1."""


MAX_ENDING = 600
"""Limit of the frames of an ending: ten seconds."""


class EmbeddedTrace(Settings):
    """Contents of a video's trace box."""

    schema_version: int = Field(default=EMBEDDED_SCHEMA, alias="schema", ge=1, le=EMBEDDED_SCHEMA)
    trace: Trace
    frames: int = Field(ge=1, description="Number of frames in the video, the ending's included")
    ending: int = Field(
        default=0, ge=0, le=MAX_ENDING, description="Frames after the episode's last one that repeat its screen"
    )
    encoding: Encoding = Field(default=1, description="Settings of the encoder")
    pictures: Sha256 = Field(description="Digest of the emulator's screens (GameView.digest)")
    kind: Literal["plain", "panel"] = Field(
        description="Whether the game fills the frame or the box `tasks.arcade.video.panel.GAME`"
    )
    width: int = Field(ge=2, le=_MAX_SIDE, multiple_of=2)
    height: int = Field(ge=2, le=_MAX_SIDE, multiple_of=2)
    ffmpeg: str = Field(description="Version of the ffmpeg that encoded the video")
    file: Sha256 = Field(description="Digest of all bytes of the file before the trace box")
    outlines: Outlines | None = Field(
        default=None,
        exclude_if=lambda outlines: outlines is None,
        description="Outlines drawn over the game in a panel video (default: no outlines)",
    )

    @model_validator(mode="after")
    def _check_ending_and_outlines(self) -> Self:
        if self.ending >= self.frames:
            raise ValueError("the ending is not shorter than the video")
        if self.outlines is None:
            return self
        if self.kind == "plain":
            raise ValueError("a plain video has no outlines")
        if len(self.outlines.steps) != self.trace.length:
            raise ValueError("outlines and trace have different numbers of steps")
        if any(index >= len(self.outlines.places) for step in self.outlines.steps for index, _ in step):
            raise ValueError("an outline refers to an unknown place")
        return self


def file_digest(path: Path, length: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `length` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1024**2 if length is None else min(1024**2, length)):
            digest.update(chunk)
            length = None if length is None else length - len(chunk)
    return digest.hexdigest()


def embed_trace(path: Path, embedded: EmbeddedTrace) -> None:
    """Append a trace box to an MP4."""
    compressed = zlib.compress(embedded.model_dump_json(by_alias=True).encode(), 9)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s16s", 24 + len(compressed), b"uuid", _BOX_TYPE) + compressed)


def read_embedded_trace(path: Path) -> tuple[EmbeddedTrace, bool]:
    """Return the trace embedded in a video, and whether all bytes before it are unmodified.

    Raises:
        TraceError: The file does not exist, or its embedded trace is missing or invalid.
    """
    if not path.is_file():
        raise TraceError(f"video {path} does not exist")
    with path.open("rb") as file:
        offset, compressed = next(_trace_boxes(file), (0, b""))
    if not compressed:
        raise TraceError(f"{path} has no embedded trace: it was not rendered by ramreel, or was re-encoded since")
    embedded = _parse(path, compressed)
    return embedded, file_digest(path, offset) == embedded.file


def _parse(path: Path, compressed: bytes) -> EmbeddedTrace:
    try:
        return parse_json(EmbeddedTrace, zlib.decompressobj().decompress(compressed, _MAX_BYTES), EMBEDDED_SCHEMA)
    except (zlib.error, NotJsonError):
        raise TraceError(f"{path}: the embedded trace is damaged") from None
    except NewerSchemaError as error:
        raise TraceError(f"{path}: the embedded trace has {error}") from None
    except ValueError as error:
        raise TraceError(f"{path}: the embedded trace is invalid: {error}") from None


def _trace_boxes(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of every trace box of an MP4."""
    offset = 0
    while len(header := file.read(16)) >= 8:
        size, box_type = struct.unpack(">I4s", header[:8])
        header_size = 8
        if size == 1 and len(header) == 16:
            (size,), header_size = struct.unpack(">Q", header[8:]), 16
        if size < header_size:
            return
        if box_type == b"uuid" and size <= _MAX_BYTES:
            file.seek(offset + header_size)
            content = file.read(size - header_size)
            if content[:16] == _BOX_TYPE:
                yield offset, content[16:]
        offset += size
        file.seek(offset)
