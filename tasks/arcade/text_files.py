"""Encodings and line endings of text files that were written or edited on other systems."""

from __future__ import annotations

import codecs
import re

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text file, by its first bytes.

    Args:
        start: at least the first two bytes.

    Returns:
        `utf-16` after its byte order mark, which PowerShell writes; otherwise UTF-8, with or without a mark.
    """
    return "utf-16" if start.startswith(_UTF16) else "utf-8-sig"


def decode_text(raw: bytes) -> str:
    r"""Decode a text file without its byte order mark; every line ends with `\n`.

    Text mode on Windows turns the line ending of a CSV writer, `\r\n`, into `\r\r\n`.

    Raises:
        UnicodeDecodeError: it is not text.
    """
    return re.sub(r"\r+\n?", "\n", raw.decode(encoding_of(raw)))
