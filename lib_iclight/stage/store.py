"""A stage: a set of pictures of one subject, one for each light, in memory and on disk.

On disk it is a folder with `stage.json`:

    {"version": 1, "alpha": "alpha.png" or null,
     "pictures": [{"name": "left", "file": "left.png", "light": LIGHT}, ...]}

LIGHT is a preset's name, a light spec, or {"direction": [x, y, z]}, a vector towards the lamp. The pictures are sRGB of
8 or 16 bits, of one size. Ours also hold "settings" and "seed" of the relights and "clipped", the share of clipped
pixels of each picture; keys that are not known are ignored, so a folder of photographs with a list written by hand is
as good. An `.lp` file (see `lp`) lies beside it for the tools of Reflectance Transformation Imaging.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import StageError
from ..files import text as text_of
from ..imaging.save import encodable, write_whole
from ..jsontext import read_json
from . import files
from .rig import Lamp, check_names, directions, light_from_json

LIST = "stage.json"
VERSION = 1
IN_MEMORY = 2**30
"""bytes of linear float32 pictures up to which a set is kept in memory; larger ones are read in bands"""
CHUNK = 2**30
"""bytes of pixel values that are read from disk at a time"""
BAND = 64
"""rows that are worked on at once"""
SAMPLES = 128
"""points a (mean) side at which a set is looked at for its exposure"""
CLIPPED = 254.5 / 255.0
"""an encoded value from which on a channel counts as clipped"""
MAX_PICTURES = 4096


@dataclass(frozen=True, eq=False)
class Stage:
    """A set of pictures. Made by `load` or `from_pictures`; it does not change.

    Pictures are read through `bands` and `picture`, wherever they are kept.
    """

    lamps: tuple[Lamp, ...]
    width: int
    height: int
    alpha: NDArray[np.float32] | None = None
    """float32 [H, W], 0..1, 1 = subject; None: all of the picture is subject"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """what the pictures were made with, as JSON values"""
    seed: int | None = None
    clipped: tuple[float, ...] | None = None
    """for each picture the share of the subject's pixels with a channel at its largest value, 0..1; None: not known"""
    pictures: NDArray[np.float32] | None = None
    """linear light, [L, H, W, 3], of a set that is kept in memory"""
    paths: tuple[Path, ...] = ()
    """the pictures' files, of a set that is read from disk"""

    @property
    def names(self) -> tuple[str, ...]:
        """The lights' names."""
        return tuple(lamp.name for lamp in self.lamps)

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors towards the lights [L, 3]; NaN for a light that has none."""
        return directions(self.lamps)

    @property
    def subject(self) -> NDArray[np.float32]:
        """Alpha, or ones where the set has none."""
        return self.alpha if self.alpha is not None else np.ones((self.height, self.width), np.float32)

    def index(self, name: str) -> int:
        """The place of the light of that name. Raises StageError."""
        if name not in self.names:
            raise StageError(f"the stage has no light called {name!r:.60}. It has: {', '.join(self.names)}.")
        return self.names.index(name)

    def picture(self, number: int) -> NDArray[np.float32]:
        """One picture, linear light 0..1, float32 [H, W, 3]."""
        return self.pictures[number] if self.pictures is not None else files.to_linear(self.codes(number))

    def bands(self, only: Sequence[int] | None = None) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """All pictures, or those of the numbers `only`, band by band from the top.

        Yields the rows and their linear light, float32 [L, rows, W, 3]. A set on disk is decoded once for every CHUNK
        bytes of it; no more than that and a few bands are in memory.
        """
        numbers = list(range(len(self.lamps)) if only is None else only)
        if self.pictures is not None:
            every = numbers == list(range(len(self.lamps)))
            for top in range(0, self.height, BAND):
                rows = slice(top, min(top + BAND, self.height))
                yield rows, self.pictures[:, rows] if every else self.pictures[numbers, rows]
            return
        shallow = all(path.suffix.lower() in (".jpg", ".jpeg", ".webp") for path in self.paths)
        deepest = 1 if shallow else 2  # bytes a value, at most
        tall = max(BAND, CHUNK // (len(numbers) * self.width * 3 * deepest))
        for top in range(0, self.height, tall):
            held = [self.codes(number)[top:top + tall].copy() for number in numbers]
            for above in range(0, len(held[0]), BAND):
                rows = slice(top + above, top + min(above + BAND, len(held[0])))
                yield rows, np.stack([files.to_linear(codes[above:above + BAND]) for codes in held])

    def each_band(self, work: Callable[[slice, NDArray[np.float32]], None], only: Sequence[int] | None = None) -> None:
        """`work(rows, pictures)` for every band; two at once, for numpy lets others run meanwhile."""
        with ThreadPoolExecutor(2) as pool:
            waiting = []
            for rows, pictures in self.bands(only):
                waiting.append(pool.submit(work, rows, pictures))
                if len(waiting) > 3:
                    waiting.pop(0).result()
            for one in waiting:
                one.result()

    @cached_property
    def sample(self) -> NDArray[np.float32]:
        """The subject on a coarse grid, linear light [L, N, 3], N at most SAMPLES squared and a little.

        Every step-th row and column from step // 2 on, step = max(1, floor(sqrt(H * W) / SAMPLES)), where alpha is
        above 0.5; of a set whose subject no point falls on, all points.
        """
        step = max(1, int(math.sqrt(self.width * self.height) / SAMPLES))
        grid = np.s_[step // 2::step, step // 2::step]
        inside = self.subject[grid] > 0.5
        if not inside.any():
            inside = np.ones_like(inside)
        return np.stack([self.picture(number)[grid][inside] for number in range(len(self.lamps))])

    def reduced(self, side: int) -> Stage:
        """The set in memory with its longer side at most `side` pixels; itself where it is that already.

        Pixels are averaged in linear light. Raises StageError for a side under 1.
        """
        if side < 1:
            raise StageError(f"a stage cannot be {side} pixels wide. Give the longer side in pixels.")
        scale = side / max(self.width, self.height)
        if scale >= 1.0 and self.pictures is not None:
            return self
        width, height = (max(1, round(one * min(scale, 1.0))) for one in (self.width, self.height))
        pictures = np.stack([_scaled(self.picture(number), width, height) for number in range(len(self.lamps))])
        alpha = None if self.alpha is None else _scaled(self.alpha[..., None], width, height)[..., 0].clip(0.0, 1.0)
        return Stage(self.lamps, width, height, alpha, self.settings, self.seed, self.clipped, pictures)

    def codes(self, number: int) -> files.Codes:
        """One picture of a set with files, as sRGB codes [H, W, 3], uint8 or uint16. Raises StageError."""
        codes, _ = files.read(self.paths[number])
        if codes.shape[:2] != (self.height, self.width):
            raise _other_size(self.paths[number].name, codes.shape[1], codes.shape[0], self.width, self.height)
        return codes


def from_pictures(lamps: Sequence[Lamp], pictures: NDArray[np.float32], alpha: NDArray[np.float32] | None = None,
                  settings: Mapping[str, Any] | None = None, seed: int | None = None) -> Stage:
    """A stage in memory. pictures: linear light [L, H, W, 3], one for each lamp; alpha: [H, W], 0..1.

    Raises StageError where they do not go together, and for values that are not finite.
    """
    check_names([lamp.name for lamp in lamps])
    if pictures.ndim != 4 or pictures.shape[3] != 3 or len(pictures) != len(lamps):
        raise StageError(f"{len(lamps)} lights need pictures of shape [{len(lamps)}, height, width, 3], "
                         f"not {list(pictures.shape)}.")
    height, width = pictures.shape[1:3]
    if alpha is not None and alpha.shape != (height, width):
        raise _other_size("alpha", alpha.shape[1], alpha.shape[0], width, height)
    pictures = pictures.astype(np.float32, copy=False)
    if not np.isfinite(pictures).all():
        raise StageError("a picture of the stage holds values that are no numbers. Make it anew.")
    subject = np.ones((height, width), np.float32) if alpha is None else alpha.astype(np.float32)
    limit = files.LINEAR_OF_CODE[16][round(CLIPPED * 65535)]
    clipped = tuple(clipped_share(picture >= limit, subject) for picture in pictures)
    return Stage(tuple(lamps), width, height, None if alpha is None else subject, dict(settings or {}), seed, clipped,
                 pictures)


def load(folder: Path) -> Stage:
    """The stage in a folder, or that of a `stage.json` or `.lp` file given itself.

    Small sets are read into memory (IN_MEMORY), larger ones band by band when they are used. Raises StageError, which
    names what is at fault: no list, not JSON, another version, an unknown light, a missing or damaged picture,
    one of another size, two of one name.
    """
    if folder.suffix.lower() == ".lp":
        from .lp import read_lp  # it needs this module

        return read_lp(folder)
    path = folder if folder.name == LIST else folder / LIST
    values = _listed(path)
    lamps, paths = [], []
    for number, entry in enumerate(values["pictures"]):
        where = f"{LIST}, picture {number + 1}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) \
                or not isinstance(entry.get("file"), str):
            raise StageError(f"{where} needs a \"name\" and a \"file\".")
        lamps.append(Lamp(entry["name"], light_from_json(where, entry.get("light", entry["name"]))))
        paths.append(inside(path.parent, entry["file"]))
    check_names([lamp.name for lamp in lamps])
    mask = values.get("alpha")
    if mask is not None and not isinstance(mask, str):
        raise StageError(f"{LIST}: \"alpha\" must be the name of a picture, or null.")
    settings, seed = values.get("settings"), values.get("seed")
    return from_files(lamps, paths, None if mask is None else inside(path.parent, mask),
                      settings if isinstance(settings, dict) else {},
                      seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
                      [entry.get("clipped") for entry in values["pictures"]])


def from_files(lamps: Sequence[Lamp], paths: Sequence[Path], mask: Path | None = None,
               settings: Mapping[str, Any] | None = None, seed: int | None = None,
               clipped: Sequence[object] = ()) -> Stage:
    """A stage of one picture file for each lamp; see `load`. mask: alpha as a picture."""
    width, height = files.size_of(paths[0])
    for path in paths[1:]:
        size = files.size_of(path)
        if size != (width, height):
            raise _other_size(path.name, *size, width, height)
    alpha = None
    if mask is not None:
        alpha = files.read_mask(mask)
        if alpha.shape != (height, width):
            raise _other_size(mask.name, alpha.shape[1], alpha.shape[0], width, height)
    known = [float(one) for one in clipped if isinstance(one, int | float) and 0 <= one <= 1]
    stage = Stage(tuple(lamps), width, height, alpha, dict(settings or {}), seed,
                  tuple(known) if len(known) == len(paths) else None, None, tuple(paths))
    if len(paths) * height * width * 12 > IN_MEMORY:
        return stage
    pictures = np.empty((len(paths), height, width, 3), np.float32)
    shares = []
    for number in range(len(paths)):
        codes = stage.codes(number)
        pictures[number] = files.to_linear(codes)
        shares.append(clipped_share(codes >= CLIPPED * (2 ** files.bits_of(codes) - 1), stage.subject))
    return Stage(stage.lamps, width, height, alpha, stage.settings, seed, tuple(shares), pictures, tuple(paths))


def clipped_share(burnt: NDArray[np.bool_], subject: NDArray[np.float32]) -> float:
    """The share of the subject (alpha above 0.5) with a channel that is `burnt`, [H, W, 3]."""
    solid = subject > 0.5
    return float(burnt.any(axis=2)[solid].mean()) if solid.any() else 0.0


def inside(folder: Path, name: str) -> Path:
    """The file of that name in the folder or below it. Raises StageError for one that would lie elsewhere."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or "\0" in name:
        raise StageError(f"{name!r:.60} is not the name of a file in the stage's folder. "
                         "Put the pictures beside the list and write their bare names.")
    return folder.joinpath(*parts)


