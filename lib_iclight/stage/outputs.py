"""The pictures that `outputs` may ask for of a stage once it is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from PIL import Image

from .files import to_codes
from .normals import normals, to_colors
from .store import Stage
from .surface import albedo


def outputs_of(stage: Stage, asked: Collection[str]) -> Iterator[tuple[str, Image.Image]]:
    """`normals` and `albedo`, where they are asked for: (name, picture). Raises StageError where a side is missing."""
    if not {"normals", "albedo"} & set(asked):
        return
    found = normals(stage)
    made: dict[str, Callable[[], Any]] = {"normals": lambda: to_colors(found),
                                          "albedo": lambda: to_codes(albedo(stage, found))}
    for name, codes in made.items():
        if name in asked:
            yield name, Image.fromarray(np.ascontiguousarray(codes()))
