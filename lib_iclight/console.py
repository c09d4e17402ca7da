"""Text for consoles that cannot show every letter."""

from __future__ import annotations

from typing import TextIO


class Note(str):
    """A sentence that tells what was found; beside those that warn, consoles say so."""


def printable(text: object, stream: TextIO) -> str:
    """`str(text)` as it can be printed to `stream`: what its encoding lacks is escaped, \\u4e2d, and nothing raises.

    A console of Windows may know 256 letters only (cp1252); a file's name may hold bytes that are no text at all, which
    Python keeps as lone surrogates.
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return str(text).encode(encoding, "backslashreplace").decode(encoding)
