"""A stage as it is being made: its pictures go to disk one by one, and it can be gone on with."""

from __future__ import annotations

import errno
import json
import re
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import locks
from ..errors import StageError
from ..files import content, exists
from ..imaging.save import clear_parts
from ..jsontext import read_json
from . import files
from .lp import write_lp
from .rig import Lamp, check_names
from .store import CLIPPED, LIST, VERSION, Stage, clipped_share, load, write_text

LOCK = ".stage.lock"
"""held by whoever writes to a stage's folder, and gone afterwards"""
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class StageWriter:
    """Writes a stage's folder picture by picture; `stage.json` lists those that are there, and no more.

    Opened on a folder that holds a part of the same stage (the same settings, seed, alpha and lights), it goes on
    there: `missing` says which pictures are to be made yet. The order in the list is the rig's, whatever order they
    come in.

    The folder is this writer's alone until nothing is missing, or until it is closed or forgotten; the end of the
    process frees it too. What a process that was killed has left half-written is removed.
    """

    def __init__(self, folder: Path, lamps: Sequence[Lamp], alpha: NDArray[np.float32] | None = None,
                 settings: Mapping[str, Any] | None = None, seed: int | None = None, bits: int = 8) -> None:
        """Begin or go on with the stage of these lamps in `folder`, which is made where it is not there.

        alpha: float32 [H, W], 0..1. settings: JSON values. bits: 8 or 16, of pictures given as linear light.
        Raises StageError where the folder holds another stage, or cannot be written to.
        """
        check_names([lamp.name for lamp in lamps])
        if bits not in (8, 16):
            raise StageError(f"pictures of a stage have 8 or 16 bits, not {bits}.")
        self.folder, self.lamps, self.seed, self.bits = folder, tuple(lamps), seed, bits
        try:
            self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise StageError(f"the stage's settings cannot be written as JSON ({error}).") from error
        self._files = _file_names(lamps)
        self._clipped: dict[str, float] = {}
        self._size: tuple[int, int] | None = None if alpha is None else (alpha.shape[1], alpha.shape[0])
        self._alpha = None if alpha is None else np.rint(alpha.clip(0.0, 1.0) * 255.0).astype(np.uint8)
        self._mask: NDArray[np.float32] | None = None if self._alpha is None else self._alpha / np.float32(255.0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StageError(f"the folder {folder.name} cannot be made ({error.strerror or error}). "
                             "Choose another one.") from error
        self._free: weakref.finalize | None = None
        self._claim()
        try:
            clear_parts(folder)
            self._begin()
        except BaseException:
            self.close()
            raise
        if not self.missing:
            self.close()

    def close(self) -> None:
        """Leave the folder to others. `add` takes it again."""
        if self._free is not None:
            self._free()
            self._free = None

    def _claim(self) -> None:
        """Hold the folder. Raises StageError where another writer does, in this process or another."""
        path = self.folder / LOCK
        try:
            file = locks.claim(path)
        except OSError as error:
            if error.errno in WITHOUT_LOCKS:  # some network disks; there nobody can hold a folder
                return
            raise StageError(f"the folder {self.folder.name} cannot be written to ({error.strerror or error}). "
                             "Choose another one.") from error
        if file is None:
            raise StageError(f"the folder {self.folder.name} is being written to by another job. "
                             "Wait until that is done, or choose another folder.")
        self._free = weakref.finalize(self, locks.release, file, path)

    def _begin(self) -> None:
        if (self.folder / LIST).exists():
            self._go_on()
            return
        self._refuse_others()
        if self._alpha is not None:
            files.write_png(self.folder / "alpha.png", self._alpha)

    @property
    def missing(self) -> tuple[Lamp, ...]:
        """The lamps whose pictures are not there yet, in the rig's order."""
        return tuple(lamp for lamp in self.lamps if lamp.name not in self._clipped)

    def add(self, name: str, picture: NDArray[Any], text: str = "") -> Path:
        """Write the picture of one light; afterwards the list claims it. Returns the file.

        picture: sRGB codes, uint8 or uint16 [H, W, 3], written as they are; or linear light, float [H, W, 3], which is
        clipped to 0..1. A picture that is there already is replaced. text: its infotext. Raises StageError.
        """
        if name not in self._files:
            raise StageError(f"the stage has no light called {name!r:.60}. It has: {', '.join(self._files)}.")
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise StageError(f"a picture of a stage is [height, width, 3], not {list(picture.shape)}.")
        size = (picture.shape[1], picture.shape[0])
        if self._size is not None and size != self._size:
            raise StageError(f"the picture {name!r} is {size[0]} x {size[1]} pixels, the stage {self._size[0]} x "
                             f"{self._size[1]}. All pictures of a stage must have one size.")
        codes = self._codes(name, picture)
        mask = np.ones(codes.shape[:2], np.float32) if self._mask is None else self._mask
        path = self.folder / self._files[name]
        if self._free is None:
            self._claim()
        if not exists(self.folder / LIST):  # from now on the folder is a stage's: what comes next may be broken off
            write_text(self.folder / LIST, self._list())
        files.write_png(path, codes, text)
        self._size = size
        self._clipped[name] = clipped_share(codes >= CLIPPED * (2 ** files.bits_of(codes) - 1), mask)
        self._write_list()
        if not self.missing:
            self.close()
        return path

    def stage(self) -> Stage:
        """What is there so far, read back. Raises StageError where there is nothing yet."""
        return load(self.folder)

    def _codes(self, name: str, picture: NDArray[Any]) -> files.Codes:
        if picture.dtype in (np.uint8, np.uint16):
            return picture
        if picture.dtype.kind != "f":
            raise StageError(f"the picture {name!r} is an array of {picture.dtype}. Give uint8, uint16 or floats.")
        if not np.isfinite(picture).all():
            raise StageError(f"the picture {name!r} holds values that are no numbers. Make it anew.")
        return files.to_codes(picture.astype(np.float32), self.bits)

    @property
    def _there(self) -> list[Lamp]:
        return [lamp for lamp in self.lamps if lamp.name in self._clipped]

    def _list(self) -> str:
        values = {"version": VERSION, "alpha": None if self._alpha is None else "alpha.png",
                  "pictures": [{"name": lamp.name, "file": self._files[lamp.name], "light": lamp.to_json(),
                                "clipped": round(self._clipped[lamp.name], 6)} for lamp in self._there],
                  "rig": [lamp.name for lamp in self.lamps], "seed": self.seed, "settings": self.settings}
        return json.dumps(values, indent=1, allow_nan=False) + "\n"

    def _write_list(self) -> None:
        write_lp(self.folder / "stage.lp", [(self._files[lamp.name], lamp) for lamp in self._there])
        write_text(self.folder / LIST, self._list())

    def _refuse_others(self) -> None:
        """Raise StageError where a person's own files have the names of a stage's, and no list says they are ours."""
        there = [name for name in (*self._files.values(), "stage.lp") if exists(self.folder / name)]
        if exists(self.folder / "alpha.png") and self._alpha is not None and not self._is_own_alpha():
            there.append("alpha.png")
        if there:
            raise StageError(f"the folder {self.folder.name} holds {there[0]} and no {LIST}: that is no stage, and "
                             "would be written over. Choose another folder.")

    def _is_own_alpha(self) -> bool:
        """Whether the alpha that lies there is this stage's, left by a run that ended before its first picture."""
        if self._alpha is None:
            return False
        try:
            return np.array_equal(np.rint(files.read_mask(self.folder / "alpha.png") * 255.0), self._alpha)
        except StageError:
            return False

    def _go_on(self) -> None:
        """Take over what an interrupted run left. Raises StageError where it was another stage."""
        other = StageError(f"the folder {self.folder.name} holds another stage, of other settings, seed, lights or "
                           "subject. Choose another folder, or delete that one.")
        try:
            values = read_json(content(self.folder / LIST), LIST, StageError, "Choose another folder.")
            listed = {entry["name"]: entry for entry in values["pictures"]}
        except (OSError, KeyError, TypeError) as error:
            raise other from error
        if values.get("version") != VERSION or values.get("settings") != self.settings \
                or values.get("seed") != self.seed or (values.get("alpha") is None) != (self._alpha is None):
            raise other
        lights = {lamp.name: lamp for lamp in self.lamps}
        if any(name not in lights or entry.get("file") != self._files[name]
               or entry.get("light") != json.loads(json.dumps(lights[name].to_json()))
               for name, entry in listed.items()):
            raise other
        if self._alpha is not None:
            if exists(self.folder / "alpha.png") and not self._is_own_alpha():
                raise other
            files.write_png(self.folder / "alpha.png", self._alpha)
        for name in lights:  # a listed picture that is gone or damaged since is made again
            if name not in listed:
                continue
            try:
                codes, _ = files.read(self.folder / self._files[name])
            except StageError:
                continue
            size = (codes.shape[1], codes.shape[0])
            if self._size is None or size == self._size:
                self._size = size
                mask = np.ones(codes.shape[:2], np.float32) if self._mask is None else self._mask
                self._clipped[name] = clipped_share(codes >= CLIPPED * (2 ** files.bits_of(codes) - 1), mask)


def save(stage: Stage, folder: Path, bits: int = 8) -> None:
    """Write a whole stage into a folder; see `StageWriter`."""
    writer = StageWriter(folder, stage.lamps, stage.alpha, stage.settings, stage.seed, bits)
    for number, lamp in enumerate(stage.lamps):
        writer.add(lamp.name, stage.picture(number))


def _file_names(lamps: Sequence[Lamp]) -> dict[str, str]:
    """A file's name for each lamp: its own name in plain letters, with a number where two would be alike."""
    made: dict[str, str] = {}
    for number, lamp in enumerate(lamps):
        plain = re.sub(r"[^a-z0-9]+", "-", lamp.name.lower()).strip("-")[:60] or "light"
        taken = plain in ("alpha",) or f"{plain}.png" in made.values()
        made[lamp.name] = f"{plain}-{number + 1}.png" if taken else f"{plain}.png"
    return made
