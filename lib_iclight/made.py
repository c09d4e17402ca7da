"""What a session tells of a job before it runs, and hands back afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PIL import Image

from .imaging.photo import Photo


class Outlook(NamedTuple):
    """What is known of a job before it runs."""

    ready: bool
    """the weights are on this disk; else the job would download them"""
    faults: list[str]
    """what will stop it beside its pictures, in sentences"""


class Finished(NamedTuple):
    """One picture that a relight gives back."""

    name: str
    """`result`, or what `outputs` asked for: `raw`, `cutout`, `mask`, `lightmap`"""
    number: int
    """which of the batch it belongs to, from 1 on; 0 where it belongs to all"""
    picture: Image.Image
    text: str
    """its infotext"""
    photo: Photo | None = None
    """at the photo's own size with its own colours, where a depth was asked for; `picture` is as generated then"""


class Relighting(NamedTuple):
    """What one call of `Session.relight` made."""

    finished: tuple[Finished, ...]
    """results first, each with its raw one, then what belongs to all"""
    warnings: tuple[str, ...]
    """what was given and changed nothing, and what else to know of the result, in sentences"""

    @property
    def pictures(self) -> list[Image.Image]:
        """The relit pictures themselves, one for each of the batch."""
        return [finished.picture for finished in self.finished if finished.name == "result"]


class Staged(NamedTuple):
    """What one call of `Session.stage` made."""

    folders: tuple[Path, ...]
    """the light stages, one for each of the batch; see `stage.load`"""
    extras: tuple[Finished, ...]
    """what `outputs` asked for; that of a single light has its name in front, as in `left-raw`"""
    made: int
    """pictures that were not there already"""
    warnings: tuple[str, ...]
    """as of `Relighting`"""