def _listed(path: Path) -> dict[str, Any]:
    """stage.json's object, its version and list of pictures checked. Raises StageError."""
    try:
        text = text_of(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StageError(f"there is no {LIST} in {path.parent.name or 'the folder'}: it is not a light stage. "
                         "Make one with the stage command, or write the list by hand.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{LIST} cannot be read. Check the file, or make the stage anew.") from error
    values = read_json(text, LIST, StageError, "Correct it, or make the stage anew.")
    if not isinstance(values, dict) or values.get("version") != VERSION:
        found = values.get("version") if isinstance(values, dict) else None
        raise StageError(f"{LIST} is of version {found!r:.20}; this program reads version {VERSION}.")
    if not isinstance(values.get("pictures"), list):
        raise StageError(f"{LIST} has no list of \"pictures\".")
    if len(values["pictures"]) > MAX_PICTURES:
        raise StageError(f"{LIST} lists {len(values['pictures'])} pictures. Use at most {MAX_PICTURES}.")
    return values


def write_text(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all. Raises StageError."""
    try:
        write_whole(path, encodable(text).encode())
    except OSError as error:
        raise StageError(f"{path.name} cannot be written ({error.strerror or error}). "
                         "Choose a folder that may be written to and has room.") from error


def _scaled(picture: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """[H, W, C] averaged to [height, width, C]."""
    return np.stack([np.asarray(Image.fromarray(np.ascontiguousarray(picture[..., channel])).resize(
        (width, height), Image.Resampling.BOX)) for channel in range(picture.shape[2])], 2)


def _other_size(name: str, width: int, height: int, wanted_width: int, wanted_height: int) -> StageError:
    return StageError(f"{name} is {width} x {height} pixels, the stage's first picture {wanted_width} x "
                      f"{wanted_height}. All pictures of a stage must have one size.")
