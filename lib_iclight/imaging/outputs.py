"""The files that a job will write, all known and tried before it begins."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import ImageError
from .save import LONGEST_SIDE, WITH_ALPHA, WRITABLE, check_text, clear_parts, format_of, save_picture


@dataclass(frozen=True)
class Output:
    """One picture that a job will write."""

    name: str = ""
    """what follows the target's stem, OUT-mask.png; "" for the target itself"""
    alpha: bool = False
    """whether it is transparent; where the format has no transparency it is written as a .png"""
    size: tuple[int, int] | None = None
    """width and height in pixels, where they are known"""
    text: str = ""
    """about the text that it will carry, where that is known"""


@dataclass(frozen=True)
class Outputs:
    """Where a job's pictures go. Made by `plan_outputs`, which has seen that they can be written."""

    paths: Mapping[str, Path]
    """by the outputs' names"""
    notes: tuple[str, ...] = ()
    """sentences on what is done otherwise than asked, to be said before the work"""

    def save(self, name: str, image: Image.Image, text: str = "") -> Path:
        """Write the picture of that name; see `save_picture`. Returns its path."""
        save_picture(image, self.paths[name], text)
        return self.paths[name]


def plan_outputs(target: Path, outputs: Iterable[Output | str], sources: Iterable[Path | None] = (), *,
                 overwrite: bool = True, endings: Iterable[str] = tuple(WRITABLE)) -> Outputs:
    """The paths of all pictures that a job will write, each tried as far as it can be without writing it.

    target: the file that a person named; other outputs lie beside it as STEM-NAME.
    sources: every file that the job reads. None of them is ever written over, by whatever name or link it goes.
    overwrite: existing files are replaced, as `-o` of other programs does; False refuses them.
    endings: those that may be asked for.

    Raises ImageError, with nothing written: for endings that are no writable format, a folder that is missing or not
    writable, names that are too long, folders and devices by such a name, write-protected files, files that the job
    reads, two outputs of one name (also where only case or the form of accents tells them apart: many disks do not),
    sizes above the format's, and texts that it cannot carry.
    """
    allowed = list(endings)
    if target.suffix.lower() not in allowed:
        raise ImageError(f"a picture cannot be written as {target.name!r}: its ending must be one of "
                         f"{', '.join(allowed)}.")
    form = format_of(target.suffix)
    planned = [Output(output) if isinstance(output, str) else output for output in outputs]
    _check_folder(target)
    paths: dict[str, Path] = {}
    notes: list[str] = []
    taken: dict[str, Path] = {}
    read = [source for source in sources if source is not None]
    for output in planned:
        path = path_of(target, output)
        if path.suffix != target.suffix:
            notes.append(f"{path.name} is written as a PNG: a {form} has no transparency.")
        _check_fits(output, path)
        _check_path(path, read, overwrite)
        key = unicodedata.normalize("NFC", path.name).casefold()
        if key in taken:
            raise ImageError(f"two pictures would be written as {path}. Give them different names.")
        taken[key] = paths[output.name] = path
    _try_folder(target)
    return Outputs(paths, tuple(notes))


def path_of(target: Path, output: Output) -> Path:
    """The file of one output beside `target`; a transparent one is a .png where the format has no transparency."""
    suffix = ".png" if output.alpha and target.suffix.lower() not in WITH_ALPHA else target.suffix
    return target.with_name(f"{target.stem}-{output.name}{suffix}") if output.name else target.with_suffix(suffix)


def name_of(name: str, number: int, batch: int) -> str:
    """What follows OUT in a picture's name: of `relit.png` 2 and `raw` give relit-2-raw.png.

    name: `result`, or what was returned beside it. number: of which picture of the batch it is, 0 of all.
    """
    parts = [str(number)] if number and batch > 1 else []
    return "-".join(parts if name == "result" else [*parts, name])


def check_target(target: Path, sources: Iterable[Path] = ()) -> None:
    """Raise ImageError where a file of any kind cannot or must not be written by that name; see `plan_outputs`."""
    _check_folder(target)
    _check_path(target, sources, overwrite=True)
    _try_folder(target)


def _check_folder(target: Path) -> None:
    if not os.path.isdir(target.parent):  # not Path.is_dir: that raises for folders that may not be looked into
        raise ImageError(f"{target} cannot be written: there is no folder {target.parent}. Make it first.")


def _check_fits(output: Output, path: Path) -> None:
    """Raises ImageError for a size or text that the format does not take."""
    limit = LONGEST_SIDE.get(WRITABLE[path.suffix.lower()])
    if limit is not None and output.size is not None and max(output.size) > limit:
        raise ImageError(f"{path} would be {output.size[0]} x {output.size[1]} pixels, and a {path.suffix} has at most "
                         f"{limit} on a side. Write a .png.")
    check_text(output.text, path.suffix)


def _check_path(path: Path, sources: Iterable[Path], overwrite: bool) -> None:
    """Raises ImageError where a file cannot or must not be written by that name."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name too long, or with a null character
        raise ImageError(f"{path} cannot be written ({getattr(error, 'strerror', None) or error}). "
                         "Choose another name or folder.") from error
    for source in sources:
        if same_file(path, source):
            raise ImageError(f"{path} is one of the pictures to read. Choose another output.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ImageError(f"{path} cannot be written: it is no file. Choose another name or folder.")
    if not overwrite:
        raise ImageError(f"{path} is there already. Choose another output, or allow it to be overwritten.")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise ImageError(f"{path} cannot be written: it is write-protected. Choose another output.")


def same_file(path: Path, source: Path) -> bool:
    """Whether two names are one file's. A source that is not there is nobody's: reading it says so."""
    try:
        return os.path.samefile(path, source)
    except (OSError, ValueError):
        return False


def _try_folder(target: Path) -> None:
    """Raises ImageError where the target's folder takes no file; the file that is tried is removed again."""
    clear_parts(target.parent)
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ImageError(f"{target} cannot be written: its folder takes no file ({error.strerror or error}). "
                         "Choose another folder.") from error
