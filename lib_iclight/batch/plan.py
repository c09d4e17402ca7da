"""What a batch has to do, and how its files are called. Pure: nothing here reads or writes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..cache import content_key
from ..effects import is_lit
from ..errors import BatchError
from ..generation import Generation
from ..imaging.outputs import Output, name_of, path_of
from ..settings import STAGES, Settings
from .recipe import SEEDS, meant

VERSION = 1
"""of the keys; another one makes every picture anew"""
TAG = 10
"""letters of the key in a file's name"""
LONGEST = 150
"""bytes of a picture's own name in that of its result; disks take names of 255 bytes"""
KEY = "IC-Light batch"
"""what the key is called in an infotext"""
MARKER = "batch.json"
"""the file in a light stage's folder that is written last"""


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a batch, `number` from 1 on."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/8`. Raises BatchError."""
        number, slash, count = text.partition("/")
        if slash and number.strip().isdecimal() and count.strip().isdecimal() and len(text) < 20:
            shard = cls(int(number), int(count))
            if 1 <= shard.number <= shard.count:
                return shard
        raise BatchError(f"--shard must be a part and how many there are, such as 1/4, not {text[:40]!r}.")

    def of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names in this part. A name's part depends on nothing but itself: files may come and go meanwhile."""
        if self.count == 1:
            return tuple(names)
        return tuple(name for name in names if part_of(name, self.count) == self.number)


def part_of(name: str, count: int) -> int:
    """The part, from 1 on, that a name belongs to."""
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1


def seed_of(data: bytes, seed: int) -> int:
    """A seed of a picture's own: of its bytes, so that it is the same whatever else is in the folder."""
    digest = hashlib.blake2b(data, digest_size=4).digest()
    return (int.from_bytes(digest, "big") + seed) % (SEEDS - 1000)  # a batch counts on from it


def key_of(name: str, data: bytes, settings: Settings, generation: Generation, models: str,
           more: Mapping[str, Any] | None = None) -> str:
    """32 hex digits that name what a picture becomes.

    name: the picture's, from the folder on, so that two files of one content have a result each.
    data: its bytes. models: names checkpoint, LoRAs and IC-Light's weights by their content. more: JSON values.
    """
    made = {one: value for one, value in vars(generation).items() if value != getattr(Generation, one)}
    asked = json.dumps([meant(settings), made, more or {}], sort_keys=True)
    return content_key(VERSION, name, data, asked, models)


@dataclass(frozen=True)
class Target:
    """The files that one picture becomes."""

    place: Path
    """the result; of a light stage its folder, of several pictures the first"""
    key: str
    files: Mapping[str, Path]
    """where each picture goes, by what follows the result's name; none of a light stage, which names its own"""
    needed: tuple[Path, ...]
    """what has to be there for the picture to be done"""
    marker: Path | None = None
    """of a light stage, the file that is written last"""


def target_of(name: str, key: str, out: Path, ending: str, settings: Settings, generation: Generation) -> Target:
    """Where the picture of that name goes: OUT/its folder/its name-KEY.png, of a light stage a folder so called."""
    source = PurePosixPath(name)
    path = out.joinpath(*source.parent.parts, f"{shortened(source.stem)}-{key[:TAG]}{ending}")
    batch = generation.batch
    if settings.stage != "off":
        folder = path.with_suffix("")
        sets = [folder] if batch == 1 else [folder / str(number) for number in range(1, batch + 1)]
        pictures = [one / f"{light}.png" for one in sets for light in STAGES[settings.stage]]
        marker = folder / MARKER
        return Target(folder, key, {}, (*pictures, *(one / "stage.json" for one in sets), marker), marker)
    outputs = [Output(one, alpha=one == "cutout") for one in ("cutout", "mask") if one in settings.outputs]
    if "lightmap" in settings.outputs and is_lit(settings):
        outputs.append(Output("lightmap"))
    kinds = ("raw", "result") if "raw" in settings.outputs else ("result",)
    outputs += [Output(name_of(kind, number, batch)) for kind in kinds for number in range(1, batch + 1)]
    files = {output.name: path_of(path, output) for output in outputs}
    return Target(files[name_of("result", 1, batch)], key, files, tuple(files.values()))


def shortened(stem: str, longest: int = LONGEST) -> str:
    """A file's name cut to so many bytes, between letters."""
    while len(os.fsencode(stem)) > longest:
        stem = stem[:-max(1, (len(os.fsencode(stem)) - longest) // 4)]
    return stem


def with_key(text: str, key: str) -> str:
    """An infotext with the key at its end, as one pair more."""
    return f"{text}, {KEY}: {key}" if text else f"{KEY}: {key}"
