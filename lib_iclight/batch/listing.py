"""The pictures of a folder, by their names alone: what is in them is looked at when their turn comes."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BatchError
from ..files import is_dir, reason

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".heic", ".heif", ".jxl", ".tif", ".tiff", ".bmp",
           ".gif", ".ppm", ".pgm", ".pnm")
"""of files that are taken where no pattern is given; one that this Pillow cannot read is told in the report"""


@dataclass(frozen=True)
class Listing:
    """What is in a folder."""

    names: tuple[str, ...]
    """the pictures, POSIX paths from the folder on, sorted"""
    notes: tuple[str, ...] = ()
    """what was passed over, in sentences"""


def pictures(folder: Path, out: Path, patterns: Sequence[str] = (), *, recursive: bool = False) -> Listing:
    """The pictures in `folder` and, if `recursive`, below; never those in `out`, where results go.

    patterns: as `fnmatch` has them, in any case, of the file's own name, or of its path where they hold a slash.
    Links to folders are followed, never in circles; hidden files are left out. A link to nothing counts as a picture,
    which is told in the report. Raises BatchError where there is no such folder, or it is `out`.
    """
    if not is_dir(folder):
        raise BatchError(f"{folder} is no folder of pictures. Give a folder; for one picture there is relight.")
    top, results = os.path.realpath(folder), os.path.realpath(out)
    if top == results:
        raise BatchError(f"{folder} is to be read and written to at once, so results would be taken for pictures. "
                         "Choose another output folder.")
    names: list[str] = []
    unread: list[str] = []
    others = below = 0
    for place, folders, found in _walk(folder, results, unread):
        inside = Path(place).relative_to(folder)
        for name in found:
            path = (inside / name).as_posix()
            if _fits(path, patterns):
                names.append(path)
            else:
                others += 1
        if not recursive:
            below += len(folders)
            folders.clear()
    notes = [f"{name} cannot be read and is passed over." for name in unread]
    if others and not patterns:
        notes.append(f"Passed over: {_count(others, 'file')} without a picture's ending.")
    if below:
        notes.append(f"Passed over: {_count(below, 'folder')} inside; --recursive goes into them.")
    return Listing(tuple(sorted(names)), tuple(notes))


def _walk(folder: Path, results: str, unread: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, in a stable order, without hidden names and `results`, no folder twice."""
    seen: set[str] = set()

    def failed(error: OSError) -> None:
        unread.append(f"{error.filename} ({reason(error)})")

    for place, folders, found in os.walk(folder, followlinks=True, onerror=failed):
        real = os.path.realpath(place)
        if real in seen or real == results:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".")
                            and os.path.realpath(os.path.join(place, name)) != results)
        yield place, folders, [name for name in found if not name.startswith(".")]


def _fits(path: str, patterns: Sequence[str]) -> bool:
    path = path.casefold()
    name = path.rpartition("/")[2]
    if not patterns:
        return os.path.splitext(name)[1] in ENDINGS
    return any(fnmatch.fnmatchcase(path if "/" in pattern else name, pattern.casefold()) for pattern in patterns)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
