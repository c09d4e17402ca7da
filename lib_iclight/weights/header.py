"""The header of a safetensors file, read without a tensor and without trust.

Such a file begins with the length of its header (8 bytes, little-endian), then the header: JSON that gives each
tensor's dtype, shape and place. Format: https://huggingface.co/docs/safetensors
Foreign files are read at every look at a page, so the work is bounded: by the header's length, by the number of its
entries, and by the length of each. A file beyond that is refused after some milliseconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from ..errors import WeightsError

FORMAT_LIMIT = 100_000_000
"""Bytes; the format's own limit for a header."""
HEADER_LIMIT = 25_000_000
"""Bytes that are read of one. LoRAs that carry their whole training's tags have a few million."""
MAX_ENTRIES = 10_000
"""Tensors; SDXL's checkpoints have 2,500, its fullest LoRAs 8,000."""
MAX_RANK = 8
MAX_SIDE = 2**40
"""The largest dimension of a tensor that is believed."""
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")

_LONGEST = 1000
"""Characters of a tensor's name and of what the header says of it; real ones have some 200."""
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64,
         "F8_E4M3": 8, "F8_E5M2": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64}
_BLANK = re.compile(r"[ \t\n\r]*")
_TEXT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_JSON = json.JSONDecoder()


class Entry(NamedTuple):
    """What the header says of one tensor; `dtype` is the format's name, such as `F16`."""

    dtype: str
    shape: tuple[int, ...]


class Header(NamedTuple):
    """A safetensors file's header: its bytes, what it says, and the whole file's size in bytes."""

    raw: bytes
    entries: dict[str, Entry]
    size: int


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's size. Raises WeightsError; reads no tensor."""
    name = files.shown_name(path)
    suffix = path.suffix.casefold()
    if suffix in PICKLES:
        raise _pickle(name)
    if suffix != ".safetensors":
        raise WeightsError(f"{name} is not a .safetensors file. Use IC-Light's weights as .safetensors.")
    try:
        if files.exists(path) and not files.is_file(path):
            raise WeightsError(f"{name} cannot be read (it is no file). Use IC-Light's weights as .safetensors.")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(9)
            length = int.from_bytes(start[:8], "little")
            # A pickle's first bytes can be read as a length too, but then no "{" follows.
            if size < 9 or start[8:] != b"{" or not 2 <= length <= FORMAT_LIMIT:
                raise _pickle(name) if _looks_pickled(start) else _not_safetensors(name)
            if size < 8 + length:
                raise _truncated(name, size, 8 + length)
            if length > HEADER_LIMIT:
                raise _too_large(name, f"its header is {length} bytes long, {HEADER_LIMIT} are read")
            raw = start[8:] + file.read(length - 1)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{name} cannot be read ({files.reason(error)}). Look at the file.", path=path) from error
    if len(raw) < length:
        raise _truncated(name, size, 8 + length)
    if raw.count(b'"data_offsets"') > MAX_ENTRIES:
        raise _too_large(name, f"its header speaks of more than {MAX_ENTRIES} tensors")
    try:
        entries, end = _parse(raw.decode("utf-8"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _not_safetensors(name) from error
    whole = 8 + length + end
    if size < whole:
        raise _truncated(name, size, whole)
    if size > whole:
        raise WeightsError(f"{name} is damaged: {size} bytes, but its header speaks of {whole}. "
                           "Delete it and download it again.")
    return Header(raw, entries, size)


def _parse(header: str) -> tuple[dict[str, Entry], int]:
    """Header JSON -> what it says of each tensor, and where the last one ends. Tensors must lie end to end."""
    entries: dict[str, Entry] = {}
    places: list[tuple[int, int]] = []
    for name, tensor in _items(header):
        if name in entries or len(entries) == MAX_ENTRIES:
            raise ValueError(name)
        dtype, shape, (begin, end) = tensor["dtype"], tuple(tensor["shape"]), tensor["data_offsets"]
        if len(shape) > MAX_RANK or not all(type(number) is int and 0 <= number <= MAX_SIDE
                                            for number in (*shape, begin, end)):
            raise ValueError(name)
        if dtype in _BITS and (end - begin) * 8 != math.prod(shape) * _BITS[dtype]:
            raise ValueError(name)
        entries[name] = Entry(str(dtype), shape)
        places.append((begin, end))
    reached = 0
    for begin, end in sorted(places):
        if begin != reached or end < begin:
            raise ValueError("the tensors overlap or leave gaps")
        reached = end
    return entries, reached


def _items(header: str) -> Iterator[tuple[str, Any]]:
    """The pairs of the header's object one by one, so that the first that is senseless ends the reading.

    Each is decoded from a piece of bounded length: no number of a million digits or nest of a million brackets is ever
    parsed. `__metadata__`, texts of any length, is passed over.
    """
    at = _after(header, 0, "{")
    while not _is_at(header, at, "}"):
        name, at = _value(header, at)
        if not isinstance(name, str):
            raise ValueError("a name that is no text")
        at = _after(header, at, ":")
        if name == "__metadata__" and _is_at(header, at, "{"):
            at = _past_texts(header, at)
        else:
            tensor, at = _value(header, at)
            yield name, tensor
        if not _is_at(header, at, "}"):
            at = _after(header, at, ",")
    if _blank(header, _after(header, at, "}")) != len(header):
        raise ValueError("something follows the header")


def _past_texts(header: str, at: int) -> int:
    """Where the object of texts ends that begins at `at`."""
    at = _after(header, at, "{")
    for _ in range(MAX_ENTRIES):
        if _is_at(header, at, "}"):
            return _after(header, at, "}")
        at = _past_text(header, _after(header, _past_text(header, at), ":"))
        if not _is_at(header, at, "}"):
            at = _after(header, at, ",")
    raise ValueError("endless metadata")


def _past_text(header: str, at: int) -> int:
    found = _TEXT.match(header, _blank(header, at))
    if found is None:
        raise ValueError("no text")
    return found.end()


def _value(header: str, at: int) -> tuple[Any, int]:
    """The JSON value at `at`, which must be short, and where it ends."""
    at = _blank(header, at)
    value, length = _JSON.raw_decode(header[at:at + _LONGEST])
    return value, at + length


def _blank(header: str, at: int) -> int:
    found = _BLANK.match(header, at)
    return found.end() if found else at


def _is_at(header: str, at: int, sign: str) -> bool:
    return header.startswith(sign, _blank(header, at))


def _after(header: str, at: int, sign: str) -> int:
    if not _is_at(header, at, sign):
        raise ValueError(f"no {sign}")
    return _blank(header, at) + 1


def _looks_pickled(start: bytes) -> bool:
    """Do the first bytes look like torch's zip archive, or a pickle of protocol 2 or later?"""
    return start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"))


def _pickle(name: str) -> WeightsError:
    return WeightsError(f"{name} is a pickle. Pickles can run code when they are opened, so it was not read. "
                        "Convert it to safetensors, or use the official IC-Light file.")


def _not_safetensors(name: str) -> WeightsError:
    return WeightsError(f"{name} is not a sound safetensors file. Delete it and download it again.")


def _truncated(name: str, size: int, whole: int) -> WeightsError:
    return WeightsError(f"{name} is cut short: {size} of {whole} bytes. Delete it and download it again.")


def _too_large(name: str, why: str) -> WeightsError:
    return WeightsError(f"{name} is not a safetensors file that can be used: {why}. Use another copy of it.")
