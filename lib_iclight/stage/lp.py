"""Light positions as Reflectance Transformation Imaging keeps them: `.lp` files.

The first line is the number of pictures; each further line is a picture's file and a vector towards its lamp,
`file x y z` (x right, y up, z to the camera). The tools of museums read it, such as relight and OpenLIME's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import StageError
from ..files import is_dir, listed
from ..files import text as text_of
from ..imaging import save_picture
from ..imaging.photo import Photo
from ..progress import Progress, silent
from .rig import Direction, Lamp, check_names
from .store import MAX_PICTURES, Stage, from_files, inside, write_text


def read_lp(path: Path) -> Stage:
    """The stage that an `.lp` file lists; its pictures lie beside it or where it says, below its folder.

    A file's name without its ending is its light's name. Raises StageError as `store.load` and `parse_lp`.
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
    numbered = enumerate(text.lstrip("\ufeff").splitlines(), 1)
    lines = [(number, line.strip()) for number, line in numbered if line.strip()]
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


def export(stage: Stage, folder: Path, progress: Progress = silent) -> list[str]:
    """Write `stage` into an empty folder in the form that relight's command line reads; the names of what is left out.

    That takes the folder's `*.jpg` in the order of their names, the k-th for line k of the `.lp` file: so names begin
    with a number, and pictures become JPEGs of 8 bits. Lamps without a direction are left out.
    Raises StageError where the folder holds anything, and ImageError.
    """
    if is_dir(folder) and listed(folder):
        raise StageError(f"the folder {folder.name} is not empty, and relight takes every picture in it. "
                         "Choose an empty folder.")
    kept = [number for number, lamp in enumerate(stage.lamps) if lamp.direction is not None]
    if not kept:
        raise StageError("none of the stage's lights has a direction, so there is nothing to export.")
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for place, number in enumerate(kept):
        progress("copying", place, len(kept))
        lamp = stage.lamps[number]
        name = f"{place + 1:04d}-{re.sub(r'[^A-Za-z0-9-]+', '-', lamp.name)}.jpg"
        save_picture(Photo(stage.codes(number)).image(), folder / name)
        entries.append((name, lamp))
    write_lp(folder / "stage.lp", entries)
    return [lamp.name for lamp in stage.lamps if lamp.direction is None]


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
        return text_of(path, errors="replace")
    except OSError as error:
        raise StageError(f"{path.name} cannot be read ({error.strerror or error}). Check the file's name.") from error
