"""The pocket model: a tiny IC-Light that comes with the program, trained on a procedural light stage.

It has every part of the real thing (text encoder, VAE, UNet, offsets for every mode) at a hundredth of its size. It
knows rendered objects of 256 x 256 pixels and nothing else: a demonstration, not a photographer's model. Its README.md
has data, training, figures and limits; training/ made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...errors import WeightsError
from ...files import is_file
from ...weights import Offsets
from .checkpoint import Folder

NAME = "pocket"
SIDE = 256
"""pixels of the pictures that it was trained on"""
BEST: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "fc": {"sampler": "Euler", "steps": 6, "cfg": 3.0}, "fcon": {"sampler": "Euler", "steps": 6, "cfg": 3.0},
    "fbc": {"sampler": "Euler", "steps": 3, "cfg": 1.0}})
"""See `Checkpoint.best`. Samplers that add noise at every step leave some of it in its pictures. Where the background
tells the light, a prompt adds little"""
FOLDER = Path(__file__).resolve().parents[2] / NAME
NOTE = ("pocket model: it was trained on rendered objects of 256 x 256 pixels and shows that the light follows, "
        "not what IC-Light makes of photographs")


@dataclass(frozen=True)
class Pocket(Folder):
    """The checkpoint (see `checkpoint.Checkpoint`) and its own offsets; IC-Light's official ones do not fit it."""

    path: Path = FOLDER
    native = SIDE
    best = BEST
    note = NOTE
    threads: int | None = 1
    """it is so small that threads waiting for each other cost more than they bring"""

    def __post_init__(self) -> None:
        """Nothing to check: unlike any checkpoint from outside, it is not SD 1.5 and is meant not to be."""

    def offsets(self, kind: str) -> Offsets:
        """The offsets for `kind`, in diffusers' layout. Raises WeightsError if the folder has none."""
        from safetensors.torch import load_file

        file = self.path / "ic-light" / f"{kind}-offsets.safetensors"
        if not is_file(file):
            raise WeightsError(f"the pocket model has no offsets for mode {kind}. Install the program anew, or give "
                               "a checkpoint.")
        return Offsets(f"{NAME}-{kind}", kind, load_file(str(file)))
