"""An upload's parts, looked at as they pass: what no browser sends is refused before Gradio stumbles over it.

Gradio 4.40 and 3.41 answer 500 to a body that is not in parts or is cut short, to a part that is no file, and take ".."
for a file's name.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import ImageError

try:
    from python_multipart import multipart
except ModuleNotFoundError:  # its name up to 0.0.12
    from multipart import multipart  # type: ignore[import-untyped, no-redef, unused-ignore]

AGAIN = "Drop the picture's file into the panel again."
LONGEST = 1000
"""bytes of a file's name"""
HEADERS = 20
"""of one part, at most"""


class Upload:
    """One upload. Raises ImageError for a content type that is none of an upload's."""

    def __init__(self, content_type: str) -> None:
        kind, options = multipart.parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
            raise ImageError(f"an upload must be multipart/form-data with a boundary. {AGAIN}")
        self._ended = False
        self._name, self._value = b"", b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._parser = multipart.MultipartParser(boundary, {
            "on_part_begin": self._begin, "on_header_field": self._add_name, "on_header_value": self._add_value,
            "on_header_end": self._end_header, "on_headers_finished": self._check_headers, "on_end": self._end})

    def feed(self, data: bytes) -> None:
        """Look at some more of the body. Raises ImageError."""
        if self._ended or not data:  # what follows the last part counts for nobody
            return
        try:
            self._parser.write(data)
        except ImageError:
            raise
        except Exception as error:  # the parser's own kinds, which differ from version to version
            raise ImageError(f"an upload is not as browsers send it. {AGAIN}") from error

    def end(self) -> None:
        """The body has ended. Raises ImageError where it should have gone on."""
        if not self._ended:
            raise ImageError(f"an upload was cut short. {AGAIN}")

    def _begin(self) -> None:
        self._headers = []

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name = self._grown(self._name, data[start:end])

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value = self._grown(self._value, data[start:end])

    def _grown(self, part: bytes, more: bytes) -> bytes:
        if len(part) + len(more) > 4 * LONGEST:
            raise ImageError(f"the name of an uploaded file is too long. {AGAIN}")
        return part + more

    def _end_header(self) -> None:
        self._headers.append((self._name.lower(), self._value))
        self._name, self._value = b"", b""
        if len(self._headers) > HEADERS:
            raise ImageError(f"an upload is not as browsers send it. {AGAIN}")

    def _check_headers(self) -> None:
        """Raises ImageError for a part that is no file, or one of a name that no file can have."""
        dispositions = [value for name, value in self._headers if name == b"content-disposition"]
        options: dict[bytes, Any] = multipart.parse_options_header(dispositions[0])[1] if len(dispositions) == 1 else {}
        if options.get(b"name") != b"files" or b"filename" not in options:
            raise ImageError(f"an upload holds something else than a file. {AGAIN}")
        check_name(options[b"filename"].decode("utf-8", "replace"))

    def _end(self) -> None:
        self._ended = True


def check_name(name: str) -> None:
    """Raises ImageError for a name, its folders left out, that no picture's file can have."""
    bare = os.path.basename(name.replace("\\", "/"))
    if not bare.strip() or bare.strip(". ") == "":
        raise ImageError(f"an uploaded file has no name. {AGAIN}")
    if len(name.encode("utf-8", "replace")) > LONGEST:
        raise ImageError(f"the name of an uploaded file is too long. {AGAIN}")
    if has_controls(name):
        raise ImageError(f"the name of an uploaded file has letters that cannot be shown. Rename it. {AGAIN}")


def has_controls(text: str) -> bool:
    """Whether control characters are in it, a null among them, which no name or address has."""
    return any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in text)
