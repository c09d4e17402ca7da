"""Light positions as Reflectance Transformation Imaging keeps them: `.lp` files.

The first line is the number of pictures; each further line is a picture's file and a vector towards its lamp,
`file x y z` (x right, y up, z to the camera). The tools of museums read it, such as relight and OpenLIME's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import StageError
from .rig import Direction, Lamp, check_names
from .store import MAX_PICTURES, Stage, from_files, inside, write_text


def read_lp(path: Path) -> Stage:
    """The stage that an `.lp` file lists; its pictures lie beside it or where it says, below its folder.

    A file's name without its ending is its light's name. Raises StageError as `store.load`, and for a list that is not one.
    """
    lamps, paths = [], []
    for name, direction in parse_lp(_text(path), path.name):
        place = _place(path.parent, name)
        lamps.append(Lamp(place.stem, direction))
        paths.append(place)
    if len({lamp.name for lamp in lamps}) < len(lamps):  # a.jpg and a.png, or one name in two folders
        lamps = [Lamp(f"{number + 1} {lamp.name}", lamp.light) for number, lamp in enumerate(lamps)]
    check_names([lamp.name for lamp in lamps])
    return from_files(lamps, paths)


def parse_lp(text: str, what: str = "the .lp file") -> list[tuple[str, Direction]]:
    """The files and directions of an `.lp` file's text. Raises StageError naming the line at fault."""
    lines = [(number, line.strip()) for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1) if line.strip()]
    if not lines or not re.fullmatch(r"\d{1,9}", lines[0][1]):
        raise StageError(f"{what} does not begin with the number of its pictures, so it is no list of light positions.")
    count = int(lines[0][1])
    if count != len(lines) - 1:
        raise StageError(f"{what} promises {count} pictures and lists {len(lines) - 1}. It may be cut short.")
    if count > MAX_PICTURES:
        raise StageError(f"{what} lists {count} pictures. Use at most {MAX_PICTURES}.")
    entries = []
    for number, line in lines[1:]:
        words = line.rsplit(None, 3)
        try:
            name, (x, y, z) = words[0], (float(word) for word in words[1:])
            entries.append((name, Direction(x, y, z)))
        except ValueError as error:
            raise StageError(f"{what}, line {number}: write a file's name and three numbers, x y z.") from error
        except StageError as error:
            raise StageError(f"{what}, line {number}: {error}") from None
    return entries


def write_lp(path: Path, entries: Sequence[tuple[str, Lamp]]) -> None:
    """Write an `.lp` file of (file, lamp) pairs; lamps without a direction are left out, ambient is (0, 0, 1)."""
    lines = []
    for name, lamp in entries:
        if lamp.direction is not None:
            x, y, z = (value if abs(value) > 1e-9 else 0.0 for value in lamp.direction)
            lines.append(f"{name} {x:.7f} {y:.7f} {z:.7f}")
    write_text(path, "\n".join([str(len(lines)), *lines]) + "\n")


def angle_between(one: Sequence[float], other: Sequence[float]) -> float:
    """Degrees between two unit vectors."""
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return math.degrees(math.acos(max(-1.0, min(1.0, dot))))


def _place(folder: Path, name: str) -> Path:
    """The picture of a line: as written below the folder, else its bare name; lists often come with old full paths."""
    for candidate in (name, name.replace("\\", "/")):
        try:
            place = inside(folder, candidate)
        except StageError:
            continue
        if place.is_file():
            return place
    bare = PureWindowsPath(name).name if "\\" in name else PurePosixPath(name).name
    return inside(folder, bare)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise StageError(f"{path.name} cannot be read ({error.strerror or error}). Check the file's name.") from error
